// Learning curves of one trial: training and validation of a metric in one picture, every other metric in its own.

import { h, replace } from "../core/dom.js";
import { isShare, metric as shown, number } from "../core/format.js";
import { axis, clear, plain, plot, robustRange } from "../core/plot.js";
import { colours } from "../core/theme.js";
import { param } from "../core/url.js";
import { emptyState, panel, switcher } from "../core/ui.js";

const MOST = 12;

export function mount(node, page) {
  const logY = param("logy", false);
  const knob = switcher("Log scale", logY.get(), (on) => {
    logY.set(on);
    draw();
  });
  const frame = panel({
    id: "curves",
    title: "Learning curves",
    tools: [knob],
    wide: true,
    help: "Dashed: training, solid: validation. Dotted upright lines: a new attempt went on from there. Values that are not finite are marked at the upper edge.",
  });
  replace(node, frame.node);
  const grid = h("div", { class: "small-multiples" });
  const places = new Map(); // name → node, drawn again in place
  frame.loading();

  function draw() {
    const reports = page.reports();
    if (!reports.length) {
      frame.empty(
        emptyState({
          title: "No report yet",
          text: page.open() ? "The curves begin with the trial's first report." : "The trial ended before it reported anything.",
        }),
      );
      places.clear();
      return;
    }
    if (!grid.isConnected) replace(frame.body, grid);
    const pictures = picturesOf(page, reports);
    for (const [name, place] of places)
      if (!pictures.some((one) => one.name === name)) {
        place.closest("figure").remove();
        clear(place);
        places.delete(name);
      }
    for (const one of pictures) {
      if (!places.has(one.name)) {
        places.set(one.name, h("div", { class: "plot" }));
        grid.append(h("figure", { class: "multiple" }, h("figcaption", null, h("bdi", null, one.name)), places.get(one.name)));
      }
      picture(places.get(one.name), one, reports, page, logY.get()).catch((error) => frame.problem(error));
    }
    const left = namesOf(reports).length - pictures.reduce((n, one) => n + one.lines.length, 0);
    frame.note(left > 0 ? `${left} more metrics are not drawn; they are columns of the trial table.` : "");
  }
  // The context says what belongs together: drawing before it came would draw everything twice.
  const ready = { reports: false, context: false };
  for (const kind of ["reports", "context"])
    page.on(kind, () => {
      ready[kind] = true;
      if (ready.reports && ready.context) draw();
    });
  page.on("problem", () => frame.problem(page.problem));
}

const namesOf = (reports) => [...new Set(reports.flatMap((one) => Object.keys(one.metrics)))];

// Pairs first, the objective's before the others; then what has no partner.
function picturesOf(page, reports) {
  const names = namesOf(reports);
  const pairs = (page.context()?.pairs ?? []).filter((one) => names.includes(one.train) && names.includes(one.validation));
  const used = new Set(pairs.flatMap((one) => [one.train, one.validation]));
  const first = (one) => (one.lines.some((line) => line.metric === page.facts.metricName) ? 0 : 1);
  const made = [
    ...pairs.map(({ name, train, validation }) => ({
      name,
      lines: [
        { metric: train, role: "training" },
        { metric: validation, role: "validation" },
      ],
    })),
    ...names.filter((name) => !used.has(name)).map((name) => ({ name, lines: [{ metric: name, role: "" }] })),
  ];
  return made.sort((a, b) => first(a) - first(b)).slice(0, MOST);
}

async function picture(node, { name, lines }, reports, page, log) {
  const colour = colours();
  const series = lines.map(({ metric, role }) => ({
    metric,
    role,
    x: reports.map((one) => one.resource),
    y: reports.map((one) => one.metrics[metric]),
  }));
  const finite = (y) => (typeof y === "number" && Number.isFinite(y) && (!log || y > 0) ? y : null);
  const every = series.flatMap((one) => one.y.map(finite));
  const { range } = robustRange(every, { log });
  const share = isShare(lines[0].metric);
  const traces = series.map(({ metric, role, x, y }) => ({
    x,
    y: y.map(finite),
    name: role || plain(metric),
    mode: reports.length < 40 ? "lines+markers" : "lines",
    type: "scatter",
    connectgaps: false,
    line: {
      color: role === "training" ? colour.categories[1] : colour.categories[0],
      width: role === "training" ? 1.6 : 2.2,
      dash: role === "training" ? "dash" : "solid",
    },
    marker: { size: 4.5 },
    customdata: y.map((one) => shown(metric, one)),
    hovertemplate: `${plain(metric)} %{customdata}<br>${page.facts.resourceName} %{x}<extra></extra>`,
  }));
  const lost = series.flatMap(({ metric, x, y }) =>
    x.map((at, i) => [at, y[i], metric]).filter(([, one]) => one !== undefined && finite(one) === null),
  );
  if (lost.length)
    traces.push({
      x: lost.map(([at]) => at),
      y: lost.map(() => 1),
      yaxis: "y2",
      mode: "markers",
      type: "scatter",
      name: "not finite",
      marker: { symbol: "x", color: colour.bad, size: 7 },
      cliponaxis: false,
      customdata: lost.map(([, one, metric]) => `${plain(metric)} ${number(one)}`),
      hovertemplate: "%{customdata}<extra></extra>",
    });
  const starts = reports.flatMap((one, i) => (i > 0 && one.fence !== reports[i - 1].fence ? [reports[i - 1].resource] : []));
  await plot(
    node,
    traces,
    {
      height: 240,
      showlegend: series.length > 1 || lost.length > 0,
      meta: { seq: page.trial().fence * 1e6 + reports.length },
      uirevision: `${name}${log}`,
      xaxis: { ...axis(page.facts.resourceName), rangemode: "tozero", ...whole(reports) },
      yaxis: {
        ...axis("", { log, share }),
        ...(range ? { range } : {}),
        ...(share && range && !log ? { tickformat: shareTicks(range[1] - range[0]) } : {}),
      },
      yaxis2: { overlaying: "y", range: [0, 1.02], visible: false, fixedrange: true },
      shapes: starts.map((at) => ({
        type: "line",
        x0: at,
        x1: at,
        yref: "paper",
        y0: 0,
        y1: 1,
        layer: "below",
        line: { color: colour.quiet, width: 1, dash: "dot" },
      })),
    },
    { label: describe(name, series, page), height: 240 },
  );
}

// Few whole steps: no ticks between them.
const whole = (reports) => (reports.every((one) => Number.isInteger(one.resource)) && reports.at(-1).resource <= 8 ? { dtick: 1 } : {});

// As many digits as tell neighbouring ticks apart.
const shareTicks = (width) => (width > 0.06 ? ".0%" : width > 0.006 ? ".1%" : width > 0.0006 ? ".2%" : ".1e");

function describe(name, series, page) {
  const ends = series.map(
    ({ metric, role, y }) => `${role || metric} ended at ${shown(metric, y.filter((one) => one !== undefined).at(-1))}`,
  );
  return `${name} by ${page.facts.resourceName}: ${ends.join(", ")}`;
}
