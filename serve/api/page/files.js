// The three ways to add files: choose, drop and paste.

/** Call `add` with each list of files that the user adds. */
export function listen({ button, input, add }) {
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    add([...input.files]);
    // Without this, choosing the same file again would not be a change.
    input.value = "";
  });
  addEventListener("paste", (event) => add([...event.clipboardData.files].map(numbered)));
  listenToDrops(add);
}

let pasted = 0;
// What Windows adds to folders of pictures.
const SYSTEM_FILES = ["thumbs.db", "ehthumbs.db", "desktop.ini"];

/** Browsers name every pasted image `image.png`; numbers make the names in a download unique. */
function numbered(file) {
  if (file.name !== "image.png") return file;
  return new File([file], `pasted-${++pasted}.png`, { type: file.type });
}

function listenToDrops(add) {
  const highlight = (on) => document.body.classList.toggle("dropping", on);
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    // Without this the browser would open the file instead.
    event.preventDefault();
    highlight(true);
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) highlight(false);
  });
  addEventListener("drop", async (event) => {
    event.preventDefault();
    highlight(false);
    add(await droppedFiles(event.dataTransfer));
  });
}

/** The dropped files, including those in dropped folders. */
async function droppedFiles({ items, files }) {
  // The browser empties both lists after the event, so copy them before the first await.
  const plain = [...files];
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return plain;
  return (await Promise.all(entries.map(filesIn))).flat();
}

/** The files in a folder and its subfolders, or the file itself; hidden ones and a system's are skipped. */
async function filesIn(entry) {
  if (entry.name.startsWith(".") || SYSTEM_FILES.includes(entry.name.toLowerCase())) return [];
  if (entry.isFile) return [await new Promise((resolve, reject) => entry.file(resolve, reject))];
  const reader = entry.createReader();
  const children = [];
  // A reader returns about a hundred entries at a time, and none at the end.
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return (await Promise.all(children.map(filesIn))).flat();
    children.push(...entries);
  }
}
