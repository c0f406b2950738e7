// Parallel coordinates of at most 5,000 trials, coloured by the objective. Brushes and the filter are one: each sets the other.

import { h, replace } from "../core/dom.js";
import { integer, metric, value as wordsOf } from "../core/format.js";
import { FIELDS } from "../core/selection.js";
import { colours } from "../core/theme.js";
import { button, dialog } from "../core/ui.js";
import { param } from "../core/url.js";
import { noteOf, stage } from "./common.js";
import { isDark } from "./curve_traces.js";
import { axisFor, brushOf, meaningOf } from "./parallel_axes.js";
import { parallelCanvas } from "./parallel_canvas.js";

export const info = {
  id: "parallel",
  title: "Parallel coordinates",
  help: "One line per trial through its parameters to its value; the stronger the colour, the better its place among them. Drag along an axis to select a range, click it to take the range away; drag a name to move its axis; click a line for its trial. By keyboard: Tab to an axis, arrows move the range, Shift ↑ ↓ stretch it, Delete removes it, Shift ← → move the axis. “–” is where a parameter was not used or a value is missing.",
};
const WIDTH = 92; // least pixels per axis; narrower pages scroll
const MOST = 16; // axes at first

export function mount(p, page) {
  const chosen = param("axes", []);
  const node = h("div", { class: "parallel" });
  const base = stage(p, h("div", { class: "parallel-box" }, node));
  const view = { page, node, base, axes: [], answer: null };
  view.canvas = parallelCanvas(node, {
    onBrush: (at, spans) => brush(page, view.axes[at], spans),
    onMove: (from, to) => chosen.set(moved(view.axes, from, to)),
    onPick: (number, event) => page.openTrial(number, event),
    onHover: (number) => page.hover(number),
    describe: (index) => view.axes.map((axis) => [labelOf(page, axis.field.name), said(view, axis, index)]),
    words: (axis) =>
      page.selection
        .terms()
        .filter(({ field }) => field.replace(/^(param|metric)\./, "") === axis.title)
        .map(({ raw }) => raw)
        .join(" ") || "a range",
  });
  replace(
    p.tools,
    button("Axes", () => chooseAxes(page, chosen), { small: true, title: "Choose what is drawn" }),
  );
  chosen.on(() => page.refresh(p));
  base.onTheme(() => {
    if (view.answer) show(p, page, view);
  });
  return {
    async refresh() {
      view.answer = await page.get("/sample", { fields: fieldsOf(page, chosen.get()).join(","), limit: 5000 });
      show(p, page, view);
    },
  };
}

// All parameters that vary, the other objectives, the value.
function fieldsOf(page, chosen) {
  if (chosen.length) return chosen.includes("value") ? chosen : [...chosen, "value"];
  const params = page.parameters
    .filter((one) => !one.constant)
    .slice(0, MOST)
    .map((one) => `param.${one.name}`);
  return [...params, ...page.objectives.slice(1).map((one) => `metric.${one.metric}`), "value"];
}

function show(p, page, view) {
  const { answer, node } = view;
  if (!answer.shown) {
    p.empty("No trial yet: its line will appear here.");
    return;
  }
  view.base.show();
  const terms = page.selection.terms(page.filter);
  view.axes = answer.fields.map((field) => axisFor(field, answer.columns[field.name], page));
  node.style.minWidth = `${WIDTH * view.axes.length}px`;
  const { shades, share } = shadesOf(page, answer);
  const last = view.axes.at(-1);
  const scaleAt = last.field.name === "value" && last.tickvals.length > 1 ? (t) => share(last.toValue(last.low + t * (last.high - last.low))) : null;
  view.canvas.draw({
    axes: view.axes.map((axis) => modelOf(page, axis, terms)),
    numbers: answer.number,
    shades,
    colour: rampOf(),
    scaleAt,
    seq: answer.seq,
    label: `Parallel coordinates of ${integer(answer.shown)} of ${integer(answer.of)} trials through ${view.axes.map((axis) => axis.field.name).join(", ")}`,
  });
  const failed = answer.not_finite?.value ?? 0;
  p.note(
    noteOf(answer, {
      more: [
        last.outside ? `${integer(last.outside)} beyond the last axis, drawn at its end` : "",
        failed ? `${integer(failed)} without a finite value, in grey` : "",
      ],
    }),
  );
}

function modelOf(page, axis, terms) {
  const spans = brushOf(axis, terms);
  return {
    label: short(labelOf(page, axis.field.name)),
    title: axis.field.name,
    range: axis.range,
    values: axis.values,
    tickvals: axis.tickvals,
    ticktext: axis.ticktext,
    snaps: axis.field.type === "category",
    spans: spans && (Array.isArray(spans[0]) ? spans : [spans]),
    log: axis.log,
  };
}

