// Several studies side by side: best so far, final values, whether differences could be luck, and where the definitions differ.
//
// comparedStudies(change) → {node, show(ids): Promise}     change(ids) is called when a study is taken out

import { get, query } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { integer, money, plural, value } from "../core/format.js";
import { badge, emptyState, panel, problemBox } from "../core/ui.js";
import { swatch } from "./chosen.js";
import { finals } from "./finals.js";
import { bestSoFar } from "./lines.js";
import { sideBySide } from "./table.js";
import { verdicts } from "./verdicts.js";

export function comparedStudies(change) {
  const legend = h("ul", { class: "compared", "aria-label": "Compared studies" });
  const lines = bestSoFar();
  const ends = panel({
    id: "finals",
    title: "Final values",
    help: "The best value at the highest resource that the study reached. The whiskers are a bootstrap interval: how much the best of so many trials owes to chance. It is no promise for other data.",
  });
  const luck = panel({
    id: "verdicts",
    title: "Could it be luck?",
    help: "Exact permutation tests between the studies' trials at their highest resource, corrected for how many there are. Studies that differ only in seed are one group; with three or more in each, groups are compared, which says more about the methods than any pair.",
  });
  const where = panel({
    id: "differences",
    title: "Where the definitions differ",
    help: "Only what differs is listed; what differs from the first column is marked.",
  });
  const wrong = h("div");
  const node = h("div", { class: "stack" }, wrong, legend, lines.node, ends.node, luck.node, where.node);

  async function show(ids) {
    const answer = await get(`/compare${query({ study: ids })}`);
    replace(wrong);
    const { items } = answer;
    replace(
      legend,
      items.map((item, i) => entry(item, i, () => change(ids.filter((id) => id !== item.study.id)))),
    );
    lines.show(items);
    replace(ends.body, finals(items));
    replace(luck.body, verdicts(answer));
    replace(where.body, definitions(answer));
    return answer;
  }

  return { node, show, problem: (error, retry) => replace(wrong, problemBox(error, retry)) };
}

function entry({ study }, i, remove) {
  return h(
    "li",
    { class: "compared-one card" },
    swatch(i),
    h(
      "a",
      { class: "clip compared-name", href: `/studies/${encodeURIComponent(study.id)}`, title: study.name },
      h("bdi", null, study.name),
    ),
    badge(study.state),
    h("span", { class: "quiet small" }, `${plural(study.trials, "trial")}, ${money(study.cost_microdollars)}`),
    h(
      "button",
      {
        type: "button",
        class: "icon-button",
        "aria-label": `Take out ${study.name.slice(0, 60)}`,
        title: "Take out",
        on: { click: remove },
      },
      "✕",
    ),
  );
}

function definitions({ items, differences, groups }) {
  if (items.length < 2) return h("p", { class: "quiet" }, "Add another study to compare definitions.");
  const names = new Map(items.map(({ study }) => [study.id, study.name]));
  const rest = groups
    .filter((one) => one.studies.length > 1)
    .map((one) =>
      h(
        "p",
        { class: "quiet small wrap" },
        h("bdi", null, listed(one.studies.map((id) => names.get(id)))),
        " differ only in their seed: replicates of one search.",
      ),
    );
  if (!differences.length)
    return h(
      "div",
      { class: "stack" },
      emptyState({ title: "The definitions are the same", text: "They differ at most in name, tags and notes." }),
      rest,
    );
  const rows = differences.map(({ path, values }) => ({
    name: path.includes(".") ? path.slice(path.indexOf(".") + 1) : path,
    values,
    kind: path.includes(".") ? path.split(".")[0] : "study",
  }));
  rows.sort((a, b) => (a.kind === "study") - (b.kind === "study"));
  const heads = items.map(({ study }, i) =>
    h("span", { class: "named" }, swatch(i), h("bdi", { class: "clip", title: study.name }, study.name)),
  );
  return h(
    "div",
    { class: "stack" },
    sideBySide({ rows, heads, label: "Differences of the definitions", test: "differences", format: written }),
    rest,
  );
}

const listed = (names) => (names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0]);
const written = (one) => (typeof one === "number" && Number.isInteger(one) ? integer(one) : value(one));
