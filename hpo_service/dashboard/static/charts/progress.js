// Best so far: steps over all trials as points, against trials, resource, wall time or dollars. Boxes drawn here select by value (and number).

import { h, replace } from "../core/dom.js";
import { integer, isShare, metric } from "../core/format.js";
import { axis, plot } from "../core/plot.js";
import { colours } from "../core/theme.js";
import { segmented, switcher } from "../core/ui.js";
import { param } from "../core/url.js";
import { FATES, noteOf, safe, stage } from "./common.js";
import { markColour } from "./mark_colours.js";
import { rangeOf } from "./ranges.js";
import { AXES, axisBy } from "./progress_axes.js";

export const info = {
  id: "progress",
  title: "Best so far",
  help: "The line is the best value so far by the study's rule: a value at more resource beats one at less, so that it can fall where a trial comes further than any before. Each mark is a trial with its newest value, where it stands now. Draw a box to select trials; double-click to see all again.",
};
// Fixed, so that Plotly need not draw everything twice to find out what its labels take.
const MARGIN = { l: 62, r: 16, t: 34, b: 44 };
const HEIGHT = 384; // as high as the learning curves beside it with their controls
const MOST = 1000;
const BROKEN = { word: "do not keep all constraints", symbol: "circle-open" };
const DRAWN = ["finished", "stopped", "paused", "running", "waiting", "failed"];

export function mount(p, page) {
  const state = { x: param("x", "trials"), logy: param("logy", false), wide: param("wide", false) };
  const node = h("div", { class: "chart chart-progress" });
  const base = stage(p, node);
  let answer = null;
  const draw = () => (answer ? show(p, page, { node, base, answer, state }) : null);

  const xs = segmented(
    AXES.map(({ id, label, title }) => ({ id, label, title })),
    state.x.get(),
    (id) => state.x.set(id),
    { label: "Against" },
  );
  const log = switcher("Log", state.logy.get(), (on) => state.logy.set(on));
  const wide = switcher("Outliers", state.wide.get(), (on) => state.wide.set(on));
  wide.title = "Stretch the axis to all values, however far out";
  replace(p.tools, xs, log, wide);
  state.x.on((id) => {
    xs.show(id);
    draw();
  });
  state.logy.on((on) => {
    log.set(on);
    draw();
  });
  state.wide.on((on) => {
    wide.set(on);
    draw();
  });

  return {
    async refresh() {
      answer = thinned(await page.get("/progress"));
      await draw();
    },
  };
}

// A thousand marks are as many as a plot of this size can hold apart, and as many as are drawn at once without a pause. Those that improved, match or run stay.
function thinned(answer) {
  const { points } = answer;
  const count = points.number.length;
  if (count <= MOST) return answer;
  const kept = new Set(answer.improvements.trial);
  const keeps = (i) => kept.has(points.number[i]) || points.state[i] === "running" || (answer.matching < answer.of && points.matches[i]);
  const first = points.number
    .map((_, i) => i)
    .filter(keeps)
    .slice(0, MOST);
  const rest = points.number.map((_, i) => i).filter((i) => !keeps(i));
  const room = MOST - first.length;
  const spread = Array.from({ length: Math.min(room, rest.length) }, (_, k) => rest[Math.floor((k * rest.length) / room)]);
  const rows = [...first, ...spread].sort((a, b) => a - b);
  const columns = Object.fromEntries(Object.entries(points).map(([name, column]) => [name, rows.map((i) => column[i])]));
  return { ...answer, points: columns, shown: rows.length, chosen: `a spread of ${answer.chosen}` };
}

async function show(p, page, { node, base, answer, state }) {
  const { points, improvements } = answer;
  if (!points.number.length && !improvements.trial.length) {
    p.empty(nothingYet(page.study()));
    return;
  }
  base.show();
  const x = axisBy(state.x.get(), answer, page);
  const view = {
    x,
    places: x.of(points),
    best: bestLine(answer, x),
    logy: state.logy.get(),
    wide: state.wide.get(),
    selected: Boolean(page.filter),
  };
  const traces = () => [...pointTraces(page, answer, view), bestTrace(page, view), ...runningTrace(page, view)];
  const { outside } = layoutOf(page, answer, view);
  await plot(node, traces, () => layoutOf(page, answer, view).layout, {
    label: `Best ${page.metricName} so far: ${metric(page.metricName, page.study().best?.value ?? null)}, over ${integer(answer.of)} trials`,
    onClick: (trial) => {
      if (Number.isInteger(trial)) page.openTrial(trial);
    },
    onSelect: (box) => select(page, view, box),
  });
  const { running } = page.study().counts;
  const all =
    answer.chosen === "all trials"
      ? { shown: points.number.length, of: points.number.length, matching: points.matches.filter(Boolean).length }
      : answer;
  p.note(
    noteOf(all, {
      noun: "trials that have a value",
      more: [
        outside ? `${integer(outside)} outside the axis` : "",
        answer.not_finite ? `${integer(answer.not_finite)} without a finite value` : "",
        running ? `${integer(running)} running` : "",
      ],
    }),
  );
}

function nothingYet({ counts, trials }) {
  if (counts.running) return "The first trials are running; their first values will appear here.";
  return counts.failed && counts.failed === trials ? "Every trial failed, so none has a value." : "No trial has a value yet.";
}

