// Rows of the trial table: built once, patched in place afterwards. Knows nothing of requests.
//
// makeRows(page, {columns, isPicked, heat}) → {body, draw(rows), patch(rows) → numbers shown, recolour(), rowOf(n), nodeOf(n), rows(), columnOf(td)}

import { h } from "../core/dom.js";
import { NONE } from "../core/format.js";
import { badge, chip } from "../core/ui.js";
import { shown } from "./columns.js";
import { scale } from "./heat.js";

const MOST_TEXT = 160; // characters of a cell; the rest is in its title and on the trial's page
const MOST_TITLE = 1000;
const MOST_TAGS = 3;

export function makeRows(page, { isPicked }) {
  const body = h("tbody", { role: "rowgroup" });
  const known = new Map(); // number → {row, node, cells}
  let columns = [],
    heat = false;

  function draw(rows, { columns: wanted = columns, heat: warm = heat } = {}) {
    const rebuilt = wanted.length !== columns.length || wanted.some((one, i) => one.id !== columns[i].id);
    [columns, heat] = [wanted, warm];
    if (rebuilt) known.clear();
    const gone = new Set(known.keys());
    const nodes = rows.map((row) => {
      gone.delete(row.number);
      return known.has(row.number) ? refresh(known.get(row.number), row) : build(row);
    });
    gone.forEach((number) => known.delete(number));
    if (rebuilt || nodes.length !== body.childElementCount || nodes.some((node, i) => node !== body.children[i])) arrange(nodes);
    recolour();
    if (!body.querySelector("tr[tabindex='0']") && body.firstElementChild) body.firstElementChild.tabIndex = 0;
  }

  // Moving a node takes its focus: the focused row stays where it is, the others are put around it.
  function arrange(nodes) {
    const focused = document.activeElement;
    const inside = body.contains(focused) ? focused : null;
    body.replaceChildren(...nodes);
    if (inside?.isConnected) inside.focus({ preventScroll: true });
  }

  function build(row) {
    const node = document.createElement("tr");
    node.dataset.trial = row.number;
    node.setAttribute("role", "row");
    node.tabIndex = -1;
    const tick = h("input", {
      type: "checkbox",
      "aria-label": `Select trial ${row.number}`,
      tabindex: "-1",
      checked: isPicked(row.number),
    });
    const link = h("a", { href: page.trialUrl(row.number), tabindex: "-1" }, String(row.number));
    const cells = columns.map((column) => {
      const td = document.createElement("td");
      td.className = `is-${column.kind}`;
      if (column.field) td.classList.add("filters");
      td.tabIndex = -1;
      td.setAttribute("role", "gridcell");
      return td;
    });
    node.append(
      h("td", { class: "pick", role: "gridcell" }, tick),
      h("th", { scope: "row", role: "rowheader", class: "is-number", tabindex: "-1" }, link),
      ...cells,
    );
    known.set(row.number, { row: null, node, cells, tick, texts: [] });
    return refresh(known.get(row.number), row);
  }

  function refresh(entry, row) {
    const before = entry.row;
    entry.row = row;
    columns.forEach((column, i) => paint(entry, i, row, before));
    const picked = isPicked(row.number);
    entry.tick.checked = picked;
    entry.node.classList.toggle("picked", picked);
    entry.node.setAttribute("aria-selected", String(picked));
    entry.node.classList.toggle("infeasible", Boolean(row.breaks) && row.value !== null);
    entry.node.classList.toggle("best", page.study()?.best?.trial === row.number);
    return entry.node;
  }

  function paint(entry, i, row, before) {
    const [td, column] = [entry.cells[i], columns[i]];
    if (column.kind === "state") {
      if (!before || before.state !== row.state) td.replaceChildren(badge(row.state));
    } else if (column.kind === "kept") {
      if (before && before.breaks === row.breaks && before.feasible === row.feasible) return;
      td.replaceChildren(keptMark(column.raw(row)));
    } else if (column.kind === "tags") {
      if (!before || before.tags.join("\n") !== row.tags.join("\n")) td.replaceChildren(...tagChips(row.tags));
    } else {
      const text = shown(column, row);
      if (entry.texts[i] === text) return;
      entry.texts[i] = text;
      td.textContent = text.length > MOST_TEXT ? `${text.slice(0, MOST_TEXT)}…` : text;
      td.classList.toggle("none", text === NONE);
      if (text.length > 28) td.title = text.length > MOST_TITLE ? `${text.slice(0, MOST_TITLE)}…` : text;
      else td.removeAttribute("title");
      if (text.length > 28 && !column.field) td.dataset.long = "";
      else delete td.dataset.long;
    }
  }

  function recolour() {
    columns.forEach((column, i) => {
      if (column.kind !== "number" || !column.heat) return;
      const entries = [...known.values()];
      const strength = heat
        ? scale(
            entries.map((one) => column.raw(one.row)),
            { log: column.log },
          )
        : () => null;
      for (const entry of entries) {
        const share = strength(column.raw(entry.row));
        entry.cells[i].classList.toggle("hot", share !== null);
        if (share === null) entry.cells[i].style.removeProperty("--heat");
        else entry.cells[i].style.setProperty("--heat", share.toFixed(3));
      }
    });
  }

  function patch(rows) {
    const changed = rows.filter((row) => known.has(row.number));
    for (const row of changed) {
      const entry = known.get(row.number);
      refresh(entry, { ...row, stats: row.stats ?? entry.row.stats });
    }
    if (changed.length && heat) recolour();
    return changed.map((row) => row.number);
  }

  return {
    body,
    draw,
    patch,
    recolour,
    marks() {
      for (const entry of known.values()) refresh(entry, entry.row);
    },
    rowOf: (number) => known.get(Number(number))?.row ?? null,
    nodeOf: (number) => known.get(Number(number))?.node ?? null,
    rows: () => [...body.children].map((node) => known.get(Number(node.dataset.trial)).row),
    columnOf: (td) => columns[[...td.parentNode.children].indexOf(td) - 2] ?? null,
  };
}

function keptMark(words) {
  if (words === null) return document.createTextNode(NONE);
  const broken = words.startsWith("breaks");
  return h("span", { class: broken ? "breaks" : words === "kept" ? "kept" : "quiet", title: words }, words);
}

function tagChips(tags) {
  if (!tags.length) return [document.createTextNode(NONE)];
  const chips = tags.slice(0, MOST_TAGS).map((tag) => {
    const node = chip(tag.length > 40 ? `${tag.slice(0, 40)}…` : tag, { title: tag.slice(0, MOST_TITLE) });
    node.dataset.tag = tag;
    return node;
  });
  return tags.length > MOST_TAGS
    ? [...chips, h("span", { class: "quiet", title: tags.slice(MOST_TAGS, 30).join(", ") }, ` +${tags.length - MOST_TAGS}`)]
    : chips;
}
