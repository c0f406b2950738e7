// Several trials side by side: curves of a metric overlaid, parameters and values in a table.
//
// comparedTrials(change) → {node, show(ids): Promise}     ids: "STUDY/NUMBER"; change(ids) is called when a trial is taken out

import { get } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { duration, isShare, metric, money, number, reasonOf, value } from "../core/format.js";
import { axis, plain, plot, robustRange } from "../core/plot.js";
import { badge, panel, problemBox, select, switcher } from "../core/ui.js";
import { param } from "../core/url.js";
import { colourOf, dashOf, swatch } from "./chosen.js";
import { sideBySide } from "./table.js";

export function comparedTrials(change) {
  const chosenMetric = param("metric", ""),
    log = param("log", false),
    onlyDiffering = param("differ", true);
  const legend = h("ul", { class: "compared", "aria-label": "Compared trials" });
  const curves = panel({
    id: "trial-curves",
    title: "Learning curves",
    help: "What each trial reported, at the resource at which it reported it.",
  });
  const table = panel({ id: "trial-values", title: "Side by side", help: "What differs from the first trial is marked." });
  const canvas = h("div", { class: "compare-plot" });
  const wrong = h("div");
  const node = h("div", { class: "stack" }, wrong, legend, curves.node, table.node);
  let trials = [];

  const scale = switcher("Log", log.get(), (on) => log.set(on));
  const differ = switcher("Only what differs", onlyDiffering.get(), (on) => onlyDiffering.set(on));
  replace(table.tools, differ);
  const draw = () => {
    if (trials.length) drawCurves(curves, canvas, trials, { name: current(), log: log.get() });
  };
  const drawTable = () => {
    if (trials.length) replace(table.body, values(trials, onlyDiffering.get()));
  };
  const current = () => (namesOf(trials).includes(chosenMetric.get()) ? chosenMetric.get() : trials[0]?.study.metric);
  chosenMetric.on(draw);
  log.on((on) => {
    scale.set(on);
    draw();
  });
  onlyDiffering.on((on) => {
    differ.set(on);
    drawTable();
  });

  async function show(ids) {
    const found = await Promise.allSettled(ids.map(load));
    const failed = found.filter((one) => one.status === "rejected");
    trials = found.filter((one) => one.status === "fulfilled").map((one, i) => ({ ...one.value, i }));
    replace(
      wrong,
      failed.slice(0, 3).map((one) => problemBox(one.reason)),
    );
    replace(
      legend,
      trials.map((one) => entry(one, () => change(ids.filter((id) => id !== one.id)))),
    );
    replace(
      curves.tools,
      select(
        "Metric",
        namesOf(trials).map((id) => ({ id, label: id })),
        current(),
        (id) => chosenMetric.set(id),
      ),
      scale,
    );
    draw();
    drawTable();
  }

  return { node, show, problem: (error, retry) => replace(wrong, problemBox(error, retry)) };
}

async function load(id) {
  const [study, n] = id.split("/");
  const path = `/studies/${encodeURIComponent(study)}`;
  const [owner, trial, reports] = await Promise.all([
    get(path),
    get(`${path}/trials/${n}`),
    get(`${path}/trials/${n}/reports`).catch(() => ({ items: [] })),
  ]);
  return { id, study: owner, trial, reports: reports.items };
}

function namesOf(trials) {
  const first = trials[0]?.study.metric;
  const all = new Set(trials.flatMap(({ reports, trial }) => [...Object.keys(reports[0]?.metrics || {}), ...Object.keys(trial.values)]));
  return [...all].sort((a, b) => (b === first) - (a === first) || (a < b ? -1 : 1));
}

const nameOf = ({ study, trial }, many) => (many ? `${study.name.slice(0, 30)} · ${trial.number}` : `trial ${trial.number}`);
const severalStudies = (trials) => new Set(trials.map((one) => one.study.id)).size > 1;

