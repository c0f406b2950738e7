// Charts: Plotly, loaded once, dressed in the page's theme. What a chart shows is its caller's business.
//
// plot(node, traces, layout, {onClick(customdata, point), onSelect({x: [lo, hi]|null, y: …}|null), label, height}) → Promise<node>
//     traces and layout may be functions, called again when the theme changes (so that colours() in them follows).
//     label states the essence in words, for those who do not see the chart. Draws again with the same node; keeps zoom (uirevision) until the caller changes layout.uirevision.
//     layout is merged over the themed one: give titles, types, ranges. dataset.ready on node = "SEQ": pass layout.meta = {seq}; else a count of drawings.
// clear(node) → forgets the chart · robustRange(values, {log}?) (range is ready for axis.range: exponents on a log axis) → {range: [lo, hi]|null, outside: n, low, high, text: "3 values lie outside …"|""}
// bracketColour(i)
// before(work) → work          a promise that Plotly waits for with its first run
// axis(title, {log, share}?) → layout of an axis · plain(text) → a name for Plotly texts (titles, hover), where tags would be read

// Only SVG traces work: those of WebGL (scattergl, parcoords, …) build functions out of text, which the pages' policy forbids.

import { plural } from "./format.js";
import { colours, onTheme } from "./theme.js";

const drawn = new Map(); // node → {traces, layout, options}: to draw again in another theme
const CONFIG = { displayModeBar: false, responsive: true, showTips: false, doubleClick: "reset+autosize", scrollZoom: false };
const EARLIER_MS = 1500;
const earlier = []; // what Plotly lets go before, for at most so long
let loading = null,
  count = 0;

// Plotly takes the browser half a second to run: what is read at once (the table) comes before it.
export function before(work) {
  earlier.push(Promise.race([work, new Promise((done) => setTimeout(done, EARLIER_MS))]));
  return work;
}

function ready() {
  loading ||= Promise.allSettled(earlier).then(painted).then(load);
  return loading;
}

// Once the browser has shown what was drawn; a hidden tab paints nothing.
const painted = () =>
  new Promise((done) => {
    requestAnimationFrame(() => setTimeout(done));
    setTimeout(done, 200);
  });

function load() {
  return new Promise((done, fail) => {
    const script = document.createElement("script");
    script.src = document.querySelector('meta[name="plotly"]').content;
    script.onload = () => done(window.Plotly);
    script.onerror = () => {
      loading = null;
      fail(new Error("The chart library did not load; see whether the server runs."));
    };
    document.head.append(script);
  });
}

// Plotly reads a few HTML tags in its texts; names of users are shown as they are.
export const plain = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
const made = (given) => (typeof given === "function" ? given() : given);
export const bracketColour = (i) => colours().categories[(i ?? 0) % 8];

export async function plot(node, traces, layout = {}, options = {}) {
  const Plotly = await ready();
  drawn.set(node, { traces, layout, options });
  [traces, layout] = [made(traces), made(layout)];
  node.classList.add("plot");
  node.tabIndex = 0;
  node.setAttribute("role", "img");
  if (options.label) node.setAttribute("aria-label", options.label);
  await Plotly.react(node, dressed(traces), themed(layout, options, node), CONFIG);
  listen(node);
  count += 1;
  node.dataset.ready = String(layout.meta?.seq ?? count);
  return node;
}

export function clear(node) {
  if (drawn.delete(node)) window.Plotly?.purge(node);
  node.removeAttribute("data-ready");
}

export const axis = (title, { log = false, share = false } = {}) => ({
  title: { text: plain(title) },
  type: log ? "log" : "linear",
  ...(share && !log ? { tickformat: "~%" } : {}),
});

function look(colour, small) {
  return {
    gridcolor: colour.line,
    linecolor: colour.line,
    zerolinecolor: colour.line,
    gridwidth: 1,
    zerolinewidth: 1,
    ticks: "",
    automargin: true,
    showline: false,
    tickfont: { color: colour.quiet, size: small ? 10.5 : 11.5 },
    title: { font: { color: colour.quiet, size: 12 }, standoff: 8 },
    exponentformat: "e",
    separatethousands: true,
    minor: { showgrid: false },
  };
}