// Against trial numbers it is the best in their order; else as it happened.
function bestLine(answer, x) {
  const columns = x.id === "trials" ? answer.by_trial : answer.improvements;
  const places = [...x.of(columns)],
    values = [...columns.value],
    trials = [...columns.trial];
  const edge = Math.max(x.end, places.at(-1) ?? 0);
  if (values.length && edge > places.at(-1)) {
    // the best holds until now
    places.push(edge);
    values.push(values.at(-1));
    trials.push(trials.at(-1));
  }
  return { places, values, trials };
}

function bestTrace(page, { best, x }) {
  return {
    type: "scatter",
    mode: "lines",
    name: "best of those trained furthest",
    legendrank: 1,
    x: best.places,
    y: best.values,
    customdata: best.trials,
    line: { shape: "hv", width: 2.5, color: colours().accent },
    hovertemplate: best.values.map(
      (value, i) =>
        `best so far of those trained furthest ${safe(metric(page.metricName, value))}<br>trial ${best.trials[i]}${x.id === "trials" ? "" : `<br>${x.text(best.places[i])}`}<extra></extra>`,
    ),
  };
}

// One trace per state, those that do not match the filter in a grey one beneath.
function pointTraces(page, { points }, { places, selected }) {
  const groups = new Map();
  points.number.forEach((_, i) => {
    const name = selected && !points.matches[i] ? "no match" : points.feasible[i] ? points.state[i] : "broken";
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(i);
  });
  const order = ["no match", "broken", ...DRAWN].filter((name) => groups.has(name));
  return order.map((name) => {
    const rows = groups.get(name);
    const fate = name === "broken" ? BROKEN : FATES[name];
    const colour = name === "broken" ? colours().quiet : fate ? markColour(name) : colours().line;
    return {
      type: "scatter",
      mode: "markers",
      name: fate?.word ?? "do not match",
      x: rows.map((i) => places[i]),
      y: rows.map((i) => points.value[i]),
      customdata: rows.map((i) => points.number[i]),
      marker: {
        symbol: fate?.symbol ?? "circle",
        color: colour,
        size: name === "running" ? 8 : 6,
        opacity: fate ? 0.75 : 0.55,
        line: { width: fate?.symbol.endsWith("open") || name === "failed" ? 1.6 : 0, color: colour },
      },
      hovertemplate: rows.map(
        (i) =>
          `trial ${points.number[i]} · ${points.state[i]}<br>${safe(page.metricName)} ${safe(metric(page.metricName, points.value[i]))}<br>at ${page.resourceText(points.resource[i])}<extra></extra>`,
      ),
    };
  });
}

// Running trials that have no value yet: marks along the lower edge, at their numbers.
function runningTrace(page, { x }) {
  const numbers = page.running();
  if (x.id !== "trials" || !numbers.length) return [];
  return [
    {
      type: "scatter",
      mode: "markers",
      name: "running now",
      yaxis: "y2",
      x: numbers,
      y: numbers.map(() => 0.02),
      customdata: numbers,
      showlegend: false,
      marker: { symbol: "triangle-up", size: 8, color: colours().accent },
      hovertemplate: numbers.map((n) => `trial ${n} is running<extra></extra>`),
      cliponaxis: false,
    },
  ];
}

function layoutOf(page, answer, view) {
  const { points } = answer;
  const colour = colours();
  const robust = view.wide ? { range: null, outside: 0 } : rangeOf(points.value, { log: view.logy, name: page.metricName });
  const range = robust.range && widened(robust.range, [view.best.values.at(-1), answer.target], view.logy);
  const target = answer.target !== null && answer.target !== undefined;
  return {
    outside: robust.outside,
    layout: {
      height: HEIGHT,
      meta: { seq: answer.seq },
      uirevision: [view.x.id, view.logy, view.wide].join(),
      showlegend: true,
      margin: MARGIN,
      xaxis: { ...axis(view.x.title), ...view.x.ticks, automargin: false, zeroline: false },
      yaxis: {
        ...axis(page.metricName, { log: view.logy, share: isShare(page.metricName) }),
        automargin: false,
        ...(range ? { range } : {}),
        zeroline: false,
      },
      yaxis2: { overlaying: "y", range: [0, 1], fixedrange: true, visible: false },
      shapes: target
        ? [
            {
              type: "line",
              xref: "paper",
              x0: 0,
              x1: 1,
              y0: answer.target,
              y1: answer.target,
              line: { color: colour.good, width: 1.5, dash: "dash" },
            },
          ]
        : [],
      annotations: target
        ? [
            {
              xref: "paper",
              x: 1,
              xanchor: "right",
              y: view.logy ? Math.log10(answer.target) : answer.target,
              yanchor: "bottom",
              text: `target ${safe(metric(page.metricName, answer.target))}`,
              showarrow: false,
              font: { color: colour.good, size: 11 },
            },
          ]
        : [],
    },
  };
}

// The best value and the target are always to be seen.
function widened([low, high], values, log) {
  const places = values
    .filter((one) => typeof one === "number" && Number.isFinite(one) && (!log || one > 0))
    .map((one) => (log ? Math.log10(one) : one));
  const room = 0.03 * (high - low);
  return [Math.min(low, ...places.map((one) => one - room)), Math.max(high, ...places.map((one) => one + room))];
}

function select(page, { x }, box) {
  if (!box) return;
  const [low, high] = box.y ?? [];
  const given = { value: box.y ? [Number(low.toPrecision(5)), Number(high.toPrecision(5))] : null };
  if (x.id === "trials" && box.x) given.number = [Math.max(0, Math.ceil(box.x[0])), Math.floor(box.x[1])];
  page.selection.ranges(given);
}
