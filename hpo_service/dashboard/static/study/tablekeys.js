// Keyboard of the trial table: j/k or arrows go through the rows, right and left into a row's cells, Enter opens or filters, x selects.
//
// listenKeys(page, {body, visible(), compact, pick(numbers, on), has(n), act(td)})

import { shortcut } from "../core/keys.js";

const known = []; // tables of this page; the shortcuts go to the one that is seen

export function listenKeys(page, table) {
  known.push(table);
  if (known.length === 1) {
    shortcut("j", "next row of the trial table", (event) => step(1, event));
    shortcut("k", "previous row of the trial table", (event) => step(-1, event));
    shortcut("x", "select the row", () => withRow((one, tr) => toggle(one, tr)));
    shortcut("Enter", "open the row's trial, or filter by the cell", (event) => withRow((one, tr) => enter(page, one, tr, event)));
  }
  table.body.addEventListener("keydown", (event) => within(event, table));
  table.body.addEventListener("focusin", ({ target }) => current(table, target.closest("tr")));
}

const seen = () => known.find((one) => one.visible());
const rowOf = (table) => (table.body.contains(document.activeElement) ? document.activeElement.closest("tr") : null);

function withRow(fn) {
  const table = seen();
  const tr = table && rowOf(table);
  return tr ? fn(table, tr) : false;
}

function current(table, tr) {
  if (!tr || tr.tabIndex === 0) return;
  for (const one of table.body.querySelectorAll("tr[tabindex='0']")) one.tabIndex = -1;
  tr.tabIndex = 0;
}

function step(by) {
  const table = seen();
  if (!table) return false;
  const all = [...table.body.children];
  const at = all.indexOf(rowOf(table));
  const start = all.findIndex((one) => one.tabIndex === 0);
  const next = at < 0 ? all[Math.max(0, start)] : all[Math.min(all.length - 1, Math.max(0, at + by))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
  return undefined;
}

function toggle(table, tr) {
  const n = Number(tr.dataset.trial);
  table.pick([n], !table.has(n));
}

function enter(page, table, tr, event) {
  const cell = document.activeElement.closest("td");
  if (cell && tr.contains(cell) && !cell.classList.contains("pick")) return table.act(cell);
  return page.openTrial(Number(tr.dataset.trial), event);
}

function within(event, table) {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const tr = event.target.closest("tr");
  const cell = event.target.closest("td, th");
  const cells = [...tr.children].slice(1);
  const at = cells.indexOf(cell);
  if (event.key === "ArrowDown" || event.key === "ArrowUp")
    vertical(event.key === "ArrowDown" ? tr.nextElementSibling : tr.previousElementSibling, at);
  else if (event.key === "ArrowRight") cells[Math.min(cells.length - 1, at + 1)].focus();
  else if (event.key === "ArrowLeft") (at > 0 ? cells[at - 1] : tr).focus();
  else if (event.key === "Escape" && cell) tr.focus();
  else if (event.key === "Home") vertical(tr.parentNode.firstElementChild, at);
  else if (event.key === "End") vertical(tr.parentNode.lastElementChild, at);
  else if (event.key === " ") toggle(table, tr);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function vertical(tr, at) {
  if (!tr) return;
  const target = at >= 0 ? [...tr.children].slice(1)[at] : tr;
  target.focus();
  target.scrollIntoView({ block: "nearest", inline: "nearest" });
}
