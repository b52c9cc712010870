// What the user chose, as files to take away. Pure, but for `download`.

const COLUMNS = ["file", "suggested", "confidence", "chosen", "decision", "model", "version"];

/** One row for each card that was decided. */
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

export function json(found) {
  return `${JSON.stringify(found, null, 2)}\n`;
}

/** RFC 4180, opened by the mark without which spreadsheets do not read UTF-8. */
export function csv(found) {
  const lines = [COLUMNS, ...found.map((row) => COLUMNS.map((column) => row[column]))];
  return `\ufeff${lines.map((line) => line.map(cell).join(",") + "\r\n").join("")}`;
}

function cell(value) {
  let text = String(value);
  // A spreadsheet would compute what opens like a formula: a file's name can be one.
  if (/^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function download(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  // Not at once: the browser may not have begun to read it.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
