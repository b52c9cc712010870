// The dialog that explains a category: a form, the picture with its overlay, and a table.

import * as api from "./api.js";
import { Segments, draw } from "./overlay.js";
import { count, percent, signed } from "./words.js";

const SIGNS = { for: "+", against: "−", either: "±" };
const DIRECTIONS = { for: "for", against: "against", either: "for or against" };
const rowTemplate = document.querySelector("#superpixel");
const uncertainTemplate = document.querySelector("#uncertain");

export class Why {
  constructor(dialog) {
    this.#dialog = dialog;
    this.#find(".close").addEventListener("click", () => dialog.close());
    this.#find(".again").addEventListener("click", () => this.#explain());
    this.#find(".parameters").addEventListener("change", () => this.#explain());
    this.#slider.addEventListener("input", () => this.#showTop());
    dialog.addEventListener("close", () => this.#leave());
    // A click on the dialog element itself is a click on the backdrop.
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    this.#canvas.addEventListener("pointermove", (event) => this.#mark(this.#under(event)));
    this.#canvas.addEventListener("pointerleave", () => this.#mark(null));
    new ResizeObserver(() => this.#draw()).observe(this.#canvas);
  }

  #dialog;
  #card;
  #request;
  #clock;
  #shownAnswer = null;
  #marked = null;

  get #slider() {
    return this.#find("#why-shown");
  }

  get #canvas() {
    return this.#find("canvas");
  }

