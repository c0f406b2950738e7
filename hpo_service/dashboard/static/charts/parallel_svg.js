// What lies above the lines of parallel coordinates: axes with ticks and names, and the brushes, by pointer and by keyboard.

import { replace, svg } from "../core/dom.js";
import { clip } from "../core/format.js";

const GRIP = 6; // pixels at a brush's end that move only this end
const LEAST = 4; // a shorter drag is a click: no brush
const STEP = 0.05; // of the axis, per press of an arrow key
const LETTER = { name: 7.6, tick: 6.6 }; // pixels

export function drawAxes(view) {
  const { width, height, model } = view;
  const focused = view.frame.contains(document.activeElement) ? document.activeElement.dataset.axis : null;
  const defs = svg(
    "defs",
    null,
    svg(
      "linearGradient",
      { id: "parallel-scale", x1: 0, x2: 0, y1: 1, y2: 0 },
      Array.from({ length: 33 }, (_, i) => i / 32).map((t) =>
        svg("stop", { offset: t, "stop-color": model.colour(model.scaleAt?.(t) ?? t) }),
      ),
    ),
  );
  replace(
    view.frame,
    svg(
      "svg",
      { width, height, viewBox: `0 0 ${width} ${height}`, class: "parallel-svg" },
      defs,
      model.axes.map((axis, index) => axisNode(view, axis, index)),
    ),
  );
  if (focused)
    view.frame.querySelector(`[data-axis="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true, focusVisible: view.byKeys === true });
}

function axisNode(view, axis, index) {
  const { top, bottom } = view;
  const last = index === view.model.axes.length - 1;
  const spans = svg("g", { class: "parallel-spans" });
  const hold = svg("rect", {
    class: "parallel-hold",
    x: -16,
    y: top - 6,
    width: 32,
    height: bottom - top + 12,
    tabindex: 0,
    role: "slider",
    "aria-orientation": "vertical",
    "aria-valuemin": 0,
    "aria-valuemax": 100,
    dataset: { axis: axis.title },
  });
  const node = svg(
    "g",
    { transform: `translate(${view.x[index]},0)`, class: "parallel-axis", dataset: { test: `axis-${axis.title}` } },
    last && view.model.scaleAt ? svg("rect", { x: 5, y: top, width: 7, height: bottom - top, fill: "url(#parallel-scale)", rx: 2 }) : null,
    svg("line", { y1: top, y2: bottom, class: "parallel-line" }),
    ticks(view, axis, index),
    spans,
    hold,
    name(view, axis, index),
  );
  tell(view, axis, hold, spans);
  byPointer(view, { axis, index, hold, spans });
  byKeys(view, { axis, index, hold, spans });
  return node;
}

// Letters that fit before the axis to the left; categories have names, numbers are short.
function ticks(view, axis, index) {
  const last = index === view.model.axes.length - 1;
  const room = last ? view.width - view.x[index] - 17 : view.x[index] - (view.x[index - 1] ?? 0) - 12;
  const most = axis.snaps ? Math.max(3, Math.floor(room / LETTER.tick)) : Infinity;
  return axis.tickvals.map((place, i) =>
    svg(
      "text",
      {
        x: last ? 17 : -7,
        y: view.yOf(axis, place),
        dy: "0.35em",
        "text-anchor": last ? "start" : "end",
        class: "parallel-tick",
        direction: "ltr",
      },
      clip(axis.ticktext[i], most),
    ),
  );
}

// Names of many parameters often differ at their end.
function ends(text, most) {
  const letters = [...text],
    half = Math.max(2, Math.floor((most - 1) / 2));
  return letters.length <= 2 * half + 1 ? text : `${letters.slice(0, half).join("")}…${letters.slice(-half).join("")}`;
}

// The name moves the axis: dragged sideways, or Shift with an arrow key.
function name(view, axis, index) {
  const gap = (view.x[1] - view.x[0] || view.width) - 8;
  const text = svg(
    "text",
    { y: 18, "text-anchor": "middle", class: "parallel-name parallel-hold" },
    svg("title", null, `${axis.title}: drag to move`),
    axis.label.length * LETTER.name < gap ? axis.label : ends(axis.label, Math.floor(gap / LETTER.name)),
  );
  text.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    text.setPointerCapture(event.pointerId);
    const from = event.clientX;
    const move = (now) => text.parentNode.setAttribute("transform", `translate(${view.x[index] + now.clientX - from},0)`);
    const end = (now) => {
      text.removeEventListener("pointermove", move);
      const at = view.x[index] + now.clientX - from;
      const to = view.x.reduce((best, x, i) => (Math.abs(x - at) < Math.abs(view.x[best] - at) ? i : best), index);
      text.parentNode.setAttribute("transform", `translate(${view.x[index]},0)`);
      if (to !== index) view.handlers.onMove(index, to);
    };
    text.addEventListener("pointermove", move);
    text.addEventListener("pointerup", end, { once: true });
  });
  return text;
}

// What the brush selects, drawn and in words.
function tell(view, axis, hold, spans) {
  replace(
    spans,
    (axis.spans ?? []).map(([low, high]) => {
      const y1 = Math.max(view.top - 4, view.yOf(axis, high)),
        y2 = Math.min(view.bottom + 4, view.yOf(axis, low));
      return svg("rect", { x: -7, y: y1, width: 14, height: Math.max(3, y2 - y1), rx: 3, class: "parallel-span" });
    }),
  );
  const words = axis.spans ? view.handlers.words(axis) : "all";
  hold.setAttribute("aria-label", `Select by ${axis.title}`);
  hold.setAttribute("aria-valuetext", words);
  const [low] = axis.spans?.[0] ?? [axis.range[0]];
  hold.setAttribute("aria-valuenow", String(Math.round((100 * (low - axis.range[0])) / (axis.range[1] - axis.range[0]))));
}

function byPointer(view, { axis, index, hold, spans }) {
  const yOf = (event) => Math.min(view.bottom + 4, Math.max(view.top - 4, event.clientY - view.frame.getBoundingClientRect().top));
  hold.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    view.byKeys = false;
    hold.focus({ preventScroll: true, focusVisible: false });
    hold.setPointerCapture(event.pointerId);
    const before = axis.spans;
    const start = yOf(event);
    const grab = grabbed(view, axis, start);
    const move = (now) => {
      const y = yOf(now);
      if (Math.abs(y - start) < LEAST) return;
      view.brushed(index, [dragged(view, axis, { start, y, grab })]);
      tell(view, axis, hold, spans);
    };
    const end = (now) => {
      hold.removeEventListener("pointermove", move);
      const clicked = Math.abs(yOf(now) - start) < LEAST;
      if (clicked) view.brushed(index, null);
      tell(view, axis, hold, spans);
      if (!clicked || before) view.handlers.onBrush(index, axis.spans);
    };
    hold.addEventListener("pointermove", move);
    hold.addEventListener("pointerup", end, { once: true });
  });
}

// What a press at `y` takes hold of: an end of the brush, the brush, or nothing (a new one begins).
function grabbed(view, axis, y) {
  if (axis.spans?.length !== 1) return null;
  const [low, high] = axis.spans[0];
  const [y1, y2] = [view.yOf(axis, high), view.yOf(axis, low)];
  if (Math.abs(y - y1) <= GRIP) return { end: "high", low, high };
  if (Math.abs(y - y2) <= GRIP) return { end: "low", low, high };
  return y > y1 && y < y2 ? { end: "both", low, high } : null;
}

function dragged(view, axis, { start, y, grab }) {
  const at = view.placeOf(axis, y);
  if (!grab) return [view.placeOf(axis, Math.max(start, y)), view.placeOf(axis, Math.min(start, y))];
  if (grab.end === "both") return [grab.low + at - view.placeOf(axis, start), grab.high + at - view.placeOf(axis, start)];
  const ends = grab.end === "high" ? [grab.low, at] : [at, grab.high];
  return ends[0] <= ends[1] ? ends : [ends[1], ends[0]];
}

// Arrows move the brush, with Shift its upper end; Delete takes it away.
function byKeys(view, { axis, index, hold, spans }) {
  let timer = 0;
  hold.addEventListener("keydown", (event) => {
    const up = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    const sideways = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (sideways && event.shiftKey) {
      const to = index + sideways;
      if (to >= 0 && to < view.model.axes.length) view.handlers.onMove(index, to);
    } else if (event.key === "Delete" || event.key === "Backspace") view.brushed(index, null);
    else if (up) view.brushed(index, [stepped(axis, up, event.shiftKey)]);
    else return;
    view.byKeys = true;
    event.preventDefault();
    event.stopPropagation();
    if (sideways) return;
    tell(view, axis, hold, spans);
    clearTimeout(timer);
    timer = setTimeout(() => view.handlers.onBrush(index, axis.spans), 350);
  });
}

function stepped(axis, up, widen) {
  const [from, to] = axis.range;
  const step = axis.snaps ? 1 : STEP * (to - from);
  const [low, high] = axis.spans?.[0] ?? (axis.snaps ? [from, to] : [from, to]);
  if (!axis.spans) return up > 0 ? [from + step, to] : [from, to - step];
  if (widen) return [low, Math.min(to, Math.max(low + step, high + up * step))];
  const by = Math.max(from - low, Math.min(to - high, up * step));
  return by === 0 && !widen ? [Math.max(from, low + (up > 0 ? step : 0)), high] : [low + by, high + by];
}
