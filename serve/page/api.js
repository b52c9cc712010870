// What the page asks of the server, and what went wrong in words.

const ATTEMPTS = 5;
const LONGEST_PAUSE = 10;
const LATER = [429, 503];
const KEY = "pintag-key";

/** An answer that is no success; `status` is 0 where there was no answer. */
export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }

  /** Whether the same question may be answered another time. */
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** Whether there is a key that requests bring. */
export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

/** Bring a key with every request, until this tab is closed. */
export function bringKey(key) {
  sessionStorage.setItem(KEY, key);
}

export function model() {
  return send("v1/model", {});
}

/** The most likely tags of an image. `onBusy` is told of each attempt that is made again. */
export function tags(file, signal, onBusy) {
  return send("v1/tags?max_tags=3", upload(file, signal), onBusy);
}

/** Why a label: `question` holds the parameters of POST /v1/explanations. */
export function explanation(file, question, signal, onBusy) {
  return send(`v1/explanations?${new URLSearchParams(question)}`, upload(file, signal), onBusy);
}

function upload(file, signal) {
  // A type of our own: the server reads the bytes, and a multipart name would mislead it.
  const headers = { "Content-Type": "application/octet-stream", Accept: "application/json" };
  return { method: "POST", body: file, headers, signal };
}

async function send(path, options, onBusy = () => {}) {
  for (let attempt = 1; ; attempt++) {
    const response = await reach(path, options);
    if (response.ok) return response.json();
    const error = await refusal(response);
    if (!LATER.includes(error.status)) throw error;
    if (attempt === ATTEMPTS) {
      throw new ServerError(`${error.message} (asked ${ATTEMPTS} times)`, error.status);
    }
    onBusy(`The server is busy; asking again (${attempt + 1} of ${ATTEMPTS})`);
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await pause(Math.min(seconds, LONGEST_PAUSE) * 1000, options.signal);
  }
}

async function reach(path, options) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(
      "the server cannot be reached, or it broke off; it may be down, or the file may have changed",
      0,
    );
  }
}

/** The problem's own words, where the answer is a problem: a proxy's need not be. */
async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  const words = problem.detail ?? `the server answered ${response.status} ${response.statusText}`;
  return new ServerError(words, response.status);
}

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
