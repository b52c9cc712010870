// One image on the page: its preview, its suggested categories, and the chosen category.

import * as api from "./api.js";
import { percent } from "./words.js";

const template = document.querySelector("#card");
const tagTemplate = document.querySelector("#tag");

export class Card {
  /**
   * `model` and `bound` return the model, and the confidence from which a suggestion is sure.
   * Callbacks for clicks: `onWhy` gets the card and a label, the others get the card.
   */
  constructor(file, { model, bound, onWhy, onChoice, onRetry, onRemove }) {
    this.file = file;
    this.url = URL.createObjectURL(file);
    this.state = "waiting";
    this.chosen = null;
    this.#model = model;
    this.#bound = bound;
    this.#onWhy = onWhy;
    this.element = template.content.cloneNode(true).firstElementChild;
    this.#showPreview();
    this.#find("h3").textContent = file.name;
    this.#find(".remove").setAttribute("aria-label", `Remove ${file.name}`);
    this.#find(".remove").addEventListener("click", () => onRemove(this));
    this.#find(".again").addEventListener("click", () => onRetry(this));
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
  #bound;
  #onWhy;
  #request = new AbortController();
  #isRefused = false;

  get suggested() {
    return this.answer?.tags[0];
  }

  /** All labels: the suggested ones first, then the model's others. */
  get labels() {
    return [...new Set([...this.answer.tags.map(({ label }) => label), ...this.#model().labels])];
  }

  /** Whether the server refused the image because it had no valid API key. */
  get isRefused() {
    return this.state === "failed" && this.#isRefused;
  }

  /** The user's decision about the suggestion, as one word. */
  get decision() {
    if (this.chosen === null) return "undecided";
    return this.chosen === this.suggested.label ? "accepted" : "corrected";
  }

  /** Whether the confidence of the first suggestion, a calibrated probability, is high enough. */
  get isSure() {
    return this.state === "tagged" && this.suggested.confidence >= this.#bound();
  }

  get #select() {
    return this.#find("select");
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }

  #showPreview() {
    const preview = this.#find("img");
    preview.addEventListener("error", () => {
      preview.hidden = true;
      this.#find(".no-preview").hidden = false;
    });
    preview.src = this.url;
  }

  /** Queue the image for tagging. */
  wait() {
    this.#setState("waiting", "Waiting");
  }

  /** Request the tags, and show them or the error. Never throws. */
  async tag() {
    this.#setState("tagging", "Tagging");
    try {
      const onRetry = (message) => this.#showStatus(message);
      const answer = await api.tags(this.file, this.#request.signal, onRetry);
      this.#showTags(answer);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#setState("failed", `Not tagged: ${error.message}`);
      this.#isRefused = error.status === 401;
      this.#find(".again").hidden = !error.isTemporary;
    }
  }

  /** Say so if no suggestion is sure. */
  showCertainty() {
    if (this.state !== "tagged") return;
    this.#find(".unsure").textContent = this.isSure
      ? ""
      : `Not sure: only ${percent(this.suggested.confidence)}`;
  }

  /** Choose a label; null undoes the choice. */
  choose(label) {
    this.chosen = label;
    this.#select.value = label ?? this.suggested.label;
    this.#find(".decide").textContent = label ? "Undo" : "Accept";
    this.#find(".decision").textContent = label ? `✓ ${this.decision}` : "";
    this.element.classList.toggle("decided", label !== null);
  }

  /** Remove the card, free the preview and abort a pending request. */
  remove() {
    this.#request.abort();
    URL.revokeObjectURL(this.url);
    this.element.remove();
  }

  #setState(state, status) {
    this.state = state;
    this.element.dataset.state = state;
    this.#find(".again").hidden = true;
    this.#showStatus(status);
  }

  #showStatus(status) {
    this.#find(".status").textContent = status;
  }

  #showTags(answer) {
    this.answer = answer;
    this.#setState("tagged", "");
    this.showCertainty();
    this.#find(".tags").replaceChildren(...answer.tags.map((tag) => this.#tag(tag)));
    this.#find(".tags").hidden = false;
    this.#select.replaceChildren(...this.labels.map((label) => new Option(label, label)));
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
