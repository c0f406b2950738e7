// Several objectives: the trials that no other trial beats in all of them (/pareto); two chosen objectives as a plane, or all of them side by side.

import { h, replace } from "../core/dom.js";
import { metric as metricText, plural } from "../core/format.js";
import { plot, pointTrace, robustRange } from "../core/plot.js";
import { colours } from "../core/theme.js";
import { emptyState, segmented } from "../core/ui.js";
import { param } from "../core/url.js";
import { brushed, chooser, matching, noteOf, outsideNote, safe, stage, valueAxis } from "./common.js";

export const info = {
  id: "pareto", title: "Pareto front",
  help: "With several objectives there is no single best trial, but a front: trials that cannot be improved in one objective without losing in another. Everything off the front is beaten by some trial on it in every respect. "
    + "Choose the point on the front whose price you are willing to pay.",
};

const xName = param("pa.x", "");
const yName = param("pa.y", "");
const form = param("pa.as", "plane");
const FRONT = 1000; // of so many trials on the front is asked whether they match the filter

export function mount(panel, page) {
  const figure = h("div", null);
  const view = stage(panel, figure);
  const names = page.objectives.map((one) => one.metric);
  const x = () => (names.includes(xName.get()) ? xName.get() : names[0]);
  const y = () => (names.includes(yName.get()) && yName.get() !== x() ? yName.get() : names.find((one) => one !== x()));
  const choosers = [chooser({ label: "Across", options: names, get: x, set: (name) => { if (name === y()) yName.set(x()); xName.set(name); } }),
    chooser({ label: "Up", options: names, get: y, set: (name) => { if (name === x()) xName.set(y()); yName.set(name); } })];
  const forms = segmented([{ id: "plane", label: "plane" }, { id: "parallel", label: "parallel" }], form.get(), (id) => form.set(id), { label: "Draw as" });
  let data = null, matches = null;
  const redraw = () => {
    forms.show(form.get());
    for (const one of choosers) { one.fill(names); one.node.hidden = form.get() === "parallel"; }
    if (data) render();
  };
  replace(panel.tools, choosers.map((one) => one.node), names.length > 2 ? forms : null);
  for (const one of [xName, yName, form]) one.on(redraw);

  async function refresh() {
    if (names.length < 2) return panel.empty("This study has one objective; the best trial needs no front.");
    data = await page.get("/pareto", {});
    if (!data.front.number.length) return panel.empty(emptyState({ title: "No front yet", text: `A trial stands on it once it is through and has a finite value for ${names.join(" and ")}.` }));
    matches = await matching(page, data.front.number.slice(0, FRONT));
    view.show();
    for (const one of choosers) one.node.hidden = form.get() === "parallel" && names.length > 2;
    await render();
    return undefined;
  }

  const direction = (name) => data.objectives.find((one) => one.metric === name)?.direction ?? "minimize";
  const column = (part, name) => part.values[data.objectives.findIndex((one) => one.metric === name)] ?? [];
  async function render() {
    if (form.get() === "parallel" && names.length > 2) return parallel();
    const [px, py] = [column(data.points, x()), column(data.points, y())];
    const [fx, fy] = [column(data.front, x()), column(data.front, y())];
    const [rx, ry] = [robustRange([...px, ...fx]), robustRange([...py, ...fy])];
    const order = fx.map((_, i) => i).sort((a, b) => fx[a] - fx[b]);
    const title = (name) => `${safe(name, 28)} (${direction(name) === "maximize" ? "higher" : "lower"} is better)`;
    const layout = { xaxis: { ...valueAxis(x(), px, { title: title(x()) }), ...(rx.range ? { range: rx.range } : {}) }, yaxis: { ...valueAxis(y(), py, { title: title(y()) }), ...(ry.range ? { range: ry.range } : {}) }, meta: { seq: data.seq }, uirevision: `${x()}/${y()}`, showlegend: true };
    await plot(figure, planeTraces({ data, px, py, fx: order.map((i) => fx[i]), fy: order.map((i) => fy[i]), on: order.map((i) => data.front.number[i]), names: [x(), y()], matches }), layout,
      { height: 420, label: `${plural(data.front.number.length, "trial")} on the Pareto front of ${names.join(" and ")}`, onClick: (n) => Number.isInteger(n) && page.selection.toggleNumber(n),
        onSelect: (box) => box && brushed(page.selection, [[{ name: x() }, box.x], [{ name: y() }, box.y]]) });
    return panel.note(noteOf(data, { noun: "trials that came to their end", more: [`${plural(data.front.size ?? data.front.number.length, "trial")} on the front`, data.note, outsideNote(rx.outside + ry.outside, "the axes")] }));
  }

  async function parallel() {
    const colour = colours();
    const numbers = [...data.points.number, ...data.front.number];
    const dimensions = data.objectives.map(({ metric }) => {
      const values = [...column(data.points, metric), ...column(data.front, metric)];
      const { range } = robustRange(values);
      return { label: `${safe(metric, 20)} ${direction(metric) === "maximize" ? "↑" : "↓"}`, values: range ? values.map((one) => Math.min(range[1], Math.max(range[0], one))) : values, ...(range ? { range } : {}) };
    });
    const trace = { type: "parcoords", dimensions, labelfont: { color: colour.ink, size: 12 }, tickfont: { color: colour.quiet, size: 10 }, rangefont: { color: colour.quiet, size: 10 },
      line: { color: numbers.map((_, i) => (i < data.points.number.length ? 0 : 1)), colorscale: [[0, colour.line], [1, colour.accent]], cmin: 0, cmax: 1, showscale: false } };
    await plot(figure, [trace], { margin: { l: 60, r: 40, t: 50, b: 24 }, meta: { seq: data.seq } }, { height: 420, label: `All objectives side by side; ${plural(data.front.number.length, "trial")} on the front` });
    panel.note(noteOf(data, { more: [`${plural(data.front.number.length, "trial")} on the front in colour`, "values beyond an axis are drawn at its end"] }));
  }
  view.onTheme(() => data && render());
  return { refresh };
}

