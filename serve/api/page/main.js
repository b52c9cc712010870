// The whole page: it adds images, tags a few at a time, and offers the choices as files.

import * as api from "./api.js";
import { Card } from "./card.js";
import * as choices from "./choices.js";
import { listen } from "./files.js";
import { Why } from "./why.js";
import { count, percent } from "./words.js";

const MAX_REQUESTS = 4;

const find = (selector) => document.querySelector(selector);
const why = new Why(find("#why"));
let model = { labels: [], explained: true };
let cards = [];
let requests = 0;
// How often the server has accepted a key, or needed none.
let acceptances = 0;

// The model

async function showModel() {
  find("#model-error").hidden = find("#key").hidden = true;
  try {
    model = await api.model();
    document.body.classList.toggle("unexplained", !model.explained);
    find("#model-name").textContent = model.name;
    find("#model-version").textContent = model.version;
    find("#model-synthetic").hidden = !model.synthetic;
    find("#synthetic").hidden = !model.synthetic;
    // An image that was refused meanwhile has shown the form again.
    find("#key").hidden = true;
    acceptances++;
    tagRefused();
  } catch (error) {
    if (error.status === 401) return askKey();
    find("#model-error p").textContent = `The model cannot be loaded: ${error.message}`;
    find("#model-error").hidden = false;
  }
}

function askKey() {
  find("#key").hidden = false;
  find("#key p").textContent = api.hasKey() ? "The server does not know this key." : "";
  find("#key input").focus();
}

function submitKey(event) {
  event.preventDefault();
  const key = find("#key input").value.trim();
  // No header can have another one, and the browser would not even ask the server.
  if (!/^[!-~]+$/.test(key)) {
    find("#key p").textContent =
      "A key has only letters, digits and _; copy it again, without spaces or quotes.";
    return;
  }
  api.setKey(key);
  showModel();
}

// Cards

function add(files) {
  const onWhy = (card, label) => why.open(card, label);
  const settings = { model: () => model, bound };
  const events = { onWhy, onChoice, onRetry: retry, onRemove: remove };
  const added = files.map((file) => new Card(file, { ...settings, ...events }));
  cards.push(...added);
  find("#cards").append(...added.map((card) => card.element));
  tagWaiting();
}

/** Tag the images that wait, a few at a time. */
function tagWaiting() {
  const waiting = cards.filter(({ state }) => state === "waiting");
  for (const card of waiting.slice(0, MAX_REQUESTS - requests)) {
    requests++;
    const before = acceptances;
    card.tag().then(() => {
      requests--;
      if (card.isRefused) onRefused(card, acceptances > before);
      tagWaiting();
      if (!requests) announceResults();
    });
  }
  refresh();
}

/** Tag the images again that were refused without a valid key. */
function tagRefused() {
  for (const card of cards.filter(({ isRefused }) => isRefused)) card.wait();
  tagWaiting();
}

/** Repeat a request that was sent without the key that was accepted meanwhile; else ask for one. */
function onRefused(card, accepted) {
  if (accepted) card.wait();
  else if (find("#key").hidden) askKey();
}

function retry(card) {
  card.wait();
  tagWaiting();
}

function remove(card) {
  const nextCard = card.element.nextElementSibling ?? card.element.previousElementSibling;
  card.remove();
  cards = cards.filter((other) => other !== card);
  (nextCard?.querySelector(".remove") ?? find("#choose")).focus();
  refresh();
}

function clear() {
  const chosen = choices.rows(cards).length;
  if (chosen && !confirm(`Remove all images and ${count(chosen, "choice")}?`)) return;
  for (const card of cards) card.remove();
  cards = [];
  find("#choose").focus();
  refresh();
}

// Choices

function onChoice(card) {
  announce(`${card.file.name}: ${card.chosen ?? card.suggested.label} ${card.decision}`);
  refresh();
}

/** The confidence from which a suggestion is sure; the user chooses it. */
function bound() {
  return Number(find("#bound").value);
}

function changeBound() {
  for (const card of cards) card.showCertainty();
  refresh();
}

function acceptSure() {
  const sure = cards.filter((card) => card.isSure && !card.chosen);
  for (const card of sure) card.choose(card.suggested.label);
  announce(`${count(sure.length, "suggestion")} accepted`);
  refresh();
}

// Summary

/** Show the numbers of images, and enable the buttons that apply. */
function refresh() {
  const countOf = (state) => cards.filter((card) => card.state === state).length;
  const [tagged, failed] = [countOf("tagged"), countOf("failed")];
  const chosen = choices.rows(cards).length;
  const undecided = cards.filter((card) => card.state === "tagged" && !card.chosen);
  const sure = undecided.filter((card) => card.isSure).length;
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
    : undecided.length
      ? `No suggestion reaches ${percent(bound())}`
      : "Accept sure suggestions";
  find("#accept-sure").disabled = !sure;
  find("#csv").disabled = find("#json").disabled = !chosen;
}

/** Let screen readers read a message aloud. */
function announce(message) {
  find("#announcer").textContent = message;
}

/** Called when all requests have ended, so that not every card is announced. */
function announceResults() {
  const tagged = cards.filter(({ state }) => state === "tagged");
  const failed = cards.filter(({ state }) => state === "failed").length;
  const [first] = tagged;
  const results =
    tagged.length === 1
      ? `${first.file.name}: ${first.suggested.label}, ${percent(first.suggested.confidence)}`
      : `${count(tagged.length, "image")} tagged`;
  announce(failed ? `${results}; ${count(failed, "image")} not tagged` : results);
}

find("#accept-sure").addEventListener("click", acceptSure);
find("#bound").addEventListener("change", changeBound);
find("#csv").addEventListener("click", () =>
  choices.download("pintag-choices.csv", "text/csv", choices.csv(choices.rows(cards))),
);
find("#json").addEventListener("click", () =>
  choices.download("pintag-choices.json", "application/json", choices.json(choices.rows(cards))),
);
find("#clear").addEventListener("click", clear);
find("#model-error button").addEventListener("click", showModel);
find("#key").addEventListener("submit", submitKey);
listen({ button: find("#choose"), input: find("#files"), add });
showModel();
