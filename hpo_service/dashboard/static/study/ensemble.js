// What the confirmed models gain together: the best single one, all of them, and those that forward selection took.

import { h } from "../core/dom.js";
import { integer, metric, NONE } from "../core/format.js";

const ROWS = [
  ["single", "Best single model"],
  ["uniform", "Uniform: all of them"],
  ["greedy", "Greedy: chosen on validation rows"],
];

export function ensembleTable({ ensemble, ensemble_note: note }) {
  const name = ensemble.metric;
  return h(
    "div",
    { class: "stack", dataset: { test: "ensemble" } },
    h("h3", null, "Together"),
    h("p", null, ensemble.words),
    h(
      "div",
      { class: "table-box", tabindex: "0", role: "region", "aria-label": "Ensembles" },
      h(
        "table",
        { class: "tight" },
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            ["Predicted by", "Models", `Validation ${name}`, `Test ${name}`].map((text, i) =>
              h("th", { scope: "col", class: i ? "num" : null }, text),
            ),
          ),
        ),
        h(
          "tbody",
          null,
          ROWS.map(([key, label]) => {
            const { members, val, test } = ensemble[key];
            return h(
              "tr",
              { class: key === ensemble.gain_of && "strong" },
              h("td", null, label),
              h("td", { class: "num" }, integer(members.length)),
              h("td", { class: "num" }, metric(name, val)),
              h("td", { class: "num" }, test === null ? NONE : metric(name, test)),
            );
          }),
        ),
      ),
    ),
    note && h("p", { class: "quiet small" }, note),
  );
}
