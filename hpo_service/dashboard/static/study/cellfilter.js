// A click on a cell narrows the linked selection to what the cell shows: a word at once, a number by a small menu.
//
// offer(td, column, raw, page)      acts on the filter

import { h } from "../core/dom.js";
import { quoted } from "../core/selection.js";
import { menu } from "../core/ui.js";

function termOf(column, op, raw) {
  const written = typeof raw === "string" ? quoted(raw, { asText: column.group === "Parameters" }) : String(raw); // a number in full
  return `${column.field}${op}${written}`;
}

function narrow(page, column, op, raw) {
  const same = { ">=": [">=", ">"], "<=": ["<=", "<"], ":": [":", "=", "==", "!="], "!=": [] }[op];
  const kept = page.selection
    .terms()
    .filter((one) => one.field !== column.field || !same.includes(one.op))
    .map((one) => one.raw);
  const term = termOf(column, op, raw);
  page.selection.set([...kept.filter((one) => one !== term), term].join(" "));
}

export function offer(td, column, raw, page) {
  if (!column.field || raw === undefined || (typeof raw === "string" && raw.length > 200)) return;
  if (column.kind !== "number" || (column.group === "Trial" && ["bracket", "rung"].includes(column.id))) {
    if (raw !== null) narrow(page, column, ":", raw);
    return;
  }
  if (typeof raw !== "number") return;
  const shown = column.text(raw, null);
  const item = (words, op) => ({ label: `${column.label} ${words} ${shown}`, run: () => narrow(page, column, op, raw) });
  const mine = page.selection.terms().filter((one) => one.field === column.field);
  const forget = mine.length
    ? {
        label: `Any ${column.label} again`,
        run: () =>
          page.selection.set(
            page.selection
              .terms()
              .filter((one) => !mine.some((m) => m.raw === one.raw))
              .map((one) => one.raw)
              .join(" "),
          ),
      }
    : null;
  open(td, [item("≥", ">="), item("≤", "<="), item("=", ":"), forget]);
}

// The menu hangs on a button that lives in the cell for as long as the menu is open; the cell has the focus again afterwards.
function open(td, items) {
  td.closest("table").querySelector(".cell-anchor")?.remove();
  const anchor = h("button", { type: "button", class: "cell-anchor", tabindex: "-1", "aria-label": "Filter by this value" });
  anchor.addEventListener("focus", () => {
    if (anchor.dataset.opened) {
      td.focus();
      anchor.remove();
    }
  });
  td.append(anchor);
  menu(anchor, items);
  anchor.click();
  anchor.dataset.opened = "1";
}
