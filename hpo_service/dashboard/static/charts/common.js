// What several charts share: fates and their shapes, a stage inside the panel, choosers, notes, who matches the filter, places on an axis. No requests but `matching`.
//
// FATES                          {promoted: {word, colour(), shape, symbol}, …}: what became of a trial at a rung, or its state (Plotly's colours: mark_colours.js)
// markNode(fate, r)              the mark as a node of SVG, around 0,0
// stage(panel, ...nodes)         show() puts the nodes into the panel's body again after it was empty or showed a problem; onTheme(draw) while they are there
// onWidth(node, draw)            calls draw when the node became much wider or narrower
// chooser({label, options, get, set}) → {node, fill(options)}    a labelled <select> over one param of the URL
// axisPair({names, x, y, first}) → {x(), y(), choosers}   two choosers for the two axes of a plane, which never name the same; first() → names to begin with
// matching(page, numbers)        Promise of the Set of those numbers that match the filter, null without a filter
// noteOf(answer, {noun, more})   "showing 2,000 of 100,000 trials: every 50th; 312 match the filter"
// levelText(resource, n)         "3 epochs", "1 epoch", "resource 3", "width 32"
// placed(field, values, numbers) where a sample's column lies on its axis: categories beside their line
// axisOf(field, values)          the Plotly axis of a sample's field: log where the parameter is, labels where it has some, robust
// valueAxis(name, values, {log}) the axis of a metric · gentleRange(values, times) a range that leaves out only what is absurdly far · sequence() its tints · scaleLegend(low, high)
// dots({x, y, numbers, colour, template, size, opacity})   a trace of many marks that draws fast; hoverPart(name, axis, {share, tiny}) → part of its template
// brushed(selection, [[field, [lo, hi]], …])    a box drawn in a chart becomes terms of the filter
// safe(text, most)               text that Plotly must not read as markup, cut to `most` characters

import { h, later, replace, svg } from "../core/dom.js";
import { integer, isShare, number } from "../core/format.js";
import { axis, plain, robustRange } from "../core/plot.js";
import { quoted } from "../core/selection.js";
import { colours, mode, onTheme } from "../core/theme.js";

// As attributes of SVG these follow the theme by themselves.
const like = (state) => () => `var(--mark-${state})`;
export const FATES = {
  promoted: { word: "promoted", colour: like("finished"), shape: "onward", symbol: "triangle-right" },
  finished: { word: "finished", colour: like("finished"), shape: "disc", symbol: "circle" },
  running: { word: "running", colour: like("running"), shape: "ring", symbol: "circle-open" },
  paused: { word: "paused", colour: like("paused"), shape: "bars", symbol: "square-open" },
  waiting: { word: "waiting", colour: like("waiting"), shape: "diamond", symbol: "diamond-open" },
  stopped: { word: "stopped", colour: like("stopped"), shape: "square", symbol: "square" },
  failed: { word: "failed", colour: like("failed"), shape: "cross", symbol: "x" },
};
export const fateOf = (name) => FATES[name] ?? FATES.waiting;

const SHAPES = {
  onward: (r) => `M${-r * 0.8},${-r * 1.05}L${r * 1.1},0L${-r * 0.8},${r * 1.05}Z`,
  disc: (r) => `M${-r},0A${r},${r} 0 1 0 ${r},0A${r},${r} 0 1 0 ${-r},0Z`,
  ring: (r) => `M${-r},0A${r},${r} 0 1 0 ${r},0A${r},${r} 0 1 0 ${-r},0Z`,
  diamond: (r) => `M0,${-r * 1.15}L${r * 1.15},0L0,${r * 1.15}L${-r * 1.15},0Z`,
  square: (r) => `M${-r * 0.8},${-r * 0.8}H${r * 0.8}V${r * 0.8}H${-r * 0.8}Z`,
  bars: (r) => `M${-r * 0.5},${-r * 0.9}V${r * 0.9}M${r * 0.5},${-r * 0.9}V${r * 0.9}`,
  cross: (r) => `M${-r * 0.8},${-r * 0.8}L${r * 0.8},${r * 0.8}M${-r * 0.8},${r * 0.8}L${r * 0.8},${-r * 0.8}`,
};
const markPath = (shape, r) => (SHAPES[shape] ?? SHAPES.disc)(r);
const MOST_TEXT = 4000;
const HOLLOW = new Set(["ring", "diamond", "bars", "cross"]);

