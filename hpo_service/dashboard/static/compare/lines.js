// Best so far of several studies in one chart, against trials, resource, hours or dollars.
//
// bestSoFar() → {node, show(items)}

import { h, replace } from "../core/dom.js";
import { isShare, metric, number } from "../core/format.js";
import { axis, plain, plot, robustRange } from "../core/plot.js";
import { panel, segmented, switcher } from "../core/ui.js";
import { param } from "../core/url.js";
import { colourOf, dashOf } from "./chosen.js";

const ENDED = ["finished", "stopped", "failed"];
const AXES = {
  trials: {
    label: "Trials",
    title: "trials that have ended",
    of: (s) => s.ended,
    now: ({ study }) => ENDED.reduce((n, state) => n + (study.counts[state] || 0), 0),
  },
  resource: {
    label: "Resource",
    title: "resource trained, all trials together",
    of: (s) => s.spent_resource,
    now: ({ study }) => study.resource,
  },
  time: {
    label: "Time",
    title: "hours since the first trial began",
    of: (s) => s.hours,
    now: ({ study }) =>
      study.started_at ? ((study.ended_at ? Date.parse(study.ended_at) : Date.now()) - Date.parse(study.started_at)) / 3.6e6 : null,
  },
  cost: {
    label: "Dollars",
    title: "dollars spent",
    of: (s) => s.cost_microdollars.map((micro) => micro / 1e6),
    now: ({ study }) => study.cost_microdollars / 1e6,
  },
};

export function bestSoFar() {
  const x = param("x", "trials"),
    log = param("log", false),
    cut = param("zoom", true);
  const frame = panel({
    id: "best-so-far",
    title: "Best so far",
    wide: true,
    help: "Each line steps where the study's best changed. A trial that was trained further beats one that was not, so a line may step to a worse value where a study reaches a higher rung. The lines end where the studies stand now.",
  });
  const canvas = h("div", { class: "compare-plot" });
  let items = [];
  const kinds = segmented(
    Object.entries(AXES).map(([id, { label, title }]) => ({ id, label, title })),
    x.get(),
    (id) => x.set(id),
    { label: "Against" },
  );
  const scale = switcher("Log", log.get(), (on) => log.set(on));
  const range = switcher("Zoom in", cut.get(), (on) => cut.set(on));
  range.title = "Leave out the low values of the beginning";
  replace(frame.tools, kinds, scale, range);
  const draw = () => {
    if (items.length) show(frame, canvas, items, { x: AXES[x.get()] || AXES.trials, log: log.get(), zoom: cut.get() });
  };
  x.on((id) => {
    kinds.show(id);
    draw();
  });
  log.on((on) => {
    scale.set(on);
    draw();
  });
  cut.on((on) => {
    range.set(on);
    draw();
  });
  return {
    node: frame.node,
    show(found) {
      items = found;
      draw();
    },
  };
}

async function show(frame, canvas, items, view) {
  const lines = items.map((item, i) => lineOf(item, i, view)).filter((line) => line.y.length);
  if (!lines.length) return frame.empty("No study has a value yet.");
  if (canvas.parentNode !== frame.body) replace(frame.body, canvas);
  const names = [...new Set(items.map(({ study }) => study.metric))];
  const layout = {
    xaxis: { ...axis(view.x.title, { log: view.log }), rangemode: view.log ? "normal" : "tozero" },
    yaxis: { ...axis(names.length === 1 ? names[0] : "value", { share: names.every(isShare) }), ...rangeOf(lines, view) },
    showlegend: false,
    hovermode: "closest",
  };
  await plot(canvas, () => lines.map(trace), layout, {
    height: 360,
    label:
      `Best so far of ${lines.length} studies: ${lines.map((one) => `${one.name} ${metric(one.metric, one.y.at(-1))}`).join(", ")}`.slice(
        0,
        900,
      ),
  });
  const missing = items.length - lines.length;
  frame.note(
    [
      names.length > 1 && "These studies optimise different metrics: look at the shapes, not at the heights.",
      missing && `${missing} without a value yet.`,
    ]
      .filter(Boolean)
      .join(" "),
  );
  return undefined;
}

function lineOf(item, i, { x, log }) {
  const { series, study } = item;
  const xs = x.of(series);
  const points = series.value
    .map((y, k) => [xs[k], y, series.trial[k], series.resource[k]])
    .filter(([at, y]) => at !== null && y !== null && (!log || at > 0));
  const now = x.now(item);
  if (points.length && now !== null && now > points.at(-1)[0]) points.push([now, ...points.at(-1).slice(1)]);
  return {
    i,
    name: study.name,
    metric: study.metric,
    x: points.map((p) => p[0]),
    y: points.map((p) => p[1]),
    trials: points.map((p) => p[2]),
    resources: points.map((p) => p[3]),
  };
}

const short = (name) => (name.length > 40 ? `${name.slice(0, 39)}…` : name);

const trace = (line) => ({
  type: "scatter",
  mode: "lines",
  x: line.x,
  y: line.y,
  name: plain(short(line.name)),
  line: { shape: "hv", width: 2, color: colourOf(line.i), dash: dashOf(line.i) },
  text: line.y.map(
    (y, k) =>
      `<b>${plain(short(line.name))}</b><br>${plain(line.metric)} ${metric(line.metric, y)}<br>trial ${line.trials[k] ?? "–"}, at ${number(line.resources[k])}`,
  ),
  hoverinfo: "text",
});

// The first values of a search are far from its last ones, which are what is compared.
function rangeOf(lines, { zoom }) {
  const all = lines.flatMap((line) => line.y);
  if (!zoom) return { range: robustRange(all).range };
  const late = lines.flatMap((line) => line.y.slice(Math.floor(line.y.length / 3)));
  const low = Math.min(...late),
    high = Math.max(...late);
  const edge = 0.08 * (high - low || Math.abs(high) || 1);
  return { range: [low - edge, high + edge] };
}
