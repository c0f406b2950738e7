// Values side by side: one row per field, one column per study or trial; what differs from the first column stands out.
//
// sideBySide({rows: [{name, values, kind}], heads: [nodes], label, test, format(value, row)}) → node      kind: a heading between rows, or null

import { h } from "../core/dom.js";
import { value as shown } from "../core/format.js";

export function sideBySide({ rows, heads, label, test, format = (one) => shown(one) }) {
  let before = null;
  const body = rows.flatMap((row) => {
    const made = [];
    if (row.kind && row.kind !== before)
      made.push(h("tr", { class: "side-kind" }, h("th", { scope: "rowgroup", colspan: String(heads.length + 1) }, row.kind)));
    before = row.kind;
    return [...made, line(row, format)];
  });
  return h(
    "div",
    { class: "table-box", tabindex: "0", role: "region", "aria-label": label },
    h(
      "table",
      { class: "tight side", dataset: { test } },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", { scope: "col" }, ""),
          heads.map((head) => h("th", { scope: "col" }, head)),
        ),
      ),
      h("tbody", null, body),
    ),
  );
}

const same = (a, b) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);

function line(row, format) {
  return h(
    "tr",
    null,
    h("th", { scope: "row", class: "mono" }, h("bdi", null, row.name)),
    row.values.map((one, i) => {
      const other = i > 0 && !row.plain && !same(one, row.values[0]);
      const text = one === null || one === undefined ? "–" : format(one, row);
      return h(
        "td",
        { class: [other && "differs", (one === null || one === undefined) && "quiet", typeof one === "number" && "number"] },
        h("bdi", { class: "side-value", title: text.length > 30 ? text : null }, text),
        other && h("span", { class: "visually-hidden" }, " (differs)"),
      );
    }),
  );
}
