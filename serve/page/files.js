// The three ways in which files come: chosen, dropped, pasted.

/** Call `add` with every list of files that comes. */
export function listen({ button, input, add }) {
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    add([...input.files]);
    // The same file chosen once more is a change again.
    input.value = "";
  });
  addEventListener("paste", (event) => add([...event.clipboardData.files].map(named)));
  listenToDrops(add);
}

let pasted = 0;

/** Browsers call every pasted picture `image.png`: told apart, they can be found in a download. */
function named(file) {
  if (file.name !== "image.png") return file;
  return new File([file], `pasted-${++pasted}.png`, { type: file.type });
}

function listenToDrops(add) {
  const mark = (on) => document.body.classList.toggle("dropping", on);
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    // Without this the browser would leave the page for the file.
    event.preventDefault();
    mark(true);
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) mark(false);
  });
  addEventListener("drop", async (event) => {
    event.preventDefault();
    mark(false);
    add(await dropped(event.dataTransfer));
  });
}

/** The files dropped, those in folders too. */
async function dropped({ items, files }) {
  // Both are emptied when the event is over: everything is taken before the first wait.
  const whole = [...files];
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return whole;
  return (await Promise.all(entries.map(inside))).flat();
}

async function inside(entry) {
  if (entry.name.startsWith(".")) return [];
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const found = [];
  // A reader gives a hundred or so at a time, and nothing at the end.
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return (await Promise.all(found.map(inside))).flat();
    found.push(...entries);
  }
}