function entry(one, remove) {
  const { study, trial } = one;
  return h(
    "li",
    { class: "compared-one card" },
    swatch(one.i),
    h(
      "a",
      { href: `/studies/${encodeURIComponent(study.id)}/trials/${trial.number}`, class: "compared-name clip" },
      `Trial ${trial.number}`,
    ),
    badge(trial.state),
    h("bdi", { class: "quiet small clip compared-of", title: study.name }, study.name),
    h(
      "button",
      { type: "button", class: "icon-button", "aria-label": `Take out trial ${trial.number}`, title: "Take out", on: { click: remove } },
      "✕",
    ),
  );
}

async function drawCurves(frame, canvas, trials, { name, log }) {
  const many = severalStudies(trials);
  const lines = trials
    .map((one) => ({ ...one, points: one.reports.filter(({ metrics }) => typeof metrics[name] === "number") }))
    .filter((one) => one.points.length);
  if (!lines.length) return frame.empty(`No report of ${name || "a metric"} by these trials.`);
  if (canvas.parentNode !== frame.body) replace(frame.body, canvas);
  const all = lines.flatMap((one) => one.points.map(({ metrics }) => metrics[name]));
  const { range, text } = robustRange(all, { log });
  const layout = {
    xaxis: axis("resource"),
    yaxis: { ...axis(name, { log, share: isShare(name) && all.every((y) => y >= 0 && y <= 1) }), range: range || undefined },
  };
  await plot(
    canvas,
    () =>
      lines.map((one) => ({
        type: "scatter",
        mode: one.points.length > 40 ? "lines" : "lines+markers",
        x: one.points.map((p) => p.resource),
        y: one.points.map((p) => p.metrics[name]),
        name: plain(nameOf(one, many)),
        line: { color: colourOf(one.i), dash: dashOf(one.i), width: 2 },
        marker: { size: 5, color: colourOf(one.i) },
        text: one.points.map(
          (p) => `<b>${plain(nameOf(one, many))}</b><br>${plain(name)} ${metric(name, p.metrics[name])}<br>at ${number(p.resource)}`,
        ),
        hoverinfo: "text",
      })),
    layout,
    {
      height: 340,
      label:
        `${name} of ${lines.length} trials: ${lines.map((one) => `${nameOf(one, many)} ends at ${metric(name, one.points.at(-1).metrics[name])}`).join(", ")}`.slice(
          0,
          900,
        ),
    },
  );
  frame.note(text);
  return undefined;
}

function values(trials, onlyDiffering) {
  const many = severalStudies(trials);
  const heads = trials.map((one) =>
    h("span", { class: "named" }, swatch(one.i), h("bdi", { class: "clip", title: one.study.name }, nameOf(one, many))),
  );
  const params = [...new Set(trials.flatMap(({ trial }) => Object.keys(trial.params)))];
  const differing = (name) => new Set(trials.map(({ trial }) => JSON.stringify(trial.params[name] ?? null))).size > 1;
  const shown = onlyDiffering && trials.length > 1 ? params.filter(differing) : params;
  const row = (kind, name, of, format) => ({ kind, name, values: trials.map(of), format, plain: kind !== "Parameters" });
  const rows = [
    ...shown.map((name) => row("Parameters", name, ({ trial }) => trial.params[name])),
    ...namesOf(trials)
      .filter((name) => trials.some(({ trial }) => name in trial.values))
      .map((name) =>
        row(
          "Values",
          name,
          ({ trial }) => trial.values[name],
          (x) => metric(name, x),
        ),
      ),
    row("Course", "state", ({ trial }) => trial.state),
    row("Course", "resource", ({ trial }) => trial.resource, number),
    row("Course", "time", ({ trial }) => trial.seconds, duration),
    row("Course", "cost", ({ trial }) => trial.cost_microdollars, money),
    row("Course", "origin", ({ trial }) => trial.origin),
    row("Course", "reason", ({ trial }) => reasonOf(trial) || null),
  ];
  const same = params.length - shown.length;
  return h(
    "div",
    { class: "stack" },
    sideBySide({
      rows,
      heads,
      label: "Trials side by side",
      test: "trials-side",
      format: (one, { format }) => (format ? format(one) : value(one)),
    }),
    same > 0 && h("p", { class: "quiet small" }, `${same} ${same === 1 ? "parameter is" : "parameters are"} the same in all.`),
  );
}
