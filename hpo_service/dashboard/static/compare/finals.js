// The final values as dots with whiskers, on one scale: what each study came to, and how much of that may be chance.
//
// finals(items) → node

import { h, svg } from "../core/dom.js";
import { integer, metric, number } from "../core/format.js";
import { colourOf, swatch } from "./chosen.js";

const HIGH = 26,
  PAD = 3; // per cent kept free at both ends

export function finals(items) {
  const known = items.filter((one) => one.final);
  const ends = known.flatMap(({ final }) => [final.value, final.low, final.high]).filter(Number.isFinite);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const at = (x) => `${PAD + ((100 - 2 * PAD) * (x - low)) / (high - low || 1)}%`;
  const resources = new Set(known.map(({ final }) => final.resource));
  const rows = items.map((item, i) => row(item, i, known.length > 1 ? at : null));
  return h(
    "div",
    { class: "stack" },
    h(
      "div",
      { class: "table-box", tabindex: "0", role: "region", "aria-label": "Final values" },
      h(
        "table",
        { class: "tight finals", dataset: { test: "finals" } },
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            head("Study"),
            head("Final value", "num"),
            known.length > 1 && h("th", { scope: "col", class: "finals-scale" }, scale(known[0].study.metric, low, high)),
            ["95 % interval", "Best trial", "Trials there", "Resource"].map((text) => head(text, "num")),
          ),
        ),
        h("tbody", null, rows),
      ),
    ),
    resources.size > 1 &&
      h(
        "p",
        { class: "quiet small" },
        "These studies trained their best trials to different resources: a value at more epochs is no fair match for one at fewer.",
      ),
  );
}

const head = (text, kind = null) => h("th", { scope: "col", class: kind }, text);
const scale = (name, low, high) =>
  h("span", { class: "finals-ends" }, h("span", null, metric(name, low)), h("span", null, metric(name, high)));

function row({ study, final }, i, at) {
  const name = h(
    "th",
    { scope: "row" },
    h(
      "span",
      { class: "named" },
      swatch(i),
      h("a", { class: "clip", href: `/studies/${encodeURIComponent(study.id)}`, title: study.name }, h("bdi", null, study.name)),
    ),
  );
  if (!final) return h("tr", null, name, h("td", { colspan: "6", class: "quiet" }, "no value yet"));
  const interval = final.low === null ? "too few trials" : `${metric(study.metric, final.low)} to ${metric(study.metric, final.high)}`;
  return h(
    "tr",
    null,
    name,
    h("td", { class: "num strong" }, metric(study.metric, final.value)),
    at && h("td", { class: "finals-picture" }, picture(final, i, at, `${metric(study.metric, final.value)}, interval ${interval}`)),
    h("td", { class: "num quiet" }, interval),
    h("td", { class: "num" }, h("a", { href: `/studies/${encodeURIComponent(study.id)}/trials/${final.trial}` }, integer(final.trial))),
    h("td", { class: "num" }, integer(final.n)),
    h("td", { class: "num" }, number(final.resource)),
  );
}

function picture(final, i, at, label) {
  const middle = HIGH / 2;
  const whisker = final.low !== null && [
    svg("line", { x1: at(final.low), x2: at(final.high), y1: middle, y2: middle }),
    ...[final.low, final.high].map((x) => svg("line", { x1: at(x), x2: at(x), y1: middle - 4, y2: middle + 4 })),
  ];
  return svg(
    "svg",
    { role: "img", "aria-label": label, class: "whiskers", stroke: colourOf(i), "stroke-width": 1.75 },
    svg("line", { class: "whisker-line", x1: "0%", x2: "100%", y1: middle, y2: middle }),
    whisker || null,
    svg("circle", { cx: at(final.value), cy: middle, r: 4.5, fill: colourOf(i), stroke: "none" }),
  );
}
