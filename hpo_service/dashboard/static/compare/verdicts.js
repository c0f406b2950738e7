// Whether the differences could be luck, in plain words: groups of replicates first, then pairs of studies, the surest first.
//
// verdicts(answer) → node

import { h, replace } from "../core/dom.js";
import { number, plural } from "../core/format.js";
import { swatch } from "./chosen.js";

const SHOWN = 6;
const SIGNS = { sure: ["≠", "a difference"], luck: ["≈", "could be luck"], none: ["–", "not comparable"] };

export function verdicts({ tests, items }) {
  const places = new Map(items.map(({ study }, i) => [study.id, { i, name: study.name }]));
  if (items.length < 2) return h("p", { class: "quiet" }, "Add another study to see whether they differ.");
  const order = { groups: 0, studies: 1 };
  const sorted = [...tests].sort((a, b) => order[a.of] - order[b.of] || weight(a) - weight(b));
  const told = sorted.filter((one) => one.difference !== null);
  const silent = sorted.filter((one) => one.difference === null);
  const list = h("ul", { class: "verdicts", dataset: { test: "verdicts" } });
  const draw = (all) =>
    replace(
      list,
      [...(all ? sorted : told.slice(0, SHOWN).concat(told.length ? [] : silent.slice(0, SHOWN)))].map((one) => entry(one, places)),
      !all &&
        sorted.length > Math.min(told.length || silent.length, SHOWN) &&
        h(
          "li",
          { class: "verdicts-more" },
          h(
            "button",
            { type: "button", class: "button small plain", on: { click: () => draw(true) } },
            `Show all ${plural(sorted.length, "comparison")}`,
          ),
        ),
    );
  draw(false);
  return list;
}

const sure = (test) => (test.p_corrected ?? test.p) !== null && (test.p_corrected ?? test.p) < 0.05;
const kindOf = (test) => (test.difference === null ? "none" : sure(test) ? "sure" : "luck");
const weight = (test) => (test.difference === null ? 2 : (test.p_corrected ?? test.p ?? 1));

function sides(test, places) {
  const side = (id) => {
    const known = test.of === "studies" ? places.get(id) : null;
    return h(
      "span",
      { class: "named" },
      known && swatch(known.i),
      h("bdi", { class: "clip", title: known?.name || id }, known?.name || id),
    );
  };
  return h(
    "p",
    { class: "verdict-sides small" },
    side(test.a),
    h("span", { class: "quiet" }, test.of === "groups" ? "and, with replicates," : "and"),
    side(test.b),
  );
}

function entry(test, places) {
  const kind = kindOf(test);
  const [sign, word] = SIGNS[kind];
  // Either way round: the sentence says which one is better.
  const [low, high] = test.difference < 0 ? [-test.high, -test.low] : [test.low, test.high];
  const between =
    test.difference === null || test.low === null
      ? ""
      : `The difference, ${number(Math.abs(test.difference))}, lies between ${number(low)} and ${number(high)} with 95 % confidence.`;
  return h(
    "li",
    { class: `verdict is-${kind}` },
    h("span", { class: "verdict-sign", role: "img", "aria-label": word, title: word }, sign),
    h(
      "div",
      null,
      sides(test, places),
      h("p", { class: "wrap" }, h("bdi", null, test.verdict)),
      between && h("p", { class: "quiet small" }, between),
    ),
  );
}
