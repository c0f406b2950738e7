// The Bayesian view (/surrogate): along one parameter what the model expects and how sure it is, the trials, the acquisition below and what comes next.

import { h, replace } from "../core/dom.js";
import { integer, metric as metricText, number, params as paramsText } from "../core/format.js";
import { plot, robustRange } from "../core/plot.js";
import { colours } from "../core/theme.js";
import { button, emptyState } from "../core/ui.js";
import { param } from "../core/url.js";
import { axisOf, chooser, gentleRange, levelText, matching, outsideNote, placed, safe, stage, valueAxis, wordOf } from "./common.js";

export const info = {
  id: "surrogate",
  title: "What the sampler believes",
  help:
    "Bayesian optimisation fits a model to the trials so far and asks where a further trial is worth most: where the model expects a good value, or where it does not know. " +
    "The upper part is the model along one parameter, the others held at the best trial's values; the lower part is the worth of trying each place.",
};

const chosen = param("su", "");
const DEEP = 40;

export function mount(panel, page) {
  const sentence = h("p", { class: "surrogate-read" });
  const figure = h("div", null);
  const view = stage(panel, sentence, figure);
  let data = null,
    matches = null;
  const choice = chooser({ label: "Along", options: [], get: () => data?.parameter ?? chosen.get(), set: (name) => chosen.set(name) });
  replace(panel.tools, choice.node);
  choice.node.hidden = true;
  chosen.on(() => page.refresh(panel));

  async function refresh() {
    data = await page.get("/surrogate", { filter: null, parameter: chosen.get() });
    choice.node.hidden = !data.parameters?.length;
    choice.fill(data.parameters ?? []);
    if (!data.available) return panel.empty(teach(page, data, () => chosen.set("")));
    matches = await matching(page, data.observed.number);
    view.show();
    await render();
    return undefined;
  }

  async function render() {
    const field = { name: data.parameter, ...data.axis, labels: data.axis.labels ?? [] };
    const isTpe = data.surrogate === "tpe";
    replace(sentence, readIt(data, page, isTpe));
    const { axis: xaxis } = axisOf(field, data.x);
    if (field.type !== "category") xaxis.range = spanOf(data.x, field.log);
    const upper = isTpe ? densities(field, data, matches) : model(field, data, page, matches);
    const all = isTpe ? [] : [...data.mean, ...data.observed.value, ...data.low, ...data.high];
    const y = isTpe ? {} : field.type === "category" ? gentleRange(all, 40) : robustRange(all);
    const marked = marks(data, page);
    await plot(
      figure,
      [...upper, ...acquisition(field, data)],
      {
        xaxis: {
          ...xaxis,
          title: { text: safe(field.name) },
          anchor: "y2",
          showspikes: true,
          spikemode: "across",
          spikethickness: 1,
          spikecolor: colours().quiet,
          spikedash: "dot",
        },
        yaxis: {
          ...(isTpe ? { title: { text: "density" }, zeroline: false } : valueAxis(page.metricName, data.observed.value)),
          domain: [0.37, 1],
          ...(y.range ? { range: y.range } : {}),
          ...(isTpe ? { rangemode: "tozero" } : {}),
        },
        yaxis2: { domain: [0, 0.27], title: { text: safe(data.acquisition_name, 28) }, ...reach(data), zeroline: false, nticks: 4 },
        ...marked,
        showlegend: true,
        hovermode: "closest",
        meta: { seq: data.seq },
        uirevision: data.parameter,
      },
      { height: 520, label: inWords(data, page), onClick: (n) => Number.isInteger(n) && page.selection.toggleNumber(n) },
    );
    const level = data.resource !== null && data.resource !== undefined ? levelText(page.resourceName, data.resource) : "";
    panel.note(
      [
        `learned from ${integer(data.observations_used)} of ${integer(data.of)} trials`,
        isCurves(data) ? `points are their newest values, most of them from before ${level}; the line goes no further down than a little below the median, where the model tells no difference` : level && `at ${level}`,
        data.trial !== null && data.trial !== undefined ? `as it stood when trial ${data.trial} was ${isCurves(data) ? "next" : "proposed"}` : "",
        outsideNote(y.outside, "the axis"),
        leftOut(data),
      ]
        .filter(Boolean)
        .join("; "),
    );
  }
  view.onTheme(() => data?.available && render());
  return { refresh };
}

// A model of learning curves draws what it expects at the end of training; most trials never come there.
const isCurves = ({ surrogate }) => surrogate === "curves";
const leftOut = ({ left_out: out }) => Object.values(out ?? {}).join("; ");

