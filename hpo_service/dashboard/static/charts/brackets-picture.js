// One bracket as a picture: rungs from left to right, each trial a mark at its value, lines from those that went on. Draws SVG; asks for nothing.
//
// draw(node, bracket, {scale: "value"|"log"|"rank", maximize, metric, resource, width, matches: Set|null, chosen: Set, seen: Set|null})
//     → {outside, keys: Set of the marks drawn}    marks carry data-number, data-rung; the caller listens (one listener for all of them)
// funnel(bracket, most) → a small picture of how many entered and went on, for the overview

import { replace, svg } from "../core/dom.js";
import { integer, isShare, metric as metricText, number, percent } from "../core/format.js";
import { fateOf, levelText, markNode } from "./common.js";

const TOP = 74,
  R = 5,
  NARROW = 66;
const ORDER = ["promoted", "finished", "running", "waiting", "paused", "stopped", "failed"];

export function draw(node, bracket, options) {
  const frame = frameOf(bracket, options);
  const columns = bracket.rungs.map((rung, k) => columnOf(rung, k, frame));
  const at = new Map(columns.flatMap((column) => column.marks.map((mark) => [`${mark.rung}/${mark.number}`, mark])));
  const outside = columns.reduce((sum, column) => sum + column.marks.filter((mark) => mark.edge).length, 0);
  replace(
    node,
    svg(
      "svg",
      {
        width: frame.width,
        height: frame.height,
        viewBox: `0 0 ${frame.width} ${frame.height}`,
        role: "group",
        class: "bracket-picture",
        "aria-label": inWords(bracket, options),
      },
      columns.map((column) => backdrop(column, frame)),
      axis(frame),
      links(columns, at, frame),
      columns.map((column) => threshold(column, frame)),
      svg(
        "g",
        { class: "marks" },
        columns.flatMap((column) => column.marks.map((mark) => markOf(mark, frame))),
      ),
    ),
  );
  const first = node.querySelector(".mark");
  first?.setAttribute("tabindex", "0");
  return { outside, keys: new Set(at.keys()) };
}

function frameOf(bracket, options) {
  const count = Math.max(1, bracket.rungs.length);
  const [left, right] = options.width < 480 ? [46, 4] : [62, 14];
  const width = Math.max(options.width, left + right + count * NARROW);
  const values = bracket.rungs.flatMap((rung) => [...(rung.trials?.value ?? []), rung.threshold]).filter((one) => Number.isFinite(one));
  const without = bracket.rungs.flatMap((rung) => (rung.trials?.fate ?? []).filter((_, i) => !Number.isFinite(rung.trials.value[i])));
  const lost = without.length > 0,
    yet = without.every((fate) => fate === "running" || fate === "waiting");
  const height = options.width < 560 ? 400 : 440;
  const bottom = height - (lost ? 44 : 20);
  return {
    ...options,
    values,
    width,
    height,
    bottom,
    lost,
    yet,
    left,
    right,
    column: (width - left - right) / count,
    ...scaleOf(values, bottom, options, bracket),
  };
}

function scaleOf(values, bottom, { scale, maximize, metric }, bracket) {
  const place = (lo, hi, f) => ({ y: (v) => bottom - 8 - ((f(v) - lo) / (hi - lo || 1)) * (bottom - TOP - 16), lo, hi, f });
  if (scale === "rank") {
    const most = Math.max(2, ...bracket.rungs.map((rung) => rung.trials?.number.length ?? 0));
    return {
      ...place(most, 1, (v) => v),
      ticks: steps(1, most, 5).map((v) => ({ v: Math.max(1, Math.round(v)), text: `${Math.max(1, Math.round(v))}.` })),
      title: "place",
    };
  }
  const log = scale === "log" && values.every((v) => v > 0);
  const f = log ? Math.log10 : (v) => v;
  let [lo, hi] = values.length
    ? rangeOf(
        bracket.rungs.map((rung) => (rung.trials?.value ?? []).filter((v) => Number.isFinite(v) && (!log || v > 0))),
        f,
        maximize,
      )
    : [0, 1];
  if (lo === hi) [lo, hi] = [lo - 0.5, hi + 0.5];
  const share = isShare(metric) && hi <= 1.2 && lo >= -0.2;
  const marks = log ? decades(lo, hi) : steps(lo, hi, 5);
  return {
    ...place(lo, hi, f),
    ticks: marks.map((v) => ({ v, text: share ? percent(v, marks.length > 1 && marks[1] - marks[0] < 0.0099 ? 1 : 0) : number(v) })),
    title: `${metric} (${maximize ? "higher" : "lower"} is better)`,
  };
}