export function markNode(name, r, more = {}) {
  const { shape, colour } = fateOf(name);
  const hollow = HOLLOW.has(shape);
  return svg("path", {
    d: markPath(shape, r),
    fill: hollow ? "none" : colour(),
    stroke: colour(),
    "stroke-width": hollow ? 2 : 1,
    ...more,
  });
}

export function legendOf(names) {
  return h(
    "ul",
    { class: "chart-legend", "aria-label": "What the marks mean" },
    names.map((name) =>
      h(
        "li",
        null,
        svg("svg", { viewBox: "-7 -7 14 14", width: 14, height: 14, "aria-hidden": "true" }, markNode(name, 5)),
        fateOf(name).word,
      ),
    ),
  );
}

export function stage(panel, ...nodes) {
  const node = h("div", { class: "chart-stage" }, nodes);
  return {
    node,
    show() {
      panel.ready();
      if (node.parentNode !== panel.body) replace(panel.body, node);
    },
    onTheme: (draw) =>
      onTheme(() => {
        if (node.isConnected) draw();
      }),
  };
}

// Small multiples stand in as many columns as there is room for: draw again when that changed.
export function onWidth(node, draw) {
  let width = 0;
  const settle = later(150, draw);
  new ResizeObserver(([{ contentRect }]) => {
    if (width && contentRect.width && Math.abs(contentRect.width - width) > 40) settle();
    width = contentRect.width || width;
  }).observe(node);
}

export function chooser({ label, options = [], get, set }) {
  const select = h("select", { on: { change: () => set(select.value) } });
  const fill = (given) => {
    const all = given.map((one) => (typeof one === "string" ? { id: one, label: one } : one));
    replace(
      select,
      all.map(({ id, label: text }) => h("option", { value: id }, text)),
    );
    select.value = all.some((one) => one.id === get()) ? get() : (all[0]?.id ?? "");
    select.disabled = all.length < 2;
  };
  fill(options);
  return { node: h("label", { class: "select" }, h("span", null, label), select), fill };
}

export function axisPair({ names, x: across, y: up, first = () => names }) {
  const x = () => (names.includes(across.get()) ? across.get() : first()[0]);
  const other = (one) => one !== x();
  const y = () => (names.includes(up.get()) && other(up.get()) ? up.get() : (first().find(other) ?? names.find(other)));
  const choosers = [
    chooser({
      label: "Across",
      options: names,
      get: x,
      set: (name) => {
        if (name === y()) up.set(x());
        across.set(name);
      },
    }),
    chooser({
      label: "Up",
      options: names,
      get: y,
      set: (name) => {
        if (name === x()) across.set(y());
        up.set(name);
      },
    }),
  ];
  return { x, y, choosers };
}

// Views without a filter of their own: which of the shown trials match? The sample prefers those that do, so as many as are asked about is enough.
export async function matching(page, numbers) {
  if (!page.filter) return null;
  const room = Math.max(500, MOST_TEXT - page.filter.length); // a filter has at most 4,096 characters
  const parts = [[]];
  let used = 0;
  for (const one of new Set(numbers)) {
    used += String(one).length + 1;
    if (used > room) {
      parts.push([]);
      used = String(one).length + 1;
    }
    parts.at(-1).push(one);
  }
  const answers = await Promise.all(
    parts
      .filter((one) => one.length)
      .map((some) =>
        page.get("/sample", { fields: "number", filter: `${page.filter} number:${some.join(",")}`, limit: Math.max(1, some.length) }),
      ),
  );
  return new Set(answers.flatMap(({ number: found, matches }) => found.filter((_, i) => matches[i])));
}