function spanOf(x, log) {
  const values = log ? x.filter((one) => one > 0).map(Math.log10) : x;
  const [lo, hi] = [Math.min(...values), Math.max(...values)];
  return [lo - 0.02 * (hi - lo), hi + 0.02 * (hi - lo)];
}

function model(field, { x, mean, low, high, observed, incumbent }, page, matches) {
  const colour = colours();
  const cells = field.type === "category";
  const about = { xaxis: "x", yaxis: "y" };
  const line = cells
    ? [
        {
          ...about,
          type: "scatter",
          mode: "markers",
          name: "expected, with 95 % band",
          x,
          y: mean,
          marker: { color: colour.accent, size: 11, symbol: "line-ew-open", line: { width: 3, color: colour.accent } },
          error_y: {
            type: "data",
            symmetric: false,
            array: high.map((one, i) => one - mean[i]),
            arrayminus: low.map((one, i) => mean[i] - one),
            color: colour.accent,
            thickness: 2,
            width: 8,
          },
          hovertemplate: "expected %{y:.4g}<extra></extra>",
        },
      ]
    : [
        {
          ...about,
          type: "scatter",
          mode: "lines",
          x,
          y: low,
          line: { width: 0, color: colour.accent },
          showlegend: false,
          hoverinfo: "skip",
        },
        {
          ...about,
          type: "scatter",
          mode: "lines",
          name: "95 % band",
          x,
          y: high,
          fill: "tonexty",
          fillcolor: `${colour.accent}2e`,
          line: { width: 0, color: colour.accent },
          hoverinfo: "skip",
        },
        {
          ...about,
          type: "scatter",
          mode: "lines",
          name: "expected",
          x,
          y: mean,
          line: { color: colour.accent, width: 2.5 },
          hovertemplate: `${safe(field.name)} %{x:.4g}<br>expected %{y:.4g}<extra></extra>`,
        },
      ];
  return [...line, trials(field, observed, page, matches), ...best(field, incumbent, page)];
}

const faded = (numbers, matches, full) => numbers.map((n) => (matches && !matches.has(n) ? 0.12 : full));

function trials(field, observed, page, matches) {
  const colour = colours();
  return {
    type: "scatter",
    mode: "markers",
    name: "trials",
    xaxis: "x",
    yaxis: "y",
    x: placed(field, observed.x, observed.number),
    y: observed.value,
    customdata: observed.number,
    marker: { color: colour.ink, size: 6, opacity: faded(observed.number, matches, 0.6), line: { color: colour.panel, width: 1 } },
    text: observed.number.map(
      (n, i) =>
        `Trial ${n}<br>${safe(field.name)} ${safe(wordOf(field, observed.x[i]))}<br>${safe(page.metricName)} ${metricText(page.metricName, observed.value[i])}`,
    ),
    hovertemplate: "%{text}<extra></extra>",
  };
}

function best(field, incumbent, page) {
  if (!incumbent) return [];
  const colour = colours();
  const { x } = incumbent;
  if (x === undefined || x === null) return [];
  return [
    {
      type: "scatter",
      mode: "markers",
      name: `best so far (trial ${incumbent.trial})`,
      xaxis: "x",
      yaxis: "y",
      x: [x],
      y: [incumbent.value],
      customdata: [incumbent.trial],
      marker: { symbol: "star", size: 17, color: colour.categories[4], line: { color: colour.panel, width: 1 } },
      hovertemplate: `best so far: trial ${incumbent.trial}<br>${safe(page.metricName)} ${metricText(page.metricName, incumbent.value)}<extra></extra>`,
    },
  ];
}

function densities(field, { x, good, bad, observed }, matches) {
  const colour = colours();
  const curve = (name, y, tint, dash) =>
    field.type === "category"
      ? { type: "bar", name, x, y, marker: { color: tint, opacity: 0.8 }, hovertemplate: `${name}: %{y:.3g}<extra></extra>` }
      : {
          type: "scatter",
          mode: "lines",
          name,
          x,
          y,
          line: { color: tint, width: 2.5, dash },
          fill: "tozeroy",
          fillcolor: `${tint}1f`,
          hovertemplate: `${name}: %{y:.3g}<extra></extra>`,
        };
  const rug = {
    type: "scatter",
    mode: "markers",
    name: "trials",
    x: placed(field, observed.x, observed.number),
    y: observed.x.map(() => 0),
    customdata: observed.number,
    marker: { symbol: "line-ns-open", size: 9, color: colour.ink, opacity: faded(observed.number, matches, 0.55) },
    hovertemplate: "Trial %{customdata}<extra></extra>",
  };
  return [
    curve("good trials l(x)", good, colour.categories[0], "solid"),
    curve("the others g(x)", bad, colour.categories[1], "dash"),
    rug,
  ].map((one) => ({ ...one, xaxis: "x", yaxis: "y" }));
}