// The good end is always shown whole. On the other side a rung ends a little below its middle half: what diverged at once is drawn at the edge.
function rangeOf(rungs, f, maximize) {
  const sign = maximize ? 1 : -1;
  const sorted = rungs.map((values) => values.map((v) => sign * f(v)).sort((a, b) => a - b)).filter((values) => values.length);
  const best = Math.max(...sorted.map((values) => values.at(-1)));
  const at = (values, share) => values[Math.round(share * (values.length - 1))];
  const lows = sorted.map((values) =>
    Math.max(values[0], at(values, 0.25) - Math.max(2.5 * (at(values, 0.75) - at(values, 0.25)), 0.12 * (best - at(values, 0.25)))),
  );
  const worst = Math.min(...lows),
    pad = 0.05 * (best - worst || Math.abs(best) || 1);
  return maximize ? [worst - pad, best + pad] : [-best - pad, -worst + pad];
}

function steps(lo, hi, n) {
  const raw = (hi - lo) / n,
    power = 10 ** Math.floor(Math.log10(raw || 1));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((one) => one >= raw) || 1;
  const found = [];
  for (let v = Math.ceil(lo / step) * step; v <= hi + step * 1e-6; v += step) found.push(Number(v.toPrecision(12)));
  return found;
}

function decades(lo, hi) {
  const found = [];
  const fine = hi - lo < 2.5 ? [1, 2, 5] : [1];
  for (let e = Math.floor(lo); e <= Math.ceil(hi); e += Math.max(1, Math.round((hi - lo) / 6)))
    for (const m of fine) if (Math.log10(m * 10 ** e) >= lo && Math.log10(m * 10 ** e) <= hi) found.push(m * 10 ** e);
  return found;
}

function columnOf(rung, k, frame) {
  const x = frame.left + (k + 0.5) * frame.column;
  const { number: numbers = [], value = [], fate = [], reason = [] } = rung.trials ?? {};
  const order = numbers
    .map((_, i) => i)
    .filter((i) => Number.isFinite(value[i]))
    .sort((a, b) => (frame.maximize ? value[b] - value[a] : value[a] - value[b]));
  const place = new Map(order.map((i, rank) => [i, rank + 1]));
  const marks = numbers.map((one, i) => {
    const finite = Number.isFinite(value[i]);
    const exact = finite ? frame.y(frame.scale === "rank" ? place.get(i) : value[i]) : frame.height - 16;
    const y = Math.min(frame.bottom - 4, Math.max(TOP + 4, exact));
    return {
      number: one,
      rung: rung.rung,
      resource: rung.resource,
      value: value[i],
      fate: fate[i],
      reason: reason[i],
      x,
      y: finite ? y : exact,
      edge: finite && Math.abs(y - exact) > 6,
    };
  });
  spread(
    marks.sort((a, b) => a.y - b.y),
    frame.column * 0.3,
  );
  return { rung, k, x, marks };
}

