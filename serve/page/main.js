// The page as a whole: images come in, are tagged a few at a time, and choices go out.

import * as api from "./api.js";
import { Card } from "./card.js";
import * as choices from "./choices.js";
import { listen } from "./files.js";
import { Why } from "./why.js";
import { count, percent } from "./words.js";

const AT_ONCE = 4;

const find = (selector) => document.querySelector(selector);
const why = new Why(find("#why"));
let model = { labels: [], explained: true };
let cards = [];
let asking = 0;

// The model

async function showModel() {
  find("#trouble").hidden = find("#key").hidden = true;
  try {
    model = await api.model();
    document.body.classList.toggle("unexplained", !model.explained);
    find("#model-name").textContent = model.name;
    find("#model-version").textContent = model.version;
    find("#model-synthetic").hidden = !model.synthetic;
    find("#synthetic").hidden = !model.synthetic;
  } catch (error) {
    if (error.status === 401) return askKey();
    find("#trouble p").textContent = `The model is not known: ${error.message}`;
    find("#trouble").hidden = false;
  }
}

function askKey() {
  find("#key").hidden = false;
  find("#key p").textContent = api.hasKey() ? "Nobody has that key." : "";
  find("#key input").focus();
}

function takeKey(event) {
  event.preventDefault();
  api.bringKey(find("#key input").value.trim());
  showModel();
}

// Cards

function add(files) {
  const onWhy = (card, label) => why.open(card, label);
  const events = { onWhy, onChoice, onAgain: again, onRemove: remove };
  const added = files.map((file) => new Card(file, () => model, events));
  cards.push(...added);
  find("#cards").append(...added.map((card) => card.element));
  next();
}

/** Ask about the images that wait, a few at a time. */
function next() {
  const waiting = cards.filter(({ state }) => state === "waiting");
  for (const card of waiting.slice(0, AT_ONCE - asking)) {
    asking++;
    card.tag().then(() => {
      asking--;
      next();
      if (!asking) sayResults();
    });
  }
  refresh();
}

function again(card) {
  card.wait();
  next();
}

function remove(card) {
  const neighbour = card.element.nextElementSibling ?? card.element.previousElementSibling;
  card.remove();
  cards = cards.filter((other) => other !== card);
  (neighbour?.querySelector(".remove") ?? find("#choose")).focus();
  refresh();
}

function clear() {
  const chosen = choices.rows(cards).length;
  if (chosen && !confirm(`Remove all images, and ${count(chosen, "choice")} with them?`)) return;
  for (const card of cards) card.remove();
  cards = [];
  find("#choose").focus();
  refresh();
}

// Choices

function onChoice(card) {
  say(`${card.file.name}: ${card.chosen ?? card.suggested.label} ${card.decision}`);
  refresh();
}

function acceptSure() {
  const sure = cards.filter((card) => card.sure && !card.chosen);
  for (const card of sure) card.choose(card.suggested.label);
  say(`${count(sure.length, "suggestion")} accepted`);
  refresh();
}

// What is said of them all

function refresh() {
  const of = (state) => cards.filter((card) => card.state === state).length;
  const [tagged, failed] = [of("tagged"), of("failed")];
  const chosen = choices.rows(cards).length;
  const sure = cards.filter((card) => card.sure && !card.chosen).length;
  document.body.classList.toggle("filled", cards.length > 0);
  find("#tray").hidden = !cards.length;
  find("#tray-title").textContent = count(cards.length, "image");
  find("#counts").textContent =
    `${tagged} tagged, ${failed ? `${failed} failed, ` : ""}${chosen} chosen`;
  find("#progress").hidden = tagged + failed === cards.length;
  find("#progress").max = cards.length || 1;
  find("#progress").value = tagged + failed;
  find("#accept-sure").textContent = sure
    ? `Accept ${count(sure, "sure suggestion")}`
    : "Accept sure suggestions";
  find("#accept-sure").disabled = !sure;
  find("#csv").disabled = find("#json").disabled = !chosen;
}

/** For those who do not see what changes. */
function say(words) {
  find("#announcer").textContent = words;
}

/** Once, when nothing more is under way: not at each card. */
function sayResults() {
  const tagged = cards.filter(({ state }) => state === "tagged");
  const failed = cards.filter(({ state }) => state === "failed").length;
  const [first] = tagged;
  const results =
    tagged.length === 1
      ? `${first.file.name}: ${first.suggested.label}, ${percent(first.suggested.confidence)}`
      : `${count(tagged.length, "image")} tagged`;
  say(failed ? `${results}; ${count(failed, "image")} not tagged` : results);
}

find("#accept-sure").addEventListener("click", acceptSure);
find("#csv").addEventListener("click", () =>
  choices.download("pintag-choices.csv", "text/csv", choices.csv(choices.rows(cards))),
);
find("#json").addEventListener("click", () =>
  choices.download("pintag-choices.json", "application/json", choices.json(choices.rows(cards))),
);
find("#clear").addEventListener("click", clear);
find("#trouble button").addEventListener("click", showModel);
find("#key").addEventListener("submit", takeKey);
listen({ button: find("#choose"), input: find("#files"), add });
showModel();
