// One image: its picture, its suggested categories, and the user's choice among them.

import * as api from "./api.js";
import { SURE, percent } from "./words.js";

const template = document.querySelector("#card");
const tagTemplate = document.querySelector("#tag");

export class Card {
  /** Told what was clicked: `onWhy` the card and a label, the others the card. */
  constructor(file, model, { onWhy, onChoice, onAgain, onRemove }) {
    this.file = file;
    this.url = URL.createObjectURL(file);
    this.state = "waiting";
    this.chosen = null;
    this.#model = model;
    this.#onWhy = onWhy;
    this.element = template.content.cloneNode(true).firstElementChild;
    this.#showPicture();
    this.#find("h3").textContent = file.name;
    this.#find(".remove").setAttribute("aria-label", `Remove ${file.name}`);
    this.#find(".remove").addEventListener("click", () => onRemove(this));
    this.#find(".again").addEventListener("click", () => onAgain(this));
    this.#find(".decide").addEventListener("click", () => {
      this.choose(this.chosen ? null : this.#select.value);
      onChoice(this);
    });
    this.#select.addEventListener("change", () => {
      this.choose(this.#select.value);
      onChoice(this);
    });
    this.wait();
  }

  #model;
  #onWhy;
  #asking = new AbortController();

  get suggested() {
    return this.answer?.tags[0];
  }

  /** What it may be: the suggestions first, then the model's other labels. */
  get labels() {
    return [...new Set([...this.answer.tags.map(({ label }) => label), ...this.#model().labels])];
  }

  /** What became of the suggestion, in a word. */
  get decision() {
    if (this.chosen === null) return "undecided";
    return this.chosen === this.suggested.label ? "accepted" : "corrected";
  }

  get sure() {
    return this.state === "tagged" && this.suggested.confidence >= SURE;
  }

  get #select() {
    return this.#find("select");
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }

  #showPicture() {
    const picture = this.#find("img");
    picture.addEventListener("error", () => {
      picture.hidden = true;
      this.#find(".no-shot").hidden = false;
    });
    picture.src = this.url;
  }

  wait() {
    this.#become("waiting", "Waiting");
  }

  /** Ask for the tags; whatever comes of it is shown, and nothing is thrown. */
  async tag() {
    this.#become("asking", "Looking");
    try {
      const answer = await api.tags(this.file, this.#asking.signal, (words) => this.#say(words));
      this.#showTags(answer);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#become("failed", `Not tagged: ${error.message}`);
      this.#find(".again").hidden = !error.passing;
    }
  }

  /** Decide for a label, or for none again. */
  choose(label) {
    this.chosen = label;
    this.#select.value = label ?? this.suggested.label;
    this.#find(".decide").textContent = label ? "Undo" : "Accept";
    this.#find(".decision").textContent = label ? `✓ ${this.decision}` : "";
    this.element.classList.toggle("decided", label !== null);
  }

  /** Let go of the picture, and of the question if it is still open. */
  remove() {
    this.#asking.abort();
    URL.revokeObjectURL(this.url);
    this.element.remove();
  }

  #become(state, words) {
    this.state = state;
    this.element.dataset.state = state;
    this.#find(".again").hidden = true;
    this.#say(words);
  }

  #say(words) {
    this.#find(".status").textContent = words;
  }

  #showTags(answer) {
    this.answer = answer;
    this.#become("tagged", "");
    if (!this.sure) {
      this.#find(".doubt").textContent = `Not sure: ${percent(this.suggested.confidence)} at best`;
    }
    this.#find(".tags").replaceChildren(...answer.tags.map((tag) => this.#tag(tag)));
    this.#find(".tags").hidden = false;
    this.#select.replaceChildren(...this.labels.map((label) => new Option(label)));
    this.#select.setAttribute("aria-label", `Category of ${this.file.name}`);
    this.#find(".choice").hidden = false;
    this.choose(null);
  }

  #tag({ label, confidence }) {
    const item = tagTemplate.content.cloneNode(true).firstElementChild;
    item.querySelector(".label").textContent = label;
    item.querySelector(".confidence").textContent = percent(confidence);
    item.querySelector(".bar").style.setProperty("--share", confidence);
    item.querySelector("button").disabled = !this.#model().explained;
    item.querySelector("button").addEventListener("click", () => this.#onWhy(this, label));
    return item;
  }
}
