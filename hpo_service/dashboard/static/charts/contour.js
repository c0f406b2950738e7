// Two chosen parameters: the value (or its place among all) interpolated between the trials, and the trials themselves. Points from /sample.
// The surface is drawn from the nearest trials, a rough guide for the eye; the surrogate's own view is surrogate.js.

import { h, replace } from "../core/dom.js";
import { integer, metric as metricText } from "../core/format.js";
import { plot, robustRange } from "../core/plot.js";
import { colours } from "../core/theme.js";
import { emptyState, segmented } from "../core/ui.js";
import { param } from "../core/url.js";
import { axisOf, axisPair, brushed, noteOf, outsideNote, placed, safe, stage, valueAxis, wordOf } from "./common.js";

export const info = {
  id: "contour",
  title: "Two parameters",
  help:
    "Where in the plane of two parameters the good trials lie. The surface between the points is the average of the eight nearest trials, nearer ones counting more; it says nothing where no trial is near, " +
    "and is left blank there. “Place” uses the order of the trials instead of their values, so that a few terrible ones cannot hide the rest.",
};

const LIMIT = 1000,
  CELLS = 44,
  NEAREST = 8,
  REACH = 0.14;
const xName = param("co.x", "");
const yName = param("co.y", "");
const mode = param("co.by", "value");

export function mount(panel, page) {
  const figure = h("div", null);
  const view = stage(panel, figure);
  const again = () => page.refresh(panel);
  const names = page.parameters.filter((one) => !one.constant).map((one) => one.name);
  let guess = names.slice(0, 2),
    guessed = false,
    data = null;
  const { x, y, choosers } = axisPair({ names, x: xName, y: yName, first: () => guess });
  const modes = segmented(
    [
      { id: "value", label: "value" },
      { id: "rank", label: "place", title: "Colour by the place among the trials: no outlier can ruin it" },
    ],
    mode.get(),
    (id) => mode.set(id),
    { label: "Colour" },
  );
  replace(
    panel.tools,
    choosers.map((one) => one.node),
    modes,
  );
  xName.on(again);
  yName.on(again);
  mode.on((id) => {
    modes.show(id);
    if (data) render();
  });

  // The two parameters that matter most are the ones to look at first.
  async function guessAxes() {
    if (guessed || (names.includes(xName.get()) && names.includes(yName.get()))) return;
    guessed = true;
    const found = await page.get("/importance", { method: "ped_anova", filter: null }).catch(() => ({ parameters: [] }));
    const first = found.parameters.map((one) => one.name).filter((one) => names.includes(one));
    guess = [...new Set([...first, ...names])].slice(0, 2);
  }

  async function refresh() {
    if (names.length < 2) return panel.empty("This needs two parameters that vary; the space has fewer.");
    await guessAxes();
    for (const one of choosers) one.fill(names);
    const axes = [x(), y()]; // what is drawn is what was asked for, whatever is chosen meanwhile
    data = { ...(await page.get("/sample", { fields: ["value", ...axes].join(","), limit: LIMIT })), axes };
    if (rows().length < 3)
      return panel.empty(
        emptyState({ title: "Not enough trials yet", text: `The plane of ${x()} and ${y()} shows once three trials have a value.` }),
      );
    view.show();
    await render();
    return undefined;
  }

  const field = (name) => data.fields.find((one) => one.name === name || one.name === `param.${name}`);
  const column = (name) => data.columns[field(name).name];
  const rows = () => {
    const [u, v] = data.axes.map(column);
    return data.number.map((_, i) => i).filter((i) => data.columns.value[i] !== null && u[i] !== null && v[i] !== null);
  };

  async function render() {
    const [nameX, nameY] = data.axes;
    const [fx, fy] = [field(nameX), field(nameY)];
    const points = rows().map((i) => ({
      number: data.number[i],
      u: column(nameX)[i],
      v: column(nameY)[i],
      value: data.columns.value[i],
      on: Boolean(data.matches[i]),
    }));
    const shade = shades(points, { rank: mode.get() === "rank", maximize: page.maximize });
    const ax = axisOf(
        fx,
        points.map((one) => one.u),
      ),
      ay = axisOf(
        fy,
        points.map((one) => one.v),
      );
    const surface = surfaceOf(points, shade.of, { fx, fy, ax: ax.axis, ay: ay.axis });
    const traces = [...surfaceTrace(surface, shade, { fx, fy, page }), ...pointTraces(points, shade, { fx, fy, page })];
    await plot(
      figure,
      traces,
      {
        xaxis: { ...ax.axis, title: { text: safe(fx.name, 32) }, showgrid: false },
        yaxis: { ...ay.axis, title: { text: safe(fy.name, 32) }, showgrid: false },
        meta: { seq: data.seq },
        uirevision: `${nameX}/${nameY}`,
      },
      {
        height: 470,
        label: `${page.metricName} over ${nameX} and ${nameY}: ${points.length} trials`,
        onClick: (n) => Number.isInteger(n) && page.selection.toggleNumber(n),
        onSelect: (box) =>
          box &&
          brushed(page.selection, [
            [fx, box.x],
            [fy, box.y],
          ]),
      },
    );
    panel.note(
      noteOf(data, {
        more: [
          points.length < data.shown ? `${integer(points.length)} of them have a value and both parameters` : "",
          "bright is good; surface: mean of the 8 nearest trials, blank where none is near",
          outsideNote(ax.outside + ay.outside, "the axes"),
          shade.outside ? `${shade.outside} beyond the colours` : "",
        ],
      }),
    );
  }

  view.onTheme(() => data && render());
  return { refresh };
}

