// The user's choices as CSV and JSON files. Only `download` has side effects.

const COLUMNS = ["file", "suggested", "confidence", "chosen", "decision", "model", "version"];

/** One row for each card that has a choice. */
export function rows(cards) {
  return cards
    .filter((card) => card.chosen)
    .map(({ file, answer, suggested, chosen, decision }) => ({
      file: file.name,
      suggested: suggested.label,
      confidence: suggested.confidence,
      chosen,
      decision,
      model: answer.model.name,
      version: answer.model.version,
    }));
}

export function json(rows) {
  return `${JSON.stringify(rows, null, 2)}\n`;
}

/** RFC 4180. Spreadsheets read it as UTF-8 because of the byte order mark at its start. */
export function csv(rows) {
  const lines = [COLUMNS, ...rows.map((row) => COLUMNS.map((column) => row[column]))];
  return `\ufeff${lines.map((line) => line.map(cell).join(",") + "\r\n").join("")}`;
}

function cell(value) {
  let text = String(value);
  // A spreadsheet would evaluate text that starts like a formula, and a file name can do so.
  if (/^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Offer a text to the user as a file. */
export function download(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  // Later, because the browser may not have started to read it yet.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
