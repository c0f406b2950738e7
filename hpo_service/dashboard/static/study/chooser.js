// The column chooser of the trial table: a dialog with every field, parameter and metric; what is ticked shows at once.
//
// choose(page, ids, onChange(ids), {fallback}) → Promise, when it is closed

import { h, replace } from "../core/dom.js";
import { button, dialog } from "../core/ui.js";
import { allColumns, STAT_WORDS } from "./columns.js";

const GROUPS = ["Trial", "Parameters", "Metrics"];

export function choose(page, ids, onChange, { fallback }) {
  const all = allColumns(page);
  let chosen = [...ids];
  const search = h("input", {
    type: "search",
    placeholder: "Find a column",
    "aria-label": "Find a column",
    autocomplete: "off",
    autofocus: true,
    on: { input: () => draw() },
  });
  const lists = h("div", { class: "chooser-groups" });

  function put(next) {
    chosen = next;
    onChange(chosen);
    draw();
  }

  function toggle(id, on) {
    if (!on) return put(chosen.filter((one) => one !== id));
    const order = all.map((one) => one.id);
    const at = chosen.findIndex((one) => order.indexOf(one) > order.indexOf(id));
    return put(at < 0 ? [...chosen, id] : [...chosen.slice(0, at), id, ...chosen.slice(at)]);
  }

  const cut = (text) => (text.length > 60 ? `${text.slice(0, 60)}…` : text);

  function box(column, words = column.label) {
    const tick = h("input", {
      type: "checkbox",
      checked: chosen.includes(column.id),
      dataset: { column: column.id },
      "aria-label": words === column.label ? null : column.label,
      on: { change: () => toggle(column.id, tick.checked) },
    });
    return h("label", { class: "chooser-item", title: column.hint || null }, tick, h("bdi", null, cut(words)));
  }

  // A line per metric: its name, then what of its curve may be a column.
  function lines(found) {
    const names = [...new Set(found.map((one) => one.metric))];
    return names.map((name) =>
      h(
        "div",
        { class: "chooser-metric" },
        h("bdi", { title: name.slice(0, 500) }, cut(name)),
        found.filter((one) => one.metric === name).map((one) => box(one, STAT_WORDS[one.stat ?? "last"])),
      ),
    );
  }

  function draw() {
    const focused = document.activeElement?.dataset?.column;
    const typed = search.value.trim().toLowerCase();
    const matching = all.filter((one) => one.label.toLowerCase().includes(typed));
    replace(
      lists,
      GROUPS.map((group) => {
        const found = matching.filter((one) => one.group === group);
        return found.length
          ? h(
              "fieldset",
              { class: ["chooser-group", group === "Metrics" && "lines"] },
              h("legend", null, group),
              group === "Metrics" ? lines(found) : found.map((one) => box(one)),
            )
          : null;
      }),
      matching.length ? null : h("p", { class: "quiet" }, "No column has such a name."),
    );
    if (focused) [...lists.querySelectorAll("[data-column]")].find((one) => one.dataset.column === focused)?.focus();
  }

  draw();
  const usual = button("The usual columns", () => put([...fallback]), { small: true });
  return dialog({
    title: "Columns",
    wide: true,
    body: h("div", { class: "chooser", dataset: { test: "chooser" } }, h("div", { class: "row" }, search, usual), lists),
    actions: [{ id: "done", label: "Done", kind: "primary" }],
  });
}