export function noteOf(answer, { noun = "trials", more = [] } = {}) {
  const { shown, of, chosen, matching: match } = answer;
  const parts = [
    shown < of
      ? `showing ${integer(shown)} of ${integer(of)} ${noun}${chosen ? `: ${chosen}` : ""}`
      : of === 1
        ? "the only trial"
        : `all ${integer(of)} ${noun}`,
  ];
  if (Number.isInteger(match) && match < of) parts.push(`${integer(match)} match the filter`);
  return [...parts, ...more].filter(Boolean).join("; ");
}

// "3 epochs", "1 epoch", "resource 3"
export const levelText = (resource, n) =>
  resource === "epochs" ? `${number(n)} ${n === 1 ? "epoch" : "epochs"}` : `${resource} ${number(n)}`;

export const outsideNote = (count, what) => (count ? `${integer(count)} beyond ${what}` : "");

function jitter(number_, width) {
  let x = Math.imul(number_ + 1, 2654435761) >>> 0;
  x = Math.imul(x ^ (x >>> 15), 2246822519) >>> 0;
  return (((x ^ (x >>> 13)) >>> 0) / 4294967296 - 0.5) * width;
}

export function placed(field, values, numbers) {
  if (field.type !== "category") return values;
  return values.map((one, i) => (one === null ? null : one + jitter(numbers[i], 0.55)));
}

export function axisOf(field, values, { most = 12 } = {}) {
  if (field.type === "category") {
    const labels = field.labels.map((one) => safe(one, most));
    return {
      axis: { tickvals: labels.map((_, i) => i), ticktext: labels, range: [-0.6, labels.length - 0.4], showgrid: false, zeroline: false },
      outside: 0,
    };
  }
  const { range, outside } = robustRange(values, { log: field.log });
  const few = [...new Set(values)].filter((one) => one !== null && (!field.log || one > 0)).sort((a, b) => a - b);
  const named = few.length <= 6 ? apart(few, field.log) : field.log && range && range[1] - range[0] < 1.8 ? steps(range) : null;
  return {
    axis: {
      type: field.log ? "log" : "linear",
      ...(range ? { range } : {}),
      ...(named ? { tickvals: named, ticktext: named.map((one) => number(Number(one.toPrecision(3)))) } : {}),
      tickangle: 0,
      zeroline: false,
    },
    outside,
  };
}

// Those of few values that have room for their figures.
function apart(values, log) {
  const at = (v) => (log ? Math.log10(v) : v),
    room = 0.24 * (at(values.at(-1)) - at(values[0]));
  return values.reduce((kept, v) => (kept.length && at(v) - at(kept.at(-1)) < room ? kept : [...kept, v]), []);
}

// 1, 2, 5, 10, … written out: on a log axis of one or two decades.
function steps([lo, hi]) {
  const found = [];
  for (let e = Math.floor(lo); e <= hi; e += 1)
    for (const m of hi - lo < 0.8 ? [1, 2, 3, 5, 7] : [1, 3]) found.push(Number((m * 10 ** e).toPrecision(3)));
  return found.filter((one) => Math.log10(one) >= lo && Math.log10(one) <= hi);
}

// The axis of a metric: shares of accuracy-like ones in per cent.
export function valueAxis(name, values, { log = false, title = safe(name, 28) } = {}) {
  const share = !log && isShare(name) && values.every((one) => one === null || (one >= 0 && one <= 1));
  return { ...axis("", { log, share }), title: { text: title }, zeroline: false, nticks: 6 };
}

