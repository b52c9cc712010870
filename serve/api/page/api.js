// Requests to the server's API. Failures become errors with a message for the user.

const ATTEMPTS = 5;
const MAX_PAUSE_S = 10;
const TRY_LATER = [429, 503];
const STORAGE_KEY = "pintag-key";

/** A failed request. `status` is the HTTP status, or 0 if there was no answer. */
export class ServerError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }

  /** Whether the same request may succeed later. */
  get isTemporary() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/** Whether the user has entered an API key. */
export function hasKey() {
  return sessionStorage.getItem(STORAGE_KEY) !== null;
}

/** Send an API key with every request, until this tab is closed. */
export function setKey(key) {
  sessionStorage.setItem(STORAGE_KEY, key);
}

/** The answer of `GET /v1/model`. */
export function model() {
  return send("v1/model", {});
}

/** The three most likely tags of an image. `onRetry` gets a message before each new attempt. */
export function tags(file, signal, onRetry) {
  return send("v1/tags?max_tags=3", upload(file, signal), onRetry);
}

/** The answer of `POST /v1/explanations`; `parameters` are those of its query. */
export function explanation(file, parameters, signal, onRetry) {
  return send(`v1/explanations?${new URLSearchParams(parameters)}`, upload(file, signal), onRetry);
}

function upload(file, signal) {
  // Not the file's own type: the server detects the format, and would parse a multipart type.
  const headers = { "Content-Type": "application/octet-stream", Accept: "application/json" };
  return { method: "POST", body: file, headers, signal };
}

async function send(path, options, onRetry = () => {}) {
  for (let attempt = 1; ; attempt++) {
    const response = await fetchResponse(path, options);
    if (response.ok) return response.json();
    const error = await responseError(response);
    if (!TRY_LATER.includes(error.status)) throw error;
    if (attempt === ATTEMPTS) {
      throw new ServerError(`${error.message} (tried ${ATTEMPTS} times)`, error.status);
    }
    onRetry(`The server is busy; attempt ${attempt + 1} of ${ATTEMPTS}`);
    const seconds = Number(response.headers.get("Retry-After")) || 1;
    await pause(Math.min(seconds, MAX_PAUSE_S) * 1000, options.signal);
  }
}

async function fetchResponse(path, options) {
  const key = sessionStorage.getItem(STORAGE_KEY);
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(
      "the server cannot be reached; it may be down, or the file may have changed on the disk",
      0,
    );
  }
}

/** The error of a response. A proxy's response may have no problem with a `detail`. */
async function responseError(response) {
  // The server's own words for it are about a header, which nobody can send from this page.
  if (response.status === 401) {
    return new ServerError("this server requires an API key: enter the key above", 401);
  }
  const problem = await response.json().catch(() => ({}));
  const message = problem.detail ?? `the server answered ${response.status} ${response.statusText}`;
  return new ServerError(message, response.status);
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
