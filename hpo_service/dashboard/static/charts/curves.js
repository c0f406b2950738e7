// Learning curves of up to 200 trials, with the rungs as lines and where and why each trial was promoted or ended.

import { h, replace } from "../core/dom.js";
import { integer, isShare, number } from "../core/format.js";
import { axis, plot } from "../core/plot.js";
import { colours } from "../core/theme.js";
import { segmented, select } from "../core/ui.js";
import { param } from "../core/url.js";
import { legendOf, noteOf, stage } from "./common.js";
import { rangeOf } from "./ranges.js";
import { groupsOf, lineTrace, markTraces, smoothed } from "./curve_traces.js";

export const info = {
  id: "curves",
  title: "Learning curves",
  help: "One line per trial. Vertical lines are rungs, where trials are compared: a triangle went on, a square was stopped there, a cross failed. Hover a mark for the reason; click it for the trial. Draw a box to select by value; double-click to see all again.",
};
const CHOICES = [
  { id: "top", label: "Best", title: "The best trials" },
  { id: "running", label: "Running", title: "Those that run now" },
  { id: "newest", label: "Newest", title: "The newest that reported" },
  { id: "filter", label: "Selected", title: "Those that match the filter" },
];
// Fixed, so that Plotly need not draw everything twice to find out what its labels take.
const MARGIN = { l: 62, r: 16, t: 52, b: 44 };
const COUNTS = ["20", "50", "100", "200"];

export function mount(p, page) {
  const state = {
    lines: param("lines", "top"),
    count: param("count", "50"),
    by: param("by", usualColour(page)),
    metric: param("metric", page.metricName),
    smooth: param("smooth", 0),
    logc: param("logc", spread(page) >= 27 ? "x" : ""),
  };
  const node = h("div", { class: "chart chart-curves" });
  const marks = h("div", { class: "curves-marks" });
  const base = stage(p, node, marks);
  let answer = null,
    learned = null;
  const draw = () => (answer ? show(p, page, { node, marks, base, answer, state }) : null);
  controls(p, page, { state, draw });
  return {
    async refresh() {
      if (!learned)
        learned = learn(page)
          .then(() => fillMetrics(state, page))
          .catch(() => {
            learned = null;
          });
      fillMetrics(state, page);
      answer = await page.get("/curves", {
        choose: state.lines.get(),
        limit: state.count.get(),
        metric: state.metric.get() === page.metricName ? null : state.metric.get(),
      });
      await draw();
    },
  };
}

// Where there is one bracket, the rungs tell more.
function usualColour(page) {
  if (!page.hasRungs) return "value";
  return ["asha", "pasha", "successive_halving"].includes(page.definition().algorithm.name) ? "rung" : "bracket";
}

// Rungs lie evenly on a log axis; few of them do well enough on a linear one.
function spread(page) {
  const { min_resource: from = 1, max_resource: to } = page.definition().algorithm;
  return page.hasRungs && to ? to / from : 1;
}

// Which metrics there are: those of the trial that came furthest.
async function learn(page) {
  const { items } = await page.get("/trials", { filter: null, limit: 1, sort: "-resource" });
  page.learnMetrics(items.flatMap((trial) => Object.keys(trial.values ?? {})));
}

function fillMetrics(state, page) {
  const names = [...new Set([...page.metrics(), state.metric.get()])];
  const box = state.chooser.querySelector("select");
  if (box.options.length === names.length) return;
  replace(
    box,
    names.map((name) => h("option", { value: name }, name)),
  );
  box.value = state.metric.get();
  state.chooser.hidden = names.length < 2;
}

function controls(p, page, { state, draw }) {
  const again = () => page.refresh(p);
  const which = segmented(CHOICES, state.lines.get(), (id) => state.lines.set(id), { label: "Which trials" });
  const count = select(
    "",
    COUNTS.map((id) => ({ id, label: id })),
    state.count.get(),
    (id) => state.count.set(id),
  );
  count.querySelector("select").setAttribute("aria-label", "How many trials at most");
  const by = [
    ...(page.hasRungs
      ? [
          { id: "bracket", label: "bracket" },
          { id: "rung", label: "rung" },
        ]
      : []),
    { id: "value", label: "value" },
    { id: "state", label: "state" },
  ];
  const colour = select("Colour", by, state.by.get(), (id) => state.by.set(id));
  state.chooser = select("Metric", [{ id: state.metric.get(), label: state.metric.get() }], state.metric.get(), (id) =>
    state.metric.set(id),
  );
  state.chooser.hidden = true;
  const axes = select(
    "Axes",
    [
      { id: "", label: "linear" },
      { id: "x", label: "log x" },
      { id: "y", label: "log y" },
      { id: "xy", label: "log x, y" },
    ],
    state.logc.get(),
    (id) => state.logc.set(id),
  );
  const output = h("output", null, percent(state.smooth.get()));
  const range = h("input", {
    type: "range",
    min: "0",
    max: "95",
    step: "5",
    value: String(state.smooth.get()),
    on: {
      input: () => {
        output.textContent = percent(range.value);
        state.smooth.set(Number(range.value));
      },
    },
  });
  replace(p.tools, which, count);
  state.more = h(
    "div",
    { class: "row curves-more" },
    state.chooser,
    colour,
    axes,
    h("label", { class: "slider" }, h("span", null, "Smooth"), range, output),
  );
  p.body.before(state.more);
  state.lines.on((id) => {
    which.show(id);
    again();
  });
  state.count.on((id) => {
    count.set(id);
    again();
  });
  state.metric.on((id) => {
    state.chooser.set(id);
    again();
  });
  state.by.on((id) => {
    colour.set(id);
    draw();
  });
  state.logc.on((id) => {
    axes.set(id);
    draw();
  });
  state.smooth.on((x) => {
    range.value = String(x);
    output.textContent = percent(x);
    draw();
  });
}

