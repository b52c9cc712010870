// The panel that answers "why this category?": the question, the overlay, and its list.

import * as api from "./api.js";
import { Segments, draw } from "./overlay.js";
import { claim, count, fit, percent, sign, signed } from "./words.js";

const SAID = { "+": "for", "−": "against", "±": "for or against" };
const rowTemplate = document.querySelector("#superpixel");
const doubtTemplate = document.querySelector("#doubtful");

export class Why {
  constructor(dialog) {
    this.#dialog = dialog;
    this.#find(".close").addEventListener("click", () => dialog.close());
    this.#find(".again").addEventListener("click", () => this.#ask());
    this.#find(".question").addEventListener("change", () => this.#ask());
    this.#slider.addEventListener("input", () => this.#showSome());
    dialog.addEventListener("close", () => this.#leave());
    // What is on the dialog itself, and not on anything in it, is on the page behind.
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    this.#canvas.addEventListener("pointermove", (event) => this.#mark(this.#under(event)));
    this.#canvas.addEventListener("pointerleave", () => this.#mark(null));
    new ResizeObserver(() => this.#draw()).observe(this.#canvas);
  }

  #dialog;
  #card;
  #asking;
  #clock;
  #found = null;
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

  /** Open on a card's picture and ask about one of its labels. */
  open(card, label) {
    this.#card = card;
    const select = this.#find("[name=label]");
    select.replaceChildren(...card.labels.map((name) => new Option(name)));
    select.value = label;
    this.#showPicture();
    this.#dialog.showModal();
    this.#ask();
  }

  /** The server stops working on a question for which nobody waits. */
  #leave() {
    this.#asking.abort();
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

  async #ask() {
    this.#asking?.abort();
    this.#asking = new AbortController();
    const { signal } = this.#asking;
    const question = Object.fromEntries(new FormData(this.#find(".question")));
    this.#wait(question.label);
    try {
      const answer = await api.explanation(this.#card.file, question, signal, (words) =>
        this.#say(words),
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
    this.#say("Asking the model about variations of this image");
    this.#startClock();
  }

  #clear() {
    this.#found = null;
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

  #say(words) {
    this.#find(".status").textContent = words;
  }

  #fail(error) {
    this.#stopClock();
    this.#dialog.dataset.state = "failed";
    this.#find(".again").hidden = !error.passing;
    this.#say(
      error.status === 404
        ? "This server tags images and cannot say why: it has no explanation service."
        : `No explanation: ${error.message}`,
    );
  }

  #show(answer, segments) {
    this.#stopClock();
    this.#dialog.dataset.state = "answered";
    this.#found = { answer, segments };
    this.#sayAnswer(answer);
    this.#slider.max = this.#ranked.length;
    for (const part of [".answer", ".legend"]) this.#find(part).hidden = false;
    this.#showSome();
  }

  #sayAnswer({ label, confidence, level, surrogate, seconds, ...rest }) {
    const { name } = this.#card.file;
    this.#find(".about").textContent = `${name}: ${label} at ${percent(confidence)} confidence`;
    this.#say(claim({ level, ...rest }));
    const time = `Worked out in ${seconds.total.toFixed(1)}\u00a0s.`;
    this.#find(".fit").textContent = `${fit(surrogate)} ${time}`;
    this.#find(".pro b").textContent = `speaks for ${label}`;
    this.#find(".con b").textContent = `speaks against ${label}`;
    this.#find("caption").textContent =
      `What each superpixel adds to the ${surrogate.scale} of “${label}”, by the surrogate`;
    this.#find("thead .interval").textContent = level === null ? "" : `${percent(level)} interval`;
  }

  /** The superpixels that carry anything, the heaviest first. */
  get #ranked() {
    return this.#found.answer.weights
      .filter(({ weight }) => weight !== 0)
      .map((one, index) => ({
        ...one,
        sign: sign(one),
        rank: index + 1,
        doubtful: index >= (this.#found.answer.claimed ?? Infinity),
      }));
  }

  get #shown() {
    return this.#ranked.slice(0, this.#slider.valueAsNumber);
  }

  /** As many superpixels as the slider says, the heaviest first. */
  #showSome() {
    const { answer } = this.#found;
    const shown = this.#shown;
    const rows = shown.map((one) => this.#row(one));
    this.#find(".either").hidden = !shown.some((one) => one.sign === "±");
    this.#find(".doubtful").hidden = !shown.some((one) => one.doubtful);
    if (answer.claimed && answer.claimed < rows.length) {
      rows.splice(answer.claimed, 0, doubtTemplate.content.cloneNode(true));
    }
    this.#find("tbody").replaceChildren(...rows);
    this.#find("output").textContent = `${shown.length} of ${this.#ranked.length}`;
    this.#canvas.setAttribute(
      "aria-label",
      `${count(shown.length, "superpixel")} marked on the image; the table lists the same`,
    );
    this.#draw();
  }

  #row({ segment, weight, low, high, sign, rank }) {
    const row = rowTemplate.content.cloneNode(true).firstElementChild;
    const button = row.querySelector("button");
    row.dataset.segment = segment;
    row.classList.add(weight < 0 ? "con" : "pro");
    row.classList.toggle("either", sign === "±");
    button.textContent = sign + rank;
    button.setAttribute("aria-label", `Superpixel ${rank}, ${SAID[sign]}`);
    row.querySelector(".where").textContent = this.#found.segments.where(segment);
    const { scale } = this.#found.answer.surrogate;
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

  /** All rows are drawn to one scale: that of the number that is farthest from 0. */
  #drawScale(element, weight, low, high) {
    const numbers = this.#found.answer.weights.flatMap((one) => [one.weight, one.low, one.high]);
    const longest = Math.max(...numbers.map(Math.abs)) || 1;
    element.style.setProperty("--weight", weight / longest);
    element.style.setProperty("--low", low / longest);
    element.style.setProperty("--high", high / longest);
  }

  /** Make one superpixel stand out, on the picture and in the list. */
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
    return this.#found?.segments.under(offsetX / clientWidth, offsetY / clientHeight) ?? null;
  }

  #draw() {
    const canvas = this.#canvas;
    // Setting the size wipes the canvas.
    canvas.width = canvas.clientWidth * devicePixelRatio;
    canvas.height = canvas.clientHeight * devicePixelRatio;
    if (this.#found) draw(canvas, this.#found.segments, this.#shown, this.#marked);
  }
}