// Bright is always good; values far from the others take the colour of the scale's end.
function shades(points, { rank, maximize }) {
  if (rank) {
    const order = [...points].sort((a, b) => (maximize ? b.value - a.value : a.value - b.value));
    const place = new Map(order.map((one, i) => [one.number, i + 1]));
    return {
      of: (one) => place.get(one.number),
      low: 1,
      high: points.length,
      reverse: false,
      title: "place",
      outside: 0,
      text: (v) => `place ${Math.round(v)}`,
    };
  }
  const { low, high, outside } = robustRange(points.map((one) => one.value));
  const [lo, hi] = low === null ? [Math.min(...points.map((one) => one.value)), Math.max(...points.map((one) => one.value))] : [low, high];
  return { of: (one) => Math.min(hi, Math.max(lo, one.value)), low: lo, high: hi, reverse: maximize, outside, text: null };
}

const scaleOf = (field) => (field.type !== "category" && field.log ? Math.log10 : (one) => one);

// A grid over the axes' ranges; per cell the mean of the nearest trials weighted by distance, null where none is near. Categories touch only their own.
function surfaceOf(points, shade, { fx, fy, ax, ay }) {
  const across = lineOf(
      fx,
      ax,
      points.map((one) => one.u),
    ),
    up = lineOf(
      fy,
      ay,
      points.map((one) => one.v),
    );
  const known = points.map((one) => ({ a: across.unit(one.u), b: up.unit(one.v), s: shade(one) }));
  const reach = Math.max(REACH, 1.6 / Math.sqrt(points.length));
  const z = up.units.map((b) =>
    across.units.map((a) => {
      const near = known
        .map((one) => ({ s: one.s, d: (one.a - a) ** 2 + (one.b - b) ** 2 }))
        .sort((p, q) => p.d - q.d)
        .slice(0, NEAREST);
      if (!near.length || near[0].d > reach * reach) return null;
      let sum = 0,
        weights = 0;
      for (const { s, d } of near) {
        const w = 1 / (d + 0.0025);
        sum += w * s;
        weights += w;
      }
      return sum / weights;
    }),
  );
  return { x: across.values, y: up.values, z, cells: fx.type === "category" || fy.type === "category" };
}

function lineOf(field, axis, values) {
  if (field.type === "category") {
    const n = field.labels.length;
    return {
      units: Array.from({ length: n }, (_, i) => 4 * i),
      values: Array.from({ length: n }, (_, i) => i),
      unit: (one) => 4 * Math.round(one),
    };
  }
  const f = scaleOf(field),
    found = values.map(f);
  const [lo, hi] = axis.range ?? [Math.min(...found), Math.max(...found)];
  const spots = Array.from({ length: CELLS }, (_, i) => lo + (i / (CELLS - 1)) * (hi - lo));
  return {
    units: spots.map((one) => (one - lo) / (hi - lo || 1)),
    values: spots.map((one) => (field.log ? 10 ** one : one)),
    unit: (one) => (f(one) - lo) / (hi - lo || 1),
  };
}

function surfaceTrace({ x, y, z, cells }, shade, { fx, fy, page }) {
  const shared = {
    x,
    y,
    z,
    zmin: shade.low,
    zmax: shade.high,
    reversescale: !shade.reverse,
    hoverinfo: "skip",
    opacity: 0.85,
    connectgaps: false,
    colorbar: {
      title: { text: safe(shade.title ?? page.metricName, 18), side: "right", font: { size: 11 } },
      tickformat: shade.text ? "d" : (valueAxis(page.metricName, [shade.low, shade.high]).tickformat ?? ""),
    },
  };
  if (cells) return [{ ...shared, type: "heatmap", xgap: fx.type === "category" ? 3 : 0, ygap: fy.type === "category" ? 3 : 0 }];
  return [
    {
      ...shared,
      type: "contour",
      ncontours: 12,
      contours: { coloring: "fill", showlines: true },
      line: { width: 0.5, color: "rgba(255,255,255,.5)" },
    },
  ];
}

function pointTraces(points, shade, { fx, fy, page }) {
  const colour = colours();
  const u = placed(
      fx,
      points.map((one) => one.u),
      points.map((one) => one.number),
    ),
    v = placed(
      fy,
      points.map((one) => one.v),
      points.map((one) => one.number),
    );
  const words = (one) =>
    `Trial ${one.number}<br>${safe(fx.name)} ${safe(wordOf(fx, one.u))}<br>${safe(fy.name)} ${safe(wordOf(fy, one.v))}<br>${safe(page.metricName)} ${metricText(page.metricName, one.value)}`;
  const trace = (keep, marker, more) => {
    const some = points.map((_, i) => i).filter((i) => keep(points[i]));
    return {
      type: "scatter",
      mode: "markers",
      x: some.map((i) => u[i]),
      y: some.map((i) => v[i]),
      customdata: some.map((i) => points[i].number),
      marker: { ...marker, ...(marker.color ? {} : { color: some.map((i) => shade.of(points[i])) }) },
      text: some.map((i) => words(points[i])),
      ...more,
    };
  };
  const best = points.reduce((a, b) => ((page.maximize ? b.value > a.value : b.value < a.value) ? b : a));
  return [
    trace((one) => !one.on, { color: colour.quiet, size: 5, opacity: 0.3 }, { hoverinfo: "skip" }),
    trace(
      (one) => one.on,
      {
        size: 6.5,
        cmin: shade.low,
        cmax: shade.high,
        colorscale: colour.scale,
        reversescale: !shade.reverse,
        showscale: false,
        line: { color: colour.panel, width: 1 },
      },
      { hovertemplate: "%{text}<extra></extra>" },
    ),
    trace(
      (one) => one === best,
      { color: "rgba(0,0,0,0)", size: 15, symbol: "circle", line: { color: colour.ink, width: 2 } },
      { hovertemplate: "best of those shown<br>%{text}<extra></extra>" },
    ),
  ];
}
