// One sample's columns as axes of parallel coordinates: places on a line, readable ticks, brushes from and to the filter. Pure: no requests, no DOM.

import { clip, metric, number } from "../core/format.js";
import { rangeOf } from "./ranges.js";

const ABSENT = 0.12; // how far below the lowest place what is not there lies, as a share of the axis
const HALF = 0.45; // a category's brush reaches so far to either side

// {field, values, range, tickvals, ticktext, toValue(place), absentAt|null, outside}
export function axisFor(field, column, page) {
  return field.type === "category" ? categories(field, column) : numbers(field, column, page);
}

function categories(field, column) {
  const absent = column.some((one) => one === null);
  const low = absent ? -1 : 0;
  const ticks = field.labels.map((_, i) => i);
  return {
    field,
    values: column.map((one) => one ?? -1),
    range: [low - 0.35, field.labels.length - 0.65],
    outside: 0,
    absentAt: absent ? -1 : null,
    tickvals: absent ? [-1, ...ticks] : ticks,
    ticktext: [...(absent ? ["–"] : []), ...field.labels.map((label) => clip(label, 14))],
  };
}

function numbers(field, column, page) {
  const log = field.log && column.every((one) => one === null || one > 0);
  const places = column.map((one) => (one === null ? null : log ? Math.log10(one) : one));
  const known = places.filter((one) => one !== null);
  const absent = known.length < places.length;
  const [low, high] = extent(known, { field, log, page });
  const absentAt = absent ? low - ABSENT * (high - low) : null;
  const clamp = (place) => Math.min(high, Math.max(low, place));
  const { tickvals, ticktext } = known.length ? ticksOf({ low, high, log, field, page }) : { tickvals: [], ticktext: [] };
  const edges = [
    known.some((one) => one < low - 1e-9) && { at: low, sign: "≤ " },
    known.some((one) => one > high + 1e-9) && { at: high, sign: "≥ " },
  ].filter(Boolean);
  for (const { at, sign } of edges) {
    // what lies beyond the axis is drawn at its end, and the end says so
    const near = tickvals.findIndex((tick) => Math.abs(tick - at) < 0.06 * (high - low));
    const text = sign + words(log ? 10 ** at : at, field, page);
    if (near >= 0) {
      tickvals[near] = at;
      ticktext[near] = text;
    } else {
      tickvals.push(at);
      ticktext.push(text);
    }
  }
  return {
    field,
    log,
    values: places.map((place) => (place === null ? absentAt : clamp(place))),
    range: [absent ? absentAt : low, high],
    absentAt,
    low,
    high,
    tickvals: absent ? [absentAt, ...tickvals] : tickvals,
    ticktext: absent ? ["–", ...ticktext] : ticktext,
    outside: known.filter((one) => one < low - 1e-9 || one > high + 1e-9).length,
    toValue: (place) => (log ? 10 ** place : place),
  };
}

// Parameters are drawn over their whole range in the definition's terms; values over what is no outlier.
function extent(known, { field, log, page }) {
  if (!known.length) return [0, 1];
  let low = known.reduce((a, b) => Math.min(a, b)),
    high = known.reduce((a, b) => Math.max(a, b));
  if (field.kind !== "param") {
    const robust = rangeOf(log ? known.map((one) => 10 ** one) : known, { log, name: metricOf(field, page) });
    if (robust.outside) [low, high] = [robust.low, robust.high];
  }
  const size = Math.max(Math.abs(low), Math.abs(high));
  if (high - low > 1e-9 * size) return [low, high];
  const half = Math.max(0.5, 1e-3 * size); // the same but for rounding: no digits would tell the ticks apart
  return [low - half, high + half];
}

const metricOf = (field, page) => (field.name === "value" ? page.metricName : field.name);
const words = (value, field, page) =>
  field.kind === "param" || field.name === "number" ? number(value) : metric(metricOf(field, page), value);

function ticksOf({ low, high, log, field, page }) {
  const tickvals = log ? decades(low, high) : steps(low, high);
  return { tickvals, ticktext: tickvals.map((place) => words(log ? Number((10 ** place).toPrecision(3)) : place, field, page)) };
}

// Powers of ten; where they are few, 2 and 5 between them; powers of two for 16, 32, 64 …
function decades(low, high) {
  const twos = [low, high].map((one) => Math.log2(10 ** one));
  if (twos.every((one) => Math.abs(one - Math.round(one)) < 1e-6) && twos[1] - twos[0] <= 10) {
    return Array.from({ length: Math.round(twos[1] - twos[0]) + 1 }, (_, i) => (Math.round(twos[0]) + i) * Math.log10(2));
  }
  const mantissas = high - low < 1.3 ? [1, 2, 5] : [1];
  const found = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power += 1) {
    for (const mantissa of mantissas) {
      const place = power + Math.log10(mantissa);
      if (place >= low - 1e-9 && place <= high + 1e-9) found.push(place);
    }
  }
  const every = Math.ceil(found.length / 8);
  return found.length ? found.filter((_, i) => i % every === 0) : [low, high];
}

function steps(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k += 1) found.push(Number((k * step).toPrecision(12)));
  return found;
}

// The brushes that the filter's terms ask for on this axis: [lo, hi] or several of them, null for none.
export function brushOf(axis, terms) {
  const mine = terms.filter(
    ({ field }) => field === axis.field.name || field === `param.${axis.field.name}` || field === `metric.${axis.field.name}`,
  );
  if (axis.field.type === "category") {
    const named = mine.filter(({ op }) => op === ":" || op === "=").flatMap(({ value }) => unquoted(value));
    const found = named
      .map((label) => axis.field.labels.indexOf(label))
      .filter((at) => at >= 0)
      .map((at) => [at - HALF, at + HALF]);
    return found.length === 1 ? found[0] : found.length ? found : null;
  }
  const range = [-Infinity, Infinity];
  for (const { op, value } of mine) {
    const at = axis.log ? Math.log10(Number(value)) : Number(value);
    if (!Number.isFinite(at)) continue;
    if (op.startsWith(">")) range[0] = Math.max(range[0], at);
    if (op.startsWith("<")) range[1] = Math.min(range[1], at);
    if (op === ":" || op === "=") [range[0], range[1]] = [at, at];
  }
  if (range[0] === -Infinity && range[1] === Infinity) return null;
  const slack = 1e-3 * (axis.high - axis.low);
  return [Math.max(axis.low - slack, range[0] - slack), Math.min(axis.high + slack, range[1] + slack)];
}

const unquoted = (value) => (/^["']/.test(value) ? [value.slice(1, -1)] : value.split(","));

// What a brush means to the filter: {labels} of a category, {range: [lo, hi]} of a number with null for an open side; null for no brush.
export function meaningOf(axis, brush) {
  if (!brush?.length) return null;
  const spans = Array.isArray(brush[0]) ? brush : [brush];
  if (axis.field.type === "category") {
    const labels = axis.field.labels.filter((_, i) => spans.some(([low, high]) => i >= low - 0.01 && i <= high + 0.01));
    return labels.length ? { labels } : null;
  }
  const low = Math.min(...spans.map(([one]) => one)),
    high = Math.max(...spans.map(([, one]) => one));
  const value = (place) => Number(axis.toValue(place).toPrecision(4));
  const near = 0.004 * (axis.high - axis.low);
  return { range: [low <= axis.low + near ? null : value(low), high >= axis.high - near ? null : value(high)] };
}
