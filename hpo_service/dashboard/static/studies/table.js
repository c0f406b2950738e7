// The table of studies: rows are kept and only what moved is drawn again, so that nothing flickers and 1,000 studies stay quick.
//
// studyTable({on: {…cells' handlers}, onSort(sort), onSelect(Set)}) → {node, show(groups, {sort, selected, view: what is asked for; another one starts at the top}), move(step), current() → id, toggle(id)}

import { h, replace } from "../core/dom.js";
import { ago, integer } from "../core/format.js";
import { chip } from "../core/ui.js";
import { cells, COLUMNS } from "./cells.js";

const STEP = 60;

export function studyTable({ on, onSort, onSelect }) {
  const body = h("tbody", { role: "rowgroup" });
  const heads = COLUMNS.map((column) =>
    h(
      "th",
      { scope: "col", role: "columnheader", class: [`col-${column.id}`, column.class] },
      column.sort ? h("button", { type: "button", on: { click: () => onSort(column.sort) } }, column.label) : column.label,
    ),
  );
  const all = h("input", { type: "checkbox", "aria-label": "Select all shown studies", on: { change: () => selectAll() } });
  const more = h("div", { class: "more quiet small", hidden: true });
  const box = h(
    "div",
    { class: "table-box studies-box" },
    h(
      "table",
      { class: "studies", role: "table", "aria-label": "Studies", dataset: { test: "studies-table" } },
      h(
        "thead",
        { role: "rowgroup" },
        h("tr", { role: "row" }, h("th", { scope: "col", role: "columnheader", class: "col-pick" }, all), heads),
      ),
      body,
    ),
    more,
  );
  const rows = new Map(); // key → row
  let entries = [],
    shown = STEP,
    selected = new Set(),
    focus = "",
    viewed = "";

  const nearEnd = new IntersectionObserver(
    (seen) => {
      if (seen.some((one) => one.isIntersecting) && shown < entries.length) {
        shown += STEP;
        draw();
      }
    },
    { rootMargin: "800px" },
  );
  nearEnd.observe(more);
  setInterval(() => {
    for (const node of body.querySelectorAll(".age")) node.firstChild.data = ago(node.dataset.at);
  }, 30000);

  function selectAll() {
    const ids = entries.filter((one) => one.study).map((one) => one.study.id);
    const every = ids.every((id) => selected.has(id));
    onSelect(new Set(every ? [] : ids));
  }

  function pick(id) {
    const next = new Set(selected);
    if (!next.delete(id)) next.add(id);
    onSelect(next);
  }

  function draw() {
    const wanted = entries.slice(0, shown);
    const keys = new Set(wanted.map((one) => one.key));
    for (const [key, row] of rows)
      if (!keys.has(key)) {
        row.node.remove();
        rows.delete(key);
      }
    wanted.forEach((entry, i) => {
      let row = rows.get(entry.key);
      if (!row) {
        row = entry.study ? studyRow(on, pick) : groupRow();
        rows.set(entry.key, row);
      }
      row.update(entry, selected);
      if (body.children[i] !== row.node) body.insertBefore(row.node, body.children[i] || null);
    });
    more.hidden = shown >= entries.length;
    more.textContent = `${integer(entries.length - shown)} more below`;
    const ids = entries.filter((one) => one.study).map((one) => one.study.id);
    all.checked = ids.length > 0 && ids.every((id) => selected.has(id));
    all.indeterminate = !all.checked && ids.some((id) => selected.has(id));
  }

  function show(groups, { sort, selected: chosen, view }) {
    selected = chosen;
    if (view !== viewed) {
      viewed = view;
      shown = STEP;
    }
    entries = groups.flatMap(({ tag, studies }) => [
      ...(tag === null ? [] : [{ key: `tag ${tag}`, tag, count: studies.length }]),
      ...studies.map((study) => ({ key: `${tag ?? ""} ${study.id}`, study })),
    ]);
    COLUMNS.forEach((column, i) => {
      const mine = column.sort && sort.replace(/^-/, "") === column.sort.replace(/^-/, "");
      if (mine) heads[i].setAttribute("aria-sort", sort.startsWith("-") ? "descending" : "ascending");
      else heads[i].removeAttribute("aria-sort");
    });
    draw();
  }

  const links = () => [...body.querySelectorAll(".study-name")];
  body.addEventListener("focusin", (event) => {
    focus = event.target.closest("tr")?.dataset.id || "";
  });
  return {
    node: box,
    show,
    current: () => focus,
    toggle: pick,
    move(step) {
      const found = links();
      const at = found.findIndex((link) => link.closest("tr").contains(document.activeElement));
      found[at < 0 ? (step > 0 ? 0 : found.length - 1) : Math.max(0, Math.min(found.length - 1, at + step))]?.focus();
    },
  };
}

function studyRow(on, pick) {
  let drawn = "",
    id = "";
  const box = h("input", { type: "checkbox", on: { change: () => pick(id) } });
  const slots = Object.fromEntries(
    COLUMNS.map((column) => [column.id, h("td", { role: "cell", class: [`col-${column.id}`, column.class] })]),
  );
  const node = h("tr", { role: "row" }, h("td", { role: "cell", class: "col-pick" }, box), Object.values(slots));
  let last = {};
  return {
    node,
    update({ study }, selected) {
      id = study.id;
      const chosen = selected.has(id);
      box.checked = chosen;
      node.setAttribute("aria-selected", String(chosen));
      const mark = `${study.last_seq} ${study.time_left_s} ${study.sparkline?.value?.length} ${study.name} ${study.tags.join()}`;
      if (mark === drawn) return;
      drawn = mark;
      node.dataset.id = id;
      node.dataset.state = study.state;
      box.setAttribute("aria-label", `Select ${study.name}`);
      const made = cells(study, on);
      for (const [name, slot] of Object.entries(slots)) {
        const held = slot.firstChild?.outerHTML;
        if (held !== made[name].outerHTML && !(name === "study" && last.name === study.name && last.tags?.join() === study.tags.join()))
          replace(slot, made[name]);
      }
      last = study;
    },
  };
}

function groupRow() {
  const cell = h("th", { scope: "rowgroup", role: "rowheader", colspan: String(COLUMNS.length + 1) });
  return {
    node: h("tr", { role: "row", class: "group" }, cell),
    update: ({ tag, count }) =>
      replace(
        cell,
        h(
          "div",
          { class: "row" },
          tag ? chip(tag, { kind: "accent" }) : h("span", { class: "quiet" }, "no tag"),
          h("span", { class: "quiet small" }, integer(count)),
        ),
      ),
  };
}