const percent = (x) => (Number(x) ? `${x} %` : "off");

const NONE = {
  running: "No trial runs now.",
  filter: "No trial that matches the filter has reported this metric.",
  top: "No trial has reported this metric yet.",
  newest: "No trial has reported this metric yet.",
};

async function show(p, page, { node, marks, base, answer, state }) {
  if (!answer.trials.length) {
    const failed = answer.of && page.study().counts.failed === answer.of;
    p.empty(failed ? "Every trial failed, and none has a finite value of this metric." : (NONE[state.lines.get()] ?? NONE.top));
    return;
  }
  base.show();
  const log = { x: state.logc.get().includes("x"), y: state.logc.get().includes("y") };
  const weight = Math.min(95, Math.max(0, state.smooth.get())) / 100;
  const ladders = laddersOf(answer.rungs ?? []);
  const fits = answer.trials.filter((line) => !page.filter || line.matches);
  const rest = answer.trials.filter((line) => page.filter && !line.matches);
  const groups = () => groupsOf(fits, state.by.get(), { ladders, maximize: page.maximize });
  const shared = { weight, ladders, metricName: answer.metric, resourceText: page.resourceText };
  const traces = () => [
    ...(rest.length ? [lineTrace({ label: "", colour: colours().line, lines: rest }, { weight, faint: true })] : []),
    ...groups().map((group, _, all) => lineTrace(all.length > 1 ? group : { ...group, label: "" }, { weight })),
    ...markTraces(fits, shared),
  ];
  const values = answer.trials.flatMap((line) => smoothed(line.value, weight)).filter((value) => typeof value === "number");
  const robust = rangeOf(values, { log: log.y, name: answer.metric });
  await plot(node, traces, () => layoutOf(page, answer, { log, robust, ladders, state }), {
    label: `Learning curves of ${answer.metric}: ${integer(answer.trials.length)} trials, ${answer.chosen ?? ""}`,
    onClick: (trial) => {
      if (Number.isInteger(trial)) page.openTrial(trial);
    },
    onSelect: (box) => selectBy(page, answer, box),
  });
  replace(
    marks,
    legendOf(["promoted", ...new Set(answer.trials.map((line) => line.state))].filter((name) => name !== "promoted" || page.hasRungs)),
  );
  p.note(noteOf(answer, { more: [robust.outside ? `${integer(robust.outside)} points outside the axis` : ""] }));
}

// bracket → its resources, lowest first
function laddersOf(rungs) {
  const ladders = new Map();
  for (const { bracket, resource } of rungs)
    ladders.set(
      bracket,
      [...(ladders.get(bracket) ?? []), resource].sort((a, b) => a - b),
    );
  return ladders;
}

function layoutOf(page, answer, { log, robust, ladders, state }) {
  const colour = colours();
  const furthest = Math.max(...answer.trials.map((line) => line.resource.at(-1)));
  const levels = [...new Set([...ladders.values()].flat())].filter((level) => level <= furthest * 1.001).sort((a, b) => a - b);
  const few = levels.length <= 12 ? levels : [];
  const ticks = few.length > 1 ? { tickvals: few, ticktext: few.map(number), showgrid: false } : { dtick: 1 };
  return {
    height: 320,
    meta: { seq: answer.seq },
    uirevision: [answer.metric, log.x, log.y, state.lines.get()].join(),
    showlegend: true,
    margin: MARGIN,
    legend: { y: 1.07 },
    xaxis: { ...axis(page.resourceName, { log: log.x }), automargin: false, zeroline: false, ...(log.x ? ticks : { rangemode: "tozero" }) },
    yaxis: {
      ...axis(answer.metric, { log: log.y, share: isShare(answer.metric) }),
      automargin: false,
      zeroline: false,
      ...(robust.range ? { range: robust.range } : {}),
    },
    shapes: few.map((level) => ({
      type: "line",
      layer: "below",
      x0: level,
      x1: level,
      yref: "paper",
      y0: 0,
      y1: 1,
      line: { color: colour.quiet, width: 1, dash: "dot" },
    })),
    annotations: log.x
      ? []
      : few.map((level) => ({
          x: level,
          yref: "paper",
          y: 1,
          yanchor: "bottom",
          text: number(level),
          showarrow: false,
          font: { color: colour.quiet, size: 10.5 },
        })),
  };
}

// A box selects by the drawn metric: the objective by the trials' value, others by their own.
function selectBy(page, answer, box) {
  if (!box?.y) return;
  const [low, high] = box.y.map((one) => Number(one.toPrecision(5)));
  page.selection.range(answer.metric === page.metricName ? "value" : `metric.${answer.metric}`, low, high);
}
