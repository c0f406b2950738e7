// The head of the trial table: a tick for the whole page, and what each column sorts by. Knows nothing of requests.
//
// replaceHead(thead, {columns, rows, sort, picks: Set of numbers, onPick(numbers, on), onSort(next)})      keeps the focus on its column

import { h, replace } from "../core/dom.js";
import { nextSort, sortedHow } from "./columns.js";

const LONG = 40; // letters of a column's name; the rest is in its title
const NUMBER = { id: "number", label: "Trial", kind: "number", sort: "number", goodIsHigh: true, hint: "" };

export function replaceHead(head, { columns, rows, sort, picks, onPick, onSort }) {
  const focused = document.activeElement?.closest?.("th[data-column]")?.dataset.column;
  replace(
    head,
    h(
      "tr",
      { role: "row" },
      h("td", { class: "pick", role: "gridcell" }, tickAll(rows, picks, onPick)),
      [NUMBER, ...columns].map((column) => header(column, sort, onSort)),
    ),
  );
  if (focused && !head.contains(document.activeElement))
    [...head.querySelectorAll("th")]
      .find((th) => th.dataset.column === focused)
      ?.querySelector("button")
      ?.focus();
}

function tickAll(rows, picks, onPick) {
  const numbers = rows.map((row) => row.number);
  const mine = numbers.filter((n) => picks.has(n)).length;
  const all = h("input", {
    type: "checkbox",
    "aria-label": "Select all trials of this page",
    on: { change: () => onPick(numbers, all.checked) },
  });
  all.checked = mine > 0 && mine === numbers.length;
  all.indeterminate = mine > 0 && !all.checked;
  return all;
}

function header(column, sort, onSort) {
  const label = column.label.length > LONG ? `${column.label.slice(0, LONG)}…` : column.label;
  const inner = column.sort
    ? h(
        "button",
        {
          type: "button",
          class: "sort",
          title: [column.label !== label && column.label, column.hint].filter(Boolean).join(": ") || null,
          on: { click: () => onSort(nextSort(column, sort)) },
        },
        h("bdi", null, label),
      )
    : h("span", { class: "unsorted", title: [column.hint, "not sortable"].filter(Boolean).join("; ") }, h("bdi", null, label));
  const how = sortedHow(column, sort);
  return h(
    "th",
    { scope: "col", role: "columnheader", class: `is-${column.kind}`, "aria-sort": how, dataset: { column: column.id } },
    inner,
  );
}
