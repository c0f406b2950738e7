// How the values are distributed: the share of trials up to each value (/distribution), whole or by bracket or a parameter's categories.

import { h, replace } from "../core/dom.js";
import { integer, metric as metricText, percent, plural } from "../core/format.js";
import { plot, robustRange } from "../core/plot.js";
import { colours } from "../core/theme.js";
import { emptyState, switcher } from "../core/ui.js";
import { param } from "../core/url.js";
import { chooser, outsideNote, safe, stage, valueAxis } from "./common.js";

export const info = {
  id: "distribution", title: "Distribution of values",
  help: "Read it at any value: the height is the share of trials that are no greater. When larger is better, a curve further right is better; when smaller is better, one further left. "
    + "Split it by bracket or by a category to see whether one choice is better throughout, or only has the luckiest trial.",
};

const by = param("di", "");
const log = param("di.log", false);
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "5px,2px", "2px,2px"];

export function mount(panel, page) {
  const figure = h("div", null);
  const view = stage(panel, figure);
  const again = () => page.refresh(panel);
  const splits = () => [{ id: "", label: "all trials" }, ...(page.hasRungs ? [{ id: "bracket", label: "bracket" }] : []),
    ...page.parameters.filter((one) => one.type === "category" && !one.constant).map((one) => ({ id: one.name, label: one.name }))];
  const choice = chooser({ label: "By", options: splits(), get: by.get, set: (id) => by.set(id) });
  const logarithmic = switcher("log", log.get(), (on) => log.set(on));
  replace(panel.tools, choice.node, logarithmic);
  by.on(again);
  log.on((on) => { logarithmic.set(on); if (data) render(); });
  let data = null;

  async function refresh() {
    choice.fill(splits());
    data = await page.get("/distribution", { by: by.get() });
    if (!data.groups.some((one) => one.n)) return panel.empty(emptyState({ title: "No values yet", text: "The curve grows as trials report their values." }));
    view.show();
    await render();
    return undefined;
  }

  async function render() {
    const groups = data.groups.filter((one) => one.n);
    const values = groups.flatMap((one) => one.value);
    const useLog = log.get() && values.every((one) => one > 0);
    const { range, outside } = robustRange(values, { log: useLog });
    const colour = colours();
    const traces = groups.map((one, i) => ({
      type: "scatter", mode: "lines", name: `${safe(one.name, 24)} (${integer(one.n)})`, x: one.value, y: one.share,
      line: { shape: "hv", width: 2, color: groups.length === 1 ? colour.accent : colour.categories[i % 8], dash: DASHES[Math.floor(i / 8) % 8] },
      ...(groups.length === 1 ? { fill: "tozeroy", fillcolor: `${colour.accent}14` } : {}), text: one.value.map((value) => metricText(data.metric, value)), hovertemplate: `%{y:.0%} of ${safe(one.name, 24)} ≤ %{text}<extra></extra>` }));
    await plot(figure, traces, {
      xaxis: { ...valueAxis(data.metric, values, { log: useLog }), ...(range ? { range } : {}) }, showlegend: groups.length > 1, meta: { seq: data.seq }, uirevision: `${by.get()}/${useLog}`,
      yaxis: { title: { text: "share of trials" }, range: [0, 1.02], tickformat: ".0%", nticks: 6 }, hovermode: "x" },
    { height: 300, label: inWords(groups, data.metric) });
    panel.note([plural(groups.reduce((sum, one) => sum + one.n, 0), "trial"), page.filter ? "those that match the filter" : "", outsideNote(outside, "the axis"),
      data.not_finite ? `${integer(data.not_finite)} without a finite value left out` : "", log.get() && !useLog ? "not all values are above 0, so the axis is linear" : ""].filter(Boolean).join("; "));
  }
  view.onTheme(() => data && render());
  return { refresh };
}

function inWords(groups, metric) {
  const middle = ({ value, share }) => value[share.findIndex((one) => one >= 0.5)] ?? value.at(-1);
  return `Distribution of ${metric}: ${groups.slice(0, 8).map((one) => `${one.name}: ${percent(0.5, 0)} of ${one.n} trials up to ${metricText(metric, middle(one))}`).join("; ")}`;
}
