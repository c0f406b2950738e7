// Is the winner real? On the page of a confirmation: the verdict, each configuration over its seeds, test metrics, the ensemble (/confirmation).

import { h, replace } from "../core/dom.js";
import { integer, metric, money, NONE, number, params, plural } from "../core/format.js";
import { whileSeen } from "../core/seen.js";
import { button, panel } from "../core/ui.js";
import { ensembleTable } from "./ensemble.js";
import { seedsPicture } from "./seeds.js";

export async function mount(node, page) {
  const frame = panel({
    id: "confirmation",
    title: "Is the winner real?",
    wide: true,
    help:
      "The best configurations of a search, trained again with new seeds. The search's winner is compared with each of the others by Welch's t-test, corrected for how many there are (Holm). " +
      "Optimism is by how much the value that the search saw is better than the mean of new seeds. Test rows are measured here and nowhere else; they tell how good the winner is, not which one it is.",
  });
  replace(node, frame.node);
  frame.loading();
  const state = { last: 0, timer: 0, stale: false, together: false, shown: "" };

  async function draw() {
    state.stale = false;
    state.last = Date.now();
    try {
      const answer = await page.get("/confirmation", { filter: null, ensemble: state.together || null });
      const mark = JSON.stringify(answer);
      if (mark === state.shown) return;
      state.shown = mark;
      frame.ready();
      replace(frame.body, content(answer, ask));
    } catch (error) {
      if (!state.shown) frame.problem(error);
    }
  }
  const ask = async () => {
    state.together = true;
    await draw();
  };

  whileSeen(node, page, state, draw);
  await draw();
}

function content(answer, ask) {
  return h(
    "div",
    { class: "stack" },
    h("p", { class: `verdict-line is-${answer.kind}`, dataset: { test: "verdict" } }, answer.verdict),
    answer.test_verdict && h("p", null, answer.test_verdict),
    h(
      "p",
      { class: "quiet small" },
      `${integer(answer.done)} of ${plural(answer.trials, "training")}, ${plural(answer.seeds, "seed")} each, of the best trials of `,
      answer.confirms_name === null
        ? "a study that was deleted"
        : h("a", { href: `/studies/${encodeURIComponent(answer.confirms)}` }, h("bdi", null, answer.confirms_name)),
      answer.resource === null ? "" : `, each to resource ${number(answer.resource)}`,
      ".",
    ),
    seedsPicture(answer),
    table(answer),
    remarks(answer),
    together(answer, ask),
  );
}

function table(answer) {
  const tests = [...new Set(answer.configurations.flatMap((one) => Object.keys(one.test)))];
  const others = [...new Set(answer.configurations.flatMap((one) => Object.keys(one.others)))];
  const head = ["Trial", "Seeds", "Search saw", "New seeds", "Optimism", "p", ...others, ...tests, "A seed costs", "Parameters"];
  return h(
    "div",
    { class: "table-box", tabindex: "0", role: "region", "aria-label": "Configurations" },
    h(
      "table",
      { class: "tight confirmed" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          head.map((text, i) => h("th", { scope: "col", class: i < head.length - 1 ? "num" : null }, h("bdi", null, text))),
        ),
      ),
      h(
        "tbody",
        null,
        answer.configurations.map((one, i) => row(one, i, answer, others, tests)),
      ),
    ),
  );
}

function row(one, i, answer, others, tests) {
  const name = answer.metric;
  return h(
    "tr",
    { class: [i === 0 && "strong", answer.better.includes(one.trial) && "is-better"] },
    h("td", { class: "num" }, trialLink(answer, one.trial)),
    cell(seeds(one)),
    cell(saw(one, name)),
    cell(spread(one.spread, name)),
    cell(one.optimism === null ? NONE : difference(one.optimism, name, one.spread.mean)),
    cell(i === 0 ? "the winner" : chance(one.against?.p_corrected)),
    others.map((other) => cell(spread(one.others[other], other))),
    tests.map((test) => cell(spread(one.test[test], test))),
    cell(one.cost_microdollars === null ? NONE : money(Math.round(one.cost_microdollars))),
    h("td", { class: "clip confirmed-params", title: params(one.params) }, params(one.params)),
  );
}

const cell = (text) => h("td", { class: "num nowrap" }, text);
const trialLink = (answer, trial) =>
  answer.confirms_name === null
    ? integer(trial)
    : h("a", { href: `/studies/${encodeURIComponent(answer.confirms)}/trials/${trial}` }, integer(trial));
const seeds = ({ spread: found, failed, open }) =>
  [integer(found?.n ?? 0), failed && `${failed} failed`, open && `${open} open`].filter(Boolean).join(", ");
const saw = ({ searched }, name) =>
  searched ? `${metric(name, searched.value)}${searched.compares ? "" : ` at ${number(searched.resource)}`}` : NONE;
const short = (x) => number(Number(x.toPrecision(2)));
const chance = (p) => (p === null || p === undefined ? NONE : p < 0.001 ? "< 0.001" : short(p));
const isShare = (name, mean) => metric(name, mean).endsWith("%");

function spread(found, name) {
  if (!found) return NONE;
  const mean = metric(name, found.mean);
  if (found.sd === null) return mean;
  return isShare(name, found.mean) ? `${mean.replace(/\s*%$/, "")} ± ${short(100 * found.sd)} %` : `${mean} ± ${short(found.sd)}`;
}

const difference = (x, name, of) => (isShare(name, of) ? `${short(100 * x)} points` : short(x));

function remarks(answer) {
  const cheapest = answer.cheapest === null ? "" : `The cheapest of those that cannot be told apart is trial ${answer.cheapest}.`;
  const power =
    answer.detectable === null ? "" : `So many seeds show a difference of ${difference(answer.detectable, answer.metric, answer.configurations.find((one) => one.spread)?.spread.mean)} four times in five.`;
  const items = [...answer.notes, cheapest, power].filter(Boolean);
  return items.length
    ? h(
        "ul",
        { class: "small remarks" },
        items.map((text) => h("li", null, text)),
      )
    : null;
}

function together(answer, ask) {
  if (answer.ensemble) return ensembleTable(answer);
  if (answer.ensemble_note) return h("p", { class: "quiet small" }, answer.ensemble_note);
  if (!answer.done) return null;
  return h("div", null, button("What do the models gain together?", ask, { kind: "quiet", small: true }));
}
