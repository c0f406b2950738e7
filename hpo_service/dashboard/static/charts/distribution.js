// How the values are distributed: the share of trials up to each value (/distribution), whole or by bracket or a parameter's categories.

import { h, replace } from "../core/dom.js";
import { integer, metric as metricText, percent, plural } from "../core/format.js";
import { plot } from "../core/plot.js";
import { colours } from "../core/theme.js";
import { emptyState, switcher } from "../core/ui.js";
import { param } from "../core/url.js";
import { chooser, outsideNote, safe, stage, valueAxis } from "./common.js";
import { rangeOf } from "./ranges.js";

export const info = {
  id: "distribution",
  title: "Distribution of values",
  help:
    "Read it at any value: the height is the share of trials that are no greater. When larger is better, a curve further right is better; when smaller is better, one further left. " +
    "Split it by bracket or by a category to see whether one choice is better throughout, or only has the luckiest trial.",
};

const by = param("di", "");
const log = param("di.log", false);
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "5px,2px", "2px,2px"];

export function mount(panel, page) {
  const figure = h("div", null);
  const view = stage(panel, figure);
  const again = () => page.refresh(panel);
  const splits = () =>
    [
      { id: "", label: "nothing" },
      ...(page.hasRungs ? ["rung", "bracket"] : []),
      "state",
      ...page.parameters.filter((one) => !one.constant).map((one) => one.name),
    ].map((one) => (typeof one === "string" ? { id: one, label: one } : one));
  const choice = chooser({ label: "Split by", options: splits(), get: by.get, set: (id) => by.set(id) });
  const logarithmic = switcher("log", log.get(), (on) => log.set(on));
  replace(panel.tools, choice.node, logarithmic);
  by.on(again);
  log.on((on) => {
    logarithmic.set(on);
    if (data) render();
  });
  let data = null;

  async function refresh() {
    choice.fill(splits());
    data = await page.get("/distribution", { by: by.get() });
    if (!data.groups.some((one) => one.n))
      return panel.empty(emptyState({ title: "No values yet", text: "The curve grows as trials report their values." }));
    view.show();
    await render();
    return undefined;
  }

  async function render() {
    const groups = data.groups.filter((one) => one.n);
    const values = groups.flatMap((one) => one.value);
    const useLog = log.get() && values.every((one) => one > 0);
    const { range, outside } = rangeOf(values, { log: useLog, name: data.metric });
    const colour = colours();
    const traces = groups.map((one, i) => ({
      type: "scatter",
      mode: "lines",
      name: `${nameOf(one, page)} (${integer(one.n)})`,
      x: [one.value[0], ...one.value],
      y: [0, ...one.share], // from the ground up: a single value is a step too
      line: lineOf(one, i, groups, colour),
      ...(groups.length === 1 ? { fill: "tozeroy", fillcolor: `${colour.accent}14` } : {}),
      text: [one.value[0], ...one.value].map((value) => metricText(data.metric, value)),
      hovertemplate: `%{y:.0%} of ${nameOf(one, page)} ≤ %{text}<extra></extra>`,
    }));
    await plot(
      figure,
      traces,
      {
        xaxis: { ...valueAxis(data.metric, values, { log: useLog }), ...(range ? { range } : {}) },
        showlegend: groups.length > 1,
        meta: { seq: data.seq },
        uirevision: `${by.get()}/${useLog}`,
        yaxis: { title: { text: "share of trials" }, range: [0, 1.02], tickformat: ".0%", nticks: 6 },
        hovermode: "x",
      },
      { height: 300, label: inWords(groups, data.metric) },
    );
    panel.note(
      [
        `${integer(groups[0].n)} of ${plural(data.of, "trial")} ${groups[0].n === 1 ? "has" : "have"} a value${page.hasRungs ? ", each at the rung where it stands: split by rung to compare like with like" : ""}`,
        page.filter ? `${integer(data.matching)} match the filter` : "",
        outsideNote(outside, "the axis"),
        data.not_finite ? `${integer(data.not_finite)} without a finite value left out` : "",
        log.get() && !useLog ? "not all values are above 0, so the axis is linear" : "",
      ]
        .filter(Boolean)
        .join("; "),
    );
  }
  view.onTheme(() => data && render());
  return { refresh };
}

const nameOf = ({ name }, page) => (name === "matching" && page.filter ? "matching the filter" : safe(name, 24));

// All trials stay as a quiet line behind those that match, or the groups.
function lineOf({ name }, i, groups, colour) {
  const alone = groups.length === 1,
    behind = i === 0 && !alone;
  const nth = i - (groups[1]?.name === "matching" ? 1 : 0); // the first category's colour is too like the accent
  if (alone || (i === 1 && name === "matching")) return { shape: "hv", width: 2.5, color: colour.accent };
  return behind
    ? { shape: "hv", width: 1.5, color: colour.quiet, dash: "solid" }
    : { shape: "hv", width: 2, color: colour.categories[nth % 8], dash: DASHES[Math.floor(nth / 8) % 8] };
}

function inWords(groups, metric) {
  const middle = ({ value, share }) => value[share.findIndex((one) => one >= 0.5)] ?? value.at(-1);
  return `Distribution of ${metric}: ${groups
    .slice(0, 8)
    .map((one) => `${one.name}: ${percent(0.5, 0)} of ${one.n} trials up to ${metricText(metric, middle(one))}`)
    .join("; ")}`;
}
