// Rows of the trial table as CSV. Pure: no requests, no DOM.
//
// csv(rows, columns) → text with a header; full precision. Text that a spreadsheet would run as a formula gets a leading apostrophe, as in the server's exports.

const FORMULA = /^[=+\-@\t\r]/;

export function csv(rows, columns) {
  const head = ["number", ...columns.map((one) => one.id)];
  const lines = rows.map((row) => [row.number, ...columns.map((one) => one.raw(row))]);
  return `${[head, ...lines].map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`;
}

function cell(raw) {
  if (raw === undefined || raw === null) return "";
  if (typeof raw === "number" || typeof raw === "boolean") return String(raw);
  const text = typeof raw === "string" ? raw : JSON.stringify(raw);
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