// All of few values, however far they lie apart, unless one lies absurdly far.
export function gentleRange(values, times = 10) {
  const usable = values.filter(Number.isFinite),
    robust = robustRange(usable);
  if (!robust.range) return robust;
  const [lo, hi] = [Math.min(...usable), Math.max(...usable)],
    span = robust.range[1] - robust.range[0];
  if (hi - lo > times * span) return robust;
  return { ...robust, range: [lo - 0.06 * (hi - lo || 1), hi + 0.06 * (hi - lo || 1)], outside: 0 };
}

// Many marks of one colour as one path (a point is a line of no length with round ends; css/charts.css): a thousand nodes would take the browser a second.
export function dots({ x, y, numbers, colour, template = null, size = 5, opacity = 1, ...more }) {
  const thrice = (list) => list.flatMap((one) => [one, one, null]);
  return {
    type: "scatter",
    mode: "lines",
    x: thrice(x),
    y: thrice(y),
    customdata: thrice(numbers),
    line: {
      color: `${colour}${Math.round(255 * opacity)
        .toString(16)
        .padStart(2, "0")}`,
      width: size,
      simplify: false,
    },
    connectgaps: false,
    ...(template ? { hovertemplate: `Trial %{customdata}<br>${template}<extra></extra>` } : { hoverinfo: "skip" }),
    ...more,
  };
}

export const hoverPart = (name, axis, { share = false, tiny = false } = {}) =>
  `${safe(name)} %{${axis}:${share ? ".1%" : tiny ? ".2~e" : ".4~g"}}`;

// The sequential scale without the end that the ground swallows: dark violet in the dark, yellow on white.
export const sequence = () =>
  colours()
    .scale.map(([, tint]) => tint)
    .slice(...(mode() === "dark" ? [2] : [0, -1]));

// What the colours of a sequential scale mean.
export function scaleLegend(low, high) {
  const tints = sequence();
  const stops = tints
    .map((tint, i) => `${tint} ${Math.round((100 * i) / tints.length)}% ${Math.round((100 * (i + 1)) / tints.length)}%`)
    .join(",");
  return h(
    "p",
    { class: "scale-legend" },
    low,
    h("span", { class: "scale-bar", "aria-hidden": "true", style: `background:linear-gradient(to right,${stops})` }),
    high,
  );
}

export function safe(text, most = 40) {
  const shown = String(text).replace(/[\u0000-\u001f\u007f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, " ");
  const letters = [...shown];
  return plain(letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : shown);
}

// One change of the filter for a whole box: every [field, [lo, hi]] replaces what the filter said of that field.
export function brushed(selection, sides) {
  const spans = sides.filter(([, pair]) => pair);
  const bare = (name) => name.replace(/^(param|metric)\./, "");
  const names = new Set(spans.map(([{ name }]) => name));
  const kept = selection
    .terms()
    .filter((one) => one.field !== "number" && !names.has(bare(one.field)))
    .map((one) => one.raw); // trials picked one by one would leave nothing
  selection.set(
    [
      ...kept,
      ...spans.flatMap(([field, pair]) =>
        termsOf(
          field,
          [...pair].sort((a, b) => a - b),
        ),
      ),
    ].join(" "),
  );
}

// A list of categories can name words without blanks only; a single one goes in quotes.
function termsOf({ name, type, labels }, [lo, hi]) {
  if (type !== "category") return [`${name}>=${quoted(lo)}`, `${name}<=${quoted(hi)}`];
  const inside = labels.filter((_, i) => i >= lo - 0.3 && i <= hi + 0.3);
  const bare = inside.every((one) => !/[\s,"'<>=!]/.test(one));
  if (!inside.length || inside.length === labels.length || (inside.length > 1 && !bare)) return [];
  return [`${name}:${bare ? inside.join(",") : quoted(inside[0])}`];
}

export const wordOf = (field, value) =>
  value === null ? "not used" : field.type === "category" ? String(field.labels[value] ?? value) : number(value);