// Marks of nearly the same value stand beside each other, from the middle outwards.
function spread(marks, most) {
  const placed = [];
  for (const mark of marks) {
    const near = placed.filter((other) => Math.abs(other.y - mark.y) < 2 * R);
    for (let i = 0; i < 60; i += 1) {
      const dx = Math.ceil(i / 2) * (2 * R + 1) * (i % 2 ? 1 : -1);
      if (Math.abs(dx) > most) {
        mark.dx = (((mark.number * 7919) % 100) / 50 - 1) * most;
        break;
      }
      mark.dx = dx;
      if (!near.some((other) => Math.hypot(other.dx - dx, other.y - mark.y) < 2 * R + 0.5)) break;
    }
    placed.push(mark);
  }
}

function axis(frame) {
  const { ticks, lo, hi, f } = frame;
  const inside = ticks.filter(({ v }) => f(v) >= Math.min(lo, hi) && f(v) <= Math.max(lo, hi));
  return svg(
    "g",
    { class: "axis", "aria-hidden": "true" },
    inside.map(({ v, text }) =>
      svg(
        "g",
        null,
        svg("line", { x1: frame.left - 4, x2: frame.width - frame.right, y1: frame.y(v), y2: frame.y(v) }),
        svg("text", { x: frame.left - 8, y: frame.y(v) + 4, "text-anchor": "end" }, text),
      ),
    ),
    frame.lost && svg("text", { x: frame.left - 8, y: frame.height - 12, "text-anchor": "end" }, frame.yet ? "not yet" : "no value"),
  );
}

function backdrop({ rung, x }, frame) {
  const half = frame.column * 0.38;
  const begun = rung.entered > 0;
  const rest = frame.column > 118;
  const flow = begun
    ? rest
      ? `${integer(rung.entered)} entered, ${integer(rung.promoted)} went on`
      : `${integer(rung.entered)} → ${integer(rung.promoted)}`
    : rung.size
      ? `${integer(rung.size)} planned`
      : "nobody yet";
  return svg(
    "g",
    { class: ["rung", !begun && "ghost"], "aria-hidden": "true" },
    svg("rect", { x: x - half, y: TOP, width: 2 * half, height: frame.bottom - TOP, rx: 6, class: "lane" }),
    svg(
      "text",
      { x, y: 16, class: "rung-head", "text-anchor": "middle" },
      rest ? levelText(frame.resource, rung.resource) : number(rung.resource),
    ),
    svg("text", { x, y: 33, class: "rung-flow", "text-anchor": "middle" }, last(rung) && begun ? `${integer(rung.entered)} entered` : flow),
    svg(
      "text",
      { x, y: 49, class: "rung-flow", "text-anchor": "middle" },
      Number.isFinite(rung.best) ? `${frame.column > 90 ? "best " : ""}${metricText(frame.metric, rung.best)}` : "",
    ),
    tally(rung, x - half, 2 * half),
  );
}

const last = (rung) => !rung.promoted && rung.finished > 0;

function tally(rung, left, width) {
  const whole = Math.max(rung.size ?? 0, rung.entered ?? 0, 1);
  let x = left;
  const parts = ORDER.map((name) => {
    const share = (rung[name] ?? 0) / whole;
    const part = share && svg("rect", { x, y: 57, width: Math.max(0.5, share * width - 1), height: 6, fill: fateOf(name).colour() });
    x += share * width;
    return part;
  });
  return svg("g", null, svg("rect", { x: left, y: 57, width, height: 6, class: "tally" }), parts.filter(Boolean));
}

function links(columns, at, frame) {
  const drawn = columns.slice(0, -1).flatMap(({ marks }, k) =>
    marks.map((mark) => {
      const to = columns[k + 1].marks.length ? at.get(`${columns[k + 1].rung.rung}/${mark.number}`) : null;
      if (!to) return null;
      const [x0, x1] = [mark.x + mark.dx + R + 1, to.x + to.dx - R - 1],
        bend = (x1 - x0) / 2;
      return svg("path", {
        class: ["went-on", faded(mark, frame) && "faded", !Number.isFinite(to.value) && "open-end"],
        dataset: { number: mark.number },
        stroke: fateOf("promoted").colour(),
        d: `M${x0},${mark.y}C${x0 + bend},${mark.y} ${x1 - bend},${to.y} ${x1},${to.y}`,
      });
    }),
  );
  return svg("g", { class: "links", "aria-hidden": "true" }, drawn);
}