function themed(layout, { onSelect = null, height = null }, node) {
  const colour = colours();
  const small = node.clientWidth < 420;
  const family = getComputedStyle(document.body).fontFamily;
  const base = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    colorway: colour.categories,
    font: { family, color: colour.ink, size: 12 },
    margin: { l: 8, r: 12, t: 8, b: 8, pad: 4 },
    xaxis: {},
    yaxis: {},
    showlegend: false,
    hovermode: "closest",
    autosize: true,
    uirevision: "keep",
    dragmode: onSelect ? "select" : "zoom",
    hoverlabel: {
      bgcolor: colour.panel,
      bordercolor: colour.line,
      font: { family, color: colour.ink, size: 12 },
      align: "left",
      namelength: -1,
    },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: colour.quiet, size: 11.5 }, bgcolor: "rgba(0,0,0,0)" },
    newselection: { line: { color: colour.accent, width: 1, dash: "solid" } },
    activeselection: { fillcolor: colour.accent, opacity: 0.08 },
    coloraxis: {
      colorscale: colour.scale,
      colorbar: { thickness: 10, outlinewidth: 0, tickfont: { color: colour.quiet, size: 11 }, len: 0.9 },
    },
    ...(height ? { height } : {}),
  };
  const merged = merge(base, layout);
  for (const name of Object.keys(merged)) if (/^[xy]axis\d*$/.test(name)) merged[name] = merge(look(colour, small), ticks(merged[name]));
  return merged;
}

// 1, 10, 100 and not 2, 5 between: a log axis of few decades shows too many figures otherwise.
function ticks(axis) {
  if (axis.type !== "log" || axis.dtick || axis.tickvals || !axis.range) return axis;
  const [lo, hi] = axis.range;
  return hi - lo >= 1.5 ? { dtick: Math.max(1, Math.ceil((hi - lo) / 7)), ...axis } : axis;
}

function dressed(traces) {
  const colour = colours();
  return traces.map((trace) =>
    trace.marker?.colorbar || trace.marker?.showscale || trace.type === "heatmap" || trace.type === "contour"
      ? merge(
          trace.type === "heatmap" || trace.type === "contour"
            ? { colorscale: colour.scale, colorbar: bar(colour) }
            : { marker: { colorscale: colour.scale, colorbar: bar(colour) } },
          trace,
        )
      : trace,
  );
}

const bar = (colour) => ({ thickness: 10, outlinewidth: 0, len: 0.9, tickfont: { color: colour.quiet, size: 11 } });

function merge(under, over) {
  const made = { ...under };
  for (const [key, value] of Object.entries(over)) {
    const both =
      value && under[key] && Object.getPrototypeOf(value) === Object.prototype && Object.getPrototypeOf(under[key]) === Object.prototype;
    made[key] = both ? merge(under[key], value) : value;
  }
  return made;
}

function listen(node) {
  if (node.dataset.listening) return;
  node.dataset.listening = "1";
  const options = () => drawn.get(node)?.options || {};
  node.on("plotly_click", ({ points }) => {
    if (points?.length) options().onClick?.(points[0].customdata, points[0]);
  });
  node.on("plotly_selected", (event) => {
    if (!event?.range) return;
    const chosen = ranges(event.range);
    // The page marks what is chosen, in all charts alike: a box of Plotly's own would stay behind when the filter changes.
    window.Plotly.update(node, { selectedpoints: null }, { selections: [] });
    options().onSelect?.(chosen);
  });
  node.on("plotly_deselect", () => options().onSelect?.(null));
}

// Values also on a log axis, where Plotly tells values of selections (and exponents only of axis ranges).
function ranges(range) {
  const side = (name) => Object.entries(range).find(([key]) => key.startsWith(name))?.[1] ?? null;
  const ordered = (pair) => (pair ? [...pair].sort((a, b) => a - b) : null);
  return { x: ordered(side("x")), y: ordered(side("y")) };
}

export function robustRange(values, { log = false } = {}) {
  const usable = Array.from(values).filter((x) => typeof x === "number" && Number.isFinite(x) && (!log || x > 0));
  const none = { range: null, outside: 0, low: null, high: null, text: "" };
  if (usable.length < 3) return none;
  const sorted = Float64Array.from(usable, (x) => (log ? Math.log10(x) : x)).sort();
  const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
  const [low, high] = fences(sorted, at);
  const outside = sorted.reduce((n, x) => n + (x < low || x > high ? 1 : 0), 0);
  const edge = 0.05 * (high - low) || Math.abs(high) * 0.05 || 0.5;
  const text = outside ? `${plural(outside, "value")} ${outside === 1 ? "lies" : "lie"} outside the axis` : "";
  return { range: [low - edge, high + edge], outside, low, high, text };
}

// The outermost values that still belong: within one more width of the middle 98 %, and, since a few values have no 1 %, within ten widths of the middle half.
function fences(sorted, at) {
  const [first, last, lower, upper] = [at(0.01), at(0.99), at(0.25), at(0.75)];
  const half = upper - lower;
  const from = half > 0 ? Math.max(first, lower - 10 * half) : first;
  const to = half > 0 ? Math.min(last, upper + 10 * half) : last;
  const inside = sorted.filter((x) => x >= from - (to - from) && x <= to + (to - from));
  return [inside[0], inside[inside.length - 1]];
}

onTheme(() => {
  for (const [node, { traces, layout, options }] of drawn) {
    if (node.isConnected) plot(node, traces, layout, options);
    else clear(node);
  }
});