  #find(selector) {
    return this.#dialog.querySelector(selector);
  }

  /** Open with a card's picture and explain one of its labels. */
  open(card, label) {
    this.#card = card;
    const select = this.#find("[name=label]");
    select.replaceChildren(...card.labels.map((name) => new Option(name, name)));
    select.value = label;
    this.#showPicture();
    this.#dialog.showModal();
    this.#explain();
  }

  /** Aborting the request makes the server stop its work. */
  #leave() {
    this.#request.abort();
    this.#stopClock();
    this.#clear();
  }

  #showPicture() {
    const picture = this.#find("img");
    picture.onload = () => {
      const ratio = picture.naturalWidth / picture.naturalHeight;
      this.#find(".stage").style.setProperty("--ratio", ratio);
    };
    picture.src = this.#card.url;
  }

  async #explain() {
    this.#request?.abort();
    this.#request = new AbortController();
    const { signal } = this.#request;
    const parameters = Object.fromEntries(new FormData(this.#find(".parameters")));
    this.#wait(parameters.label);
    try {
      const answer = await api.explanation(this.#card.file, parameters, signal, (message) =>
        this.#showStatus(message),
      );
      const segments = await Segments.decode(answer.segmentation);
      if (!signal.aborted) this.#show(answer, segments);
    } catch (error) {
      if (!signal.aborted) this.#fail(error);
    }
  }

  #wait(label) {
    this.#clear();
    this.#dialog.dataset.state = "asking";
    this.#find("h2").textContent = `Why “${label}”?`;
    this.#find(".about").textContent = this.#card.file.name;
    this.#showStatus("The model predicts variations of this image");
    this.#startClock();
  }

  #clear() {
    this.#shownAnswer = null;
    this.#marked = null;
    for (const part of [".answer", ".legend", ".again"]) this.#find(part).hidden = true;
    this.#draw();
  }

  #startClock() {
    this.#stopClock();
    const clock = this.#find(".clock");
    const start = performance.now();
    const tick = () => {
      clock.textContent = `${((performance.now() - start) / 1000).toFixed(1)} s`;
    };
    tick();
    clock.hidden = false;
    this.#clock = setInterval(tick, 100);
  }

  #stopClock() {
    clearInterval(this.#clock);
    this.#find(".clock").hidden = true;
  }

  #showStatus(words) {
    this.#find(".status").textContent = words;
  }

  #fail(error) {
    this.#stopClock();
    this.#dialog.dataset.state = "failed";
    this.#find(".again").hidden = !error.isTemporary;
    this.#showStatus(
      error.status === 404
        ? "This server has no explanation service: it only tags images."
        : `No explanation: ${error.message}`,
    );
  }

  #show(answer, segments) {
    this.#stopClock();
    this.#dialog.dataset.state = "answered";
    this.#shownAnswer = { answer, segments };
    this.#describe(answer);
    this.#slider.max = this.#ranked.length;
    for (const part of [".answer", ".legend"]) this.#find(part).hidden = false;
    this.#showTop();
  }

  #describe({ label, confidence, level, surrogate, seconds, summary }) {
    const { name } = this.#card.file;
    this.#find(".about").textContent = `${name}: ${label} at ${percent(confidence)} confidence`;
    this.#showStatus(summary.claim);
    this.#find(".fit").textContent = `${summary.fit} Computed in ${seconds.total.toFixed(1)}\u00a0s.`;
    this.#find(".pro b").textContent = `evidence for ${label}`;
    this.#find(".con b").textContent = `evidence against ${label}`;
    this.#find("caption").textContent =
      `What each superpixel adds to the ${surrogate.scale} of “${label}”, according to the surrogate`;
    this.#find("thead .interval").textContent = level === null ? "" : `${percent(level)} interval`;
  }

  /** The superpixels of a weight other than 0, the most important first. */
  get #ranked() {
    const claimed = this.#shownAnswer.answer.claimed ?? Infinity;
    return this.#shownAnswer.answer.weights
      .filter(({ weight }) => weight !== 0)
      .map((item, index) => ({
        ...item,
        // The sign, because some people cannot distinguish the colours; after the rank, because
        // "+1" looks like a weight.
        mark: `${index + 1}\u2009${SIGNS[item.direction]}`,
        rank: index + 1,
        uncertain: index >= claimed,
      }));
  }

  get #shown() {
    return this.#ranked.slice(0, this.#slider.valueAsNumber);
  }

  /** Show the most important superpixels: as many as the slider is set to. */
  #showTop() {
    const { answer } = this.#shownAnswer;
    const shown = this.#shown;
    const rows = shown.map((item) => this.#row(item));
    this.#find(".either").hidden = !shown.some((item) => item.direction === "either");
    this.#find(".uncertain").hidden = !shown.some((item) => item.uncertain);
    if (answer.claimed && answer.claimed < rows.length) {
      rows.splice(answer.claimed, 0, uncertainTemplate.content.cloneNode(true));
    }
    this.#find("tbody").replaceChildren(...rows);
    this.#find("output").textContent = `${shown.length} of ${this.#ranked.length}`;
    this.#canvas.setAttribute(
      "aria-label",
      `${count(shown.length, "superpixel")} marked on the image; the table lists the same`,
    );
    this.#draw();
  }

  #row({ segment, weight, low, high, direction, mark, rank }) {
    const row = rowTemplate.content.cloneNode(true).firstElementChild;
    const button = row.querySelector("button");
    row.dataset.segment = segment;
    row.classList.add(weight < 0 ? "con" : "pro");
    row.classList.toggle("either", direction === "either");
    button.textContent = mark;
    button.setAttribute("aria-label", `Superpixel ${rank}, ${DIRECTIONS[direction]}`);
    row.querySelector(".where").textContent = this.#shownAnswer.segments.where(segment);
    const { scale } = this.#shownAnswer.answer.surrogate;
    row.querySelector(".number").textContent = signed(weight, scale);
    row.querySelector(".interval").textContent =
      low === null ? "" : `${signed(low, scale)} to ${signed(high, scale)}`;
    this.#drawScale(row.querySelector(".scale"), weight, low ?? weight, high ?? weight);
    for (const event of ["pointerenter", "focusin", "click"]) {
      row.addEventListener(event, () => this.#mark(segment));
    }
    for (const event of ["pointerleave", "focusout"]) {
      row.addEventListener(event, () => this.#mark(null));
    }
    return row;
  }

  /** All rows share one scale: the number farthest from 0 has the full length. */
  #drawScale(element, weight, low, high) {
    const numbers = this.#shownAnswer.answer.weights.flatMap((item) => [item.weight, item.low, item.high]);
    const longest = Math.max(...numbers.map(Math.abs)) || 1;
    element.style.setProperty("--weight", weight / longest);
    element.style.setProperty("--low", low / longest);
    element.style.setProperty("--high", high / longest);
  }

  /** Highlight one superpixel in the picture and in the table. */
  #mark(segment) {
    if (segment === this.#marked) return;
    this.#marked = segment;
    for (const row of this.#find("tbody").rows) {
      row.classList.toggle("marked", row.dataset.segment === String(segment));
    }
    this.#draw();
  }

  #under({ offsetX, offsetY }) {
    const { clientWidth, clientHeight } = this.#canvas;
    return this.#shownAnswer?.segments.under(offsetX / clientWidth, offsetY / clientHeight) ?? null;
  }

  #draw() {
    const canvas = this.#canvas;
    // Setting the size clears the canvas.
    canvas.width = canvas.clientWidth * devicePixelRatio;
    canvas.height = canvas.clientHeight * devicePixelRatio;
    if (this.#shownAnswer) draw(canvas, this.#shownAnswer.segments, this.#shown, this.#marked);
  }
}