function planeTraces({ data, px, py, fx, fy, on, names, matches }) {
  const colour = colours();
  const front = new Set(data.front.number);
  const text = (n, a, b) => `Trial ${n}<br>${safe(names[0])} ${metricText(names[0], a)}<br>${safe(names[1])} ${metricText(names[1], b)}`;
  const cloud = (wanted, marker, more) => {
    const some = data.points.number.map((_, i) => i).filter((i) => !front.has(data.points.number[i]) && Boolean(data.points.matches[i]) === wanted && px[i] !== null && py[i] !== null);
    return { type: pointTrace(data.points.number.length), mode: "markers", showlegend: false, x: some.map((i) => px[i]), y: some.map((i) => py[i]), customdata: some.map((i) => data.points.number[i]), marker,
      text: some.map((i) => text(data.points.number[i], px[i], py[i])), ...more };
  };
  return [cloud(false, { color: colour.quiet, size: 5, opacity: 0.18 }, { hoverinfo: "skip" }),
    cloud(true, { color: colour.quiet, size: 6, opacity: 0.65 }, { name: "other trials", showlegend: true, hovertemplate: "%{text}<extra></extra>" }),
    { type: "scatter", mode: data.objectives.length === 2 ? "lines+markers" : "markers", name: "Pareto front", x: fx, y: fy, customdata: on, line: { shape: "hv", color: colour.accent, width: 1.5 },
      marker: { color: colour.accent, size: 10, symbol: "diamond", opacity: on.map((n) => (matches && !matches.has(n) ? 0.25 : 1)), line: { color: colour.panel, width: 1.5 } }, text: on.map((n, i) => text(n, fx[i], fy[i])), hovertemplate: "%{text}<br>on the front<extra></extra>" }];
}