const labelOf = (page, name) => (name === "value" ? page.metricName : name);
const short = (text) => {
  const letters = [...text];
  return letters.length > 15 ? `${letters.slice(0, 14).join("")}…` : text;
};

function said({ page, answer }, axis, index) {
  const value = answer.columns[axis.field.name][index];
  if (value === null || value === undefined) return "–";
  if (axis.field.type === "category") return String(axis.field.labels[value] ?? value).slice(0, 60);
  return axis.field.kind === "param" ? wordsOf(value) : metric(labelOf(page, axis.field.name), value);
}

// 0 worst … 1 best of those that match, by their place and not by their value: a sample that prefers the best would be one colour else. -1 for the rest.
function shadesOf(page, answer) {
  const values = answer.columns.value ?? [];
  const rows = answer.number.map((_, i) => i).filter((i) => answer.matches[i] && values[i] !== null && values[i] !== undefined);
  const sorted = rows.map((i) => values[i]).sort((a, b) => a - b);
  const share = (value) => {
    const at = placeIn(sorted, value);
    return page.maximize ? at : 1 - at;
  };
  const shades = new Array(answer.number.length).fill(-1);
  for (const i of rows) shades[i] = share(values[i]);
  return { shades, share };
}

// Where a value stands among the sorted ones, 0 … 1.
function placeIn(sorted, value) {
  if (sorted.length < 2) return 1;
  let low = 0,
    high = sorted.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low / (sorted.length - 1);
}

// Viridis from where the page's ground is not: the best stand out in light and dark alike.
function rampOf() {
  const { scale } = colours();
  const dark = isDark();
  const stops = scale.map(([, colour]) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));
  return (t) => {
    const at = (dark ? 0.18 + 0.82 * t : 0.92 * (1 - t)) * (stops.length - 1);
    const k = Math.min(stops.length - 2, Math.floor(at));
    return `rgb(${stops[k].map((from, i) => Math.round(from + (at - k) * (stops[k + 1][i] - from))).join(" ")})`;
  };
}

function brush(page, axis, spans) {
  const found = meaningOf(axis, spans);
  const name = qualified(page, axis.field);
  if (axis.field.type === "category") page.selection.term(name, ":", found ? found.labels : null);
  else page.selection.range(name, ...(found?.range ?? [null, null]));
}

const idOf = ({ field }) => (field.kind === "field" ? field.name : `${field.kind}.${field.name}`);

function moved(axes, from, to) {
  const ids = axes.map(idOf);
  ids.splice(to, 0, ...ids.splice(from, 1));
  return ids;
}

// A parameter that is called like a field of trials needs its prefix in a filter.
function qualified(page, field) {
  if (field.kind === "field") return field.name;
  const taken = FIELDS.includes(field.name);
  const both = field.kind === "metric" && page.parameters.some((one) => one.name === field.name);
  return taken || both ? `${field.kind}.${field.name}` : field.name;
}

async function chooseAxes(page, chosen) {
  const now = new Set(fieldsOf(page, chosen.get()));
  const all = [
    ...page.parameters.filter((one) => !one.constant).map((one) => ({ id: `param.${one.name}`, label: one.name, hint: "parameter" })),
    ...page
      .metrics()
      .filter((name) => name !== page.metricName)
      .map((name) => ({ id: `metric.${name}`, label: name, hint: "metric" })),
    ...["resource", "seconds", "cost", "number", "bracket", "rung", "state", "origin"].map((name) => ({
      id: name,
      label: name,
      hint: "field",
    })),
  ];
  const boxes = all.map(({ id, label, hint }) =>
    h(
      "label",
      null,
      h("input", { type: "checkbox", value: id, checked: now.has(id) }),
      h("bdi", null, label),
      h("span", { class: "quiet small" }, hint),
    ),
  );
  const list = h("div", { class: "popover-list" }, boxes);
  const answer = await dialog({
    title: "Axes",
    body: h(
      "div",
      null,
      h(
        "p",
        { class: "quiet" },
        `${page.metricName} is always the last one. The order is that of the list; drag the names in the chart to change it.`,
      ),
      list,
    ),
    actions: [
      { id: "reset", label: "As at first" },
      { id: "use", label: "Use these", kind: "primary" },
    ],
  });
  if (answer === "reset") chosen.set([]);
  if (answer === "use") chosen.set([...list.querySelectorAll("input:checked")].map((one) => one.value));
}
