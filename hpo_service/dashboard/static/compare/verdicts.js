// Whether the differences could be luck, in plain words: groups of replicates first, then pairs of studies, the surest first.
//
// verdicts(answer) → node

import { h, replace } from "../core/dom.js";
import { number, plural } from "../core/format.js";

const SHOWN = 6;
const SIGNS = { sure: ["≠", "a difference"], luck: ["≈", "could be luck"], none: ["–", "not comparable"] };

export function verdicts({ tests, items }) {
  if (items.length < 2) return h("p", { class: "quiet" }, "Add another study to see whether they differ.");
  const order = { groups: 0, studies: 1 };
  const sorted = [...tests].sort((a, b) => order[a.of] - order[b.of] || weight(a) - weight(b));
  const told = sorted.filter((one) => one.difference !== null);
  const silent = sorted.filter((one) => one.difference === null);
  const list = h("ul", { class: "verdicts", dataset: { test: "verdicts" } });
  const draw = (all) => replace(list, [...(all ? sorted : told.slice(0, SHOWN).concat(told.length ? [] : silent.slice(0, SHOWN)))].map(entry),
    !all && sorted.length > Math.min(told.length || silent.length, SHOWN) && h("li", { class: "verdicts-more" }, h("button", { type: "button", class: "button small plain", on: { click: () => draw(true) } }, `Show all ${plural(sorted.length, "comparison")}`)));
  draw(false);
  return list;
}

const sure = (test) => (test.p_corrected ?? test.p) !== null && (test.p_corrected ?? test.p) < 0.05;
const kindOf = (test) => (test.difference === null ? "none" : sure(test) ? "sure" : "luck");
const weight = (test) => (test.difference === null ? 2 : (test.p_corrected ?? test.p ?? 1));

function entry(test) {
  const kind = kindOf(test);
  const [sign, word] = SIGNS[kind];
  const between = test.difference === null ? "" : test.low === null ? `difference ${number(test.difference)}` : `difference ${number(test.difference)}, 95 % interval ${number(test.low)} to ${number(test.high)}`;
  return h("li", { class: `verdict is-${kind}` }, h("span", { class: "verdict-sign", role: "img", "aria-label": word, title: word }, sign),
    h("div", null, h("p", { class: "wrap" }, h("bdi", null, test.verdict)), between && h("p", { class: "quiet small" }, `${test.of === "groups" ? "Groups of replicates. " : ""}${between}`)));
}