function threshold({ rung, x }, frame) {
  if (frame.scale === "rank" || !Number.isFinite(rung.threshold)) return null;
  const half = frame.column * 0.38,
    y = Math.min(frame.bottom, Math.max(TOP, frame.y(rung.threshold)));
  const beside = frame.column > 170; // between the columns there is room for the figure
  const at = beside ? { x: x + half + 5, y: y + 4 } : { x: x + half, y: y + (frame.maximize ? 14 : -6), "text-anchor": "end" };
  return svg(
    "g",
    { class: "threshold", "aria-hidden": "true" },
    svg("line", { x1: x - half - 3, x2: x + half + 3, y1: y, y2: y }),
    svg("text", at, `${frame.maximize ? "≥" : "≤"} ${metricText(frame.metric, rung.threshold)}`),
  );
}

const faded = (mark, { matches }) => matches !== null && !matches.has(mark.number);

function markOf(mark, frame) {
  const key = `${mark.rung}/${mark.number}`;
  const chosen = frame.chosen.has(mark.number);
  return svg(
    "g",
    {
      class: ["mark", faded(mark, frame) && "faded", chosen && "chosen", frame.seen && !frame.seen.has(key) && "is-new"],
      role: "button",
      tabindex: "-1",
      transform: `translate(${mark.x + mark.dx},${mark.y})`,
      "aria-pressed": String(chosen),
      "aria-label": markInWords(mark, frame),
      dataset: { number: mark.number, rung: mark.rung },
    },
    svg("circle", { r: R + 4, class: "halo" }),
    markNode(mark.fate, mark.edge ? R - 1 : R),
    mark.edge && svg("path", { class: "edge", d: mark.y < (TOP + frame.bottom) / 2 ? "M-4,-7L0,-11L4,-7" : "M-4,7L0,11L4,7" }),
  );
}

function markInWords(mark, { metric, resource }) {
  const value = Number.isFinite(mark.value) ? `${metric} ${metricText(metric, mark.value)}` : "no finite value";
  return `Trial ${mark.number}: ${value} at ${levelText(resource, mark.resource)}, ${fateOf(mark.fate).word}${mark.reason ? ` because ${mark.reason}` : ""}`;
}

function inWords(bracket, { resource }) {
  const rungs = bracket.rungs.map(
    (rung) =>
      `${levelText(resource, rung.resource)}: ${rung.entered ? `${rung.entered} entered, ${rung.promoted} went on` : rung.size ? `${rung.size} planned` : "nobody yet"}`,
  );
  return `Bracket ${bracket.bracket} with ${bracket.rungs.length} rungs. ${rungs.join("; ")}. Arrow keys move between trials, Enter selects one.`;
}

export function funnel(bracket, most) {
  const width = 13 * bracket.rungs.length,
    height = 34;
  const tall = (n) => (n ? Math.max(2, Math.sqrt(n / most) * height) : 0);
  return svg(
    "svg",
    { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", class: "funnel" },
    bracket.rungs.map((rung, k) => [
      (rung.size ?? 0) > (rung.entered ?? 0) &&
        svg("rect", { x: 13 * k + 1.5, y: height - tall(rung.size) + 0.5, width: 9, height: tall(rung.size) - 1, class: "planned" }),
      svg("rect", { x: 13 * k + 1, y: height - tall(rung.entered), width: 10, height: tall(rung.entered), class: "entered" }),
      svg("rect", { x: 13 * k + 1, y: height - tall(rung.promoted), width: 10, height: tall(rung.promoted), class: "went" }),
    ]),
  );
}