function acquisition(field, { x, acquisition: worth, acquisition_name: name }) {
  const colour = colours();
  const shared = {
    name: safe(name),
    x,
    y: worth,
    xaxis: "x",
    yaxis: "y2",
    hovertemplate: `${safe(name)} %{y:.4g}<extra></extra>`,
    showlegend: false,
  };
  const floor = Math.min(...worth.filter(Number.isFinite));
  if (field.type === "category")
    return [
      {
        ...shared,
        type: "bar",
        width: 0.5,
        marker: { color: colour.categories[2], opacity: 0.75 },
        base: floor < 0 ? floor : 0,
        y: worth.map((one) => one - Math.min(0, floor)),
      },
    ];
  return [
    {
      ...shared,
      type: "scatter",
      mode: "lines",
      y: worth.map(() => floor),
      line: { width: 0, color: colour.categories[2] },
      hoverinfo: "skip",
    },
    {
      ...shared,
      type: "scatter",
      mode: "lines",
      line: { color: colour.categories[2], width: 2 },
      fill: "tonexty",
      fillcolor: `${colour.categories[2]}2e`,
    },
  ];
}

// A logarithm falls without end where nothing is hoped for; what matters is its top.
function reach({ acquisition: worth, acquisition_name: name }) {
  const [lo, hi] = [Math.min(...worth.filter(Number.isFinite)), Math.max(...worth.filter(Number.isFinite))];
  return name.startsWith("log") && hi - lo > DEEP ? { range: [hi - DEEP, hi + 0.06 * DEEP] } : {};
}

// What comes next stands as a line through both parts.
function marks({ next, axis: { log } }) {
  const colour = colours();
  const shown = (next ?? []).filter((one) => one.x !== null && one.x !== undefined).slice(0, 4);
  return {
    shapes: shown.map(({ x }) => ({
      type: "line",
      xref: "x",
      yref: "paper",
      x0: x,
      x1: x,
      y0: 0,
      y1: 1,
      line: { color: colour.bad, width: 1.75, dash: "dash" },
    })),
    annotations: shown
      .slice(0, 1)
      .map(({ x, trial }) => ({
        xref: "x",
        yref: "paper",
        x: log ? Math.log10(x) : x,
        y: 0.32,
        yanchor: "middle",
        showarrow: false,
        text: `${trial === null || trial === undefined ? "next" : `next: trial ${trial}`}`,
        font: { color: colour.bad, size: 12 },
        bgcolor: colour.panel,
      })),
  };
}

function readIt(data, page, isTpe) {
  const held = data.incumbent ? `the others as in trial ${data.incumbent.trial}` : "the others at the best trial's values";
  const good = page.maximize ? "high" : "low";
  const then = data.next?.length ? `, and the dashed line is the ${data.parameter} that it tries next, with others of its choice` : "";
  const end = isCurves(data) ? ` after ${levelText(page.resourceName, data.resource)}` : "";
  return isTpe
    ? `The sampler asks where along ${data.parameter} the good trials are dense and the others rare: the ratio below is highest there${then}.`
    : `The line is the ${page.metricName} that the model expects${end} along ${data.parameter} with ${held}, the band where it deems 95 % likely; below stands what a trial there would be worth (great where the line is ${good} or the band wide)${then}.`;
}

function inWords(data, page) {
  const next = data.next?.[0];
  return (
    `${data.surrogate === "tpe" ? "Densities of good and other trials" : `Expected ${page.metricName} with a 95 % band`} along ${data.parameter}, ${data.acquisition_name} below. ` +
    (data.incumbent ? `Best so far: trial ${data.incumbent.trial}, ${metricText(page.metricName, data.incumbent.value)}. ` : "") +
    (next ? `Next: ${next.params ? paramsText(next.params) : number(next.x)}.` : "")
  );
}

function teach(page, data, first) {
  if (data.parameter && data.parameters?.length)
    return emptyState({
      title: `${data.parameter} cannot be drawn`,
      text: data.note,
      actions: [button(`Show ${data.parameters[0]}`, first)],
    });
  const text = data.note || "";
  return page.hasModel
    ? emptyState({
        title: "The model has too little to learn from yet",
        text: text || "The first trials are random; the figure appears with the first proposal that a model made.",
      })
    : emptyState({
        title: "This study's sampler has no model",
        text: text || "Choose the algorithm bayesian or bohb, or the sampler tpe or gp, to see here how the search reasons.",
      });
}
