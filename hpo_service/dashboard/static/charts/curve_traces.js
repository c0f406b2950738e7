// Learning curves as Plotly traces: one per colour group with gaps between trials, so that two hundred lines draw quickly. Pure: no requests, no DOM.

import { metric, number } from "../core/format.js";
import { bracketColour } from "../core/plot.js";
import { colours } from "../core/theme.js";
import { fateOf, safe } from "./common.js";
import { markColour } from "./mark_colours.js";

const STATES = ["finished", "running", "paused", "waiting", "stopped", "failed"];
const SHADES = 7;

// A colour of the magnitude scale for t in 0..1, kept away from the end that fades into the page.
function shade(t, dark) {
  const { scale } = colours();
  const [from, to] = dark ? [0.22, 1] : [0, 0.86];
  const at = Math.round((from + Math.min(1, Math.max(0, t)) * (to - from)) * (scale.length - 1));
  return scale[at][1];
}

export const isDark = () => parseInt(colours().paper.slice(1, 3), 16) < 128;

// [{key, label, colour, lines}] in the order of the legend.
export function groupsOf(lines, by, { ladders, maximize }) {
  if (by === "rung") return byRung(lines);
  if (by === "value") return byValue(lines, maximize);
  if (by === "state")
    return STATES.map((state) => ({
      key: state,
      label: state,
      colour: markColour(state),
      lines: lines.filter((one) => one.state === state),
    })).filter(notEmpty);
  return byBracket(lines, ladders);
}

const notEmpty = (group) => group.lines.length > 0;

function gathered(lines, keyOf) {
  const found = new Map();
  for (const line of lines) {
    const key = keyOf(line);
    if (!found.has(key)) found.set(key, []);
    found.get(key).push(line);
  }
  return [...found].sort(([a], [b]) => (a ?? -1) - (b ?? -1));
}

function byRung(lines) {
  const found = gathered(lines, (line) => line.rung);
  const top = Math.max(1, ...found.map(([rung]) => rung ?? 0));
  const dark = isDark();
  return found.map(([rung, own]) => ({
    key: rung,
    label: rung === null ? "no rung" : `came to rung ${rung}`,
    colour: rung === null ? colours().quiet : shade(dark ? rung / top : 1 - rung / top, dark),
    lines: own,
  }));
}

// Hyperband goes round and round its brackets: where there are more than five, those that begin at the same resource share a colour.
function byBracket(lines, ladders) {
  if (ladders.size <= 5) {
    return gathered(lines, (line) => line.bracket).map(([bracket, own]) => ({
      key: bracket,
      label: bracket === null ? "no bracket" : `bracket ${bracket}`,
      colour: bracket === null ? colours().quiet : bracketColour(bracket),
      lines: own,
    }));
  }
  return gathered(lines, (line) => ladders.get(line.bracket)?.[0] ?? null).map(([first, own], i) => ({
    key: first,
    label: first === null ? "no bracket" : `brackets from ${number(first)}`,
    colour: first === null ? colours().quiet : bracketColour(i),
    lines: own,
  }));
}

function byValue(lines, maximize) {
  const last = (line) => line.value.findLast((one) => typeof one === "number") ?? null;
  const ranked = [...lines].sort((a, b) => (last(b) ?? -Infinity) - (last(a) ?? -Infinity));
  if (!maximize) ranked.reverse();
  const dark = isDark();
  const size = Math.max(1, Math.ceil(ranked.length / SHADES));
  const shades = Math.max(1, Math.ceil(ranked.length / size) - 1);
  const name = (k) => (k === 0 ? "best of these" : k === shades ? "worst of these" : "");
  return Array.from({ length: shades + 1 }, (_, k) => ({
    key: k,
    label: name(k),
    colour: shade(dark ? 1 - k / shades : k / shades, dark),
    lines: ranked.slice(k * size, (k + 1) * size),
  })).filter(notEmpty);
}

// An exponential moving average without the pull to zero at its beginning; gaps stay gaps.
export function smoothed(values, weight) {
  if (!weight) return values;
  let sum = 0,
    mass = 0;
  return values.map((value) => {
    if (typeof value !== "number") return value;
    sum = weight * sum + (1 - weight) * value;
    mass = weight * mass + (1 - weight);
    return sum / mass;
  });
}

const drawable = (value) => (typeof value === "number" ? value : null);

export function lineTrace(group, { weight, faint = false }) {
  const x = [],
    y = [],
    trials = [];
  for (const line of group.lines) {
    const values = smoothed(line.value, weight);
    for (let i = 0; i < values.length; i += 1) {
      x.push(line.resource[i]);
      y.push(drawable(values[i]));
      trials.push(line.number);
    }
    x.push(null);
    y.push(null);
    trials.push(line.number);
  }
  return {
    type: "scatter",
    mode: "lines",
    name: group.label,
    x,
    y,
    customdata: trials,
    connectgaps: false,
    showlegend: !faint && Boolean(group.label),
    line: { color: group.colour, width: faint ? 1 : 1.6 },
    opacity: faint ? 0.6 : 0.85,
    hovertemplate: `trial %{customdata}<br>%{y:.4~g} at %{x:.4~g}${group.label ? `<br>${safe(group.label)}` : ""}<extra></extra>`,
  };
}

// Where trials were promoted (small, along the line) and how each ended (at its end), with the reason. One trace per fate: Plotly is slow where each
// point has a style of its own.
export function markTraces(lines, { weight, ladders, metricName, resourceText }) {
  const marks = lines.flatMap((line) => marksOf(line, smoothed(line.value, weight), ladders.get(line.bracket) ?? []));
  const fates = ["promoted", ...STATES].filter((fate) => marks.some((one) => one.fate === fate));
  return fates.map((fate) => {
    const own = marks.filter((one) => one.fate === fate);
    const { symbol } = fateOf(fate);
    const color = markColour(fate);
    return {
      type: "scatter",
      mode: "markers",
      name: fate,
      showlegend: false,
      x: own.map((one) => one.x),
      y: own.map((one) => one.y),
      customdata: own.map((one) => one.line.number),
      marker: {
        symbol,
        color,
        size: fate === "promoted" ? 6 : 8,
        opacity: 0.95,
        line: { width: /open|^x$/.test(symbol) ? 1.6 : 0, color },
      },
      hovertemplate: own.map(
        (one) =>
          `<b>trial ${one.line.number} at ${resourceText(one.x)}: ${fate}</b><br>${safe(metricName)} ${safe(metric(metricName, one.y))}<br>${folded(one.reason)}<extra></extra>`,
      ),
    };
  });
}

function marksOf(line, values, ladder) {
  const last = values.findLastIndex((value) => typeof value === "number");
  if (last < 0) return [];
  const marks = [];
  ladder.forEach((level, rung) => {
    const i = line.resource.indexOf(level);
    if (i < 0 || i >= last || typeof values[i] !== "number") return;
    const next = ladder[rung + 1];
    marks.push({ x: level, y: values[i], fate: "promoted", line, reason: next === undefined ? "went on" : `went on to ${number(next)}` });
  });
  marks.push({ x: line.resource[last], y: values[last], fate: line.state, line, reason: line.reason || "" });
  return marks;
}

// Long reasons in lines that fit beside the cursor.
function folded(text, width = 56) {
  const rows = [""];
  for (const word of String(text).slice(0, 300).split(/\s+/)) {
    if (rows.at(-1) && `${rows.at(-1)} ${word}`.length > width) rows.push("");
    rows[rows.length - 1] = `${rows.at(-1)} ${word}`.trim();
  }
  return rows.map((row) => safe(row, width + 20)).join("<br>");
}
