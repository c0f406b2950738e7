// Parallel coordinates on a canvas, with axes and brushes as SVG above it: thousands of lines in some tens of milliseconds, without WebGL.
//
// parallelCanvas(node, {onBrush(axisIndex, spans|null), onMove(from, to), onPick(number, event), describe(index) → [[name, text], …]})
//     → {draw(model)}; draws again by itself when its size changes
// model = {axes: [{label, title, range: [low, high], values, tickvals, ticktext, snaps: bool, spans: [[lo, hi]]|null}], numbers, shades: 0…1 | -1 (grey), colour(t), label, seq}

import { h, replace } from "../core/dom.js";
import { colours } from "../core/theme.js";
import { drawAxes } from "./parallel_svg.js";

const MARGIN = { top: 46, bottom: 16, left: 52, right: 74 };
const NEAR = 9; // pixels from a line at which it is meant
const SHADES = 24;

export function parallelCanvas(node, handlers) {
  const canvas = h("canvas", { class: "parallel-lines" });
  const over = h("canvas", { class: "parallel-lines", "aria-hidden": "true" });
  const frame = h("div", { class: "parallel-axes" });
  const tip = h("div", { class: "parallel-tip", hidden: true, "aria-hidden": "true" });
  replace(node, canvas, over, frame, tip);
  const view = { node, canvas, over, frame, tip, handlers, model: null, lit: null, hovered: -1, waiting: 0 };
  view.brushed = (axis, spans) => {
    // while a brush moves only the lines follow
    view.model.axes[axis].spans = spans;
    if (!view.waiting)
      view.waiting = requestAnimationFrame(() => {
        view.waiting = 0;
        drawLines(view);
      });
  };
  new ResizeObserver(() => {
    if (view.model && node.clientWidth !== view.width) drawAll(view);
  }).observe(node);
  listen(view);
  return {
    draw(model) {
      view.model = model;
      drawAll(view);
    },
  };
}

function drawAll(view) {
  const { node, model } = view;
  if (!node.clientWidth) return;
  view.width = node.clientWidth;
  view.height = node.clientHeight;
  layout(view);
  drawAxes(view);
  drawLines(view);
  view.canvas.setAttribute("role", "img");
  view.canvas.setAttribute("aria-label", model.label);
  node.dataset.ready = String(model.seq);
}

// Where everything lies in pixels, once per drawing.
function layout(view) {
  const { axes } = view.model;
  const inner = view.width - MARGIN.left - MARGIN.right;
  view.top = MARGIN.top;
  view.bottom = view.height - MARGIN.bottom;
  view.x = axes.map((_, i) => MARGIN.left + (axes.length > 1 ? (inner * i) / (axes.length - 1) : inner / 2));
  view.yOf = (axis, place) => view.bottom - ((place - axis.range[0]) / (axis.range[1] - axis.range[0])) * (view.bottom - view.top);
  view.placeOf = (axis, y) => axis.range[0] + ((view.bottom - y) / (view.bottom - view.top)) * (axis.range[1] - axis.range[0]);
  view.y = axes.map((axis) => Float32Array.from(axis.values, (place) => view.yOf(axis, place)));
}

function sized(canvas, { width, height }) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  return pen;
}

const inside = (spans, place) => !spans || spans.some(([low, high]) => place >= low && place <= high);

// Grey first, then the lit ones shade by shade, the strongest last: what matters lies on top.
function drawLines(view) {
  const { model } = view;
  const { axes, shades } = model;
  const count = model.numbers.length;
  const lit = new Uint8Array(count);
  let shown = 0;
  for (let i = 0; i < count; i += 1) {
    lit[i] = shades[i] !== null && shades[i] >= 0 && axes.every((axis) => inside(axis.spans, axis.values[i])) ? 1 : 0;
    shown += lit[i];
  }
  view.lit = lit;
  const pen = sized(view.canvas, view);
  const grey = [],
    groups = Array.from({ length: SHADES }, () => []);
  for (let i = 0; i < count; i += 1) (lit[i] ? groups[Math.min(SHADES - 1, Math.floor(shades[i] * SHADES))] : grey).push(i);
  pen.lineWidth = 1;
  stroke(view, pen, grey, { colour: colours().line, alpha: count - shown > 400 ? 0.25 : 0.7 });
  const alpha = Math.min(0.85, Math.max(0.07, 90 / (shown + 1))); // many lines are a density, few are lines
  pen.lineWidth = shown > 600 ? 1 : 1.3;
  groups.forEach((rows, k) =>
    stroke(view, pen, rows, { colour: model.colour((k + 0.5) / SHADES), alpha: alpha + (0.9 - alpha) * ((k + 1) / SHADES) ** 12 }),
  );
  drawHovered(view);
}

function stroke(view, pen, rows, { colour, alpha }) {
  const { x, y } = view;
  pen.strokeStyle = colour;
  pen.globalAlpha = alpha;
  for (const i of rows) {
    pen.beginPath();
    pen.moveTo(x[0], y[0][i]);
    for (let k = 1; k < x.length; k += 1) pen.lineTo(x[k], y[k][i]);
    pen.stroke();
  }
}

function drawHovered(view) {
  const pen = sized(view.over, view);
  if (view.hovered < 0) return;
  const shade = view.model.shades[view.hovered];
  for (const [width, colour] of [
    [5, colours().panel],
    [2.5, shade >= 0 ? view.model.colour(shade) : colours().quiet],
  ]) {
    pen.lineWidth = width;
    stroke(view, pen, [view.hovered], { colour, alpha: 1 });
  }
}

// The line under the cursor, of those that are lit: the one that is nearest where it passes.
function nearest(view, px, py) {
  const { x, y, lit } = view;
  const k = x.findIndex((at, i) => i < x.length - 1 && px >= at && px <= x[i + 1]);
  if (k < 0 || py < view.top - NEAR || py > view.bottom + NEAR) return -1;
  const share = (px - x[k]) / (x[k + 1] - x[k]);
  let best = -1,
    least = NEAR;
  for (let i = 0; i < lit.length; i += 1) {
    if (!lit[i]) continue;
    const away = Math.abs(y[k][i] + share * (y[k + 1][i] - y[k][i]) - py);
    if (away < least || (away === least && best >= 0 && view.model.shades[i] > view.model.shades[best])) {
      least = away;
      best = i;
    }
  }
  return best;
}

function listen(view) {
  const { node } = view;
  const at = (event) => {
    const box = node.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const point = (index, event) => {
    if (index !== view.hovered) {
      view.hovered = index;
      drawHovered(view);
      view.handlers.onHover?.(index < 0 ? null : view.model.numbers[index]);
    }
    showTip(view, event ? at(event) : null);
  };
  node.addEventListener("pointermove", (event) => {
    if (!view.model || !view.x || event.buttons || event.target.closest(".parallel-hold")) {
      point(-1, null);
      return;
    }
    point(nearest(view, ...at(event)), event);
    node.style.cursor = view.hovered >= 0 ? "pointer" : "";
  });
  node.addEventListener("pointerleave", () => point(-1, null));
  node.addEventListener("click", (event) => {
    if (!view.model || event.target.closest(".parallel-hold")) return;
    const index = nearest(view, ...at(event));
    if (index >= 0) view.handlers.onPick(view.model.numbers[index], event);
  });
}

function showTip(view, place) {
  const { tip, hovered } = view;
  tip.hidden = hovered < 0 || !place;
  if (tip.hidden) return;
  replace(
    tip,
    h("strong", null, `trial ${view.model.numbers[hovered]}`),
    h(
      "dl",
      null,
      view.handlers.describe(hovered).map(([name, text]) => [h("dt", null, name), h("dd", null, text)]),
    ),
  );
  const right = place[0] > view.width - 260;
  tip.style.left = right ? "" : `${place[0] + 14}px`;
  tip.style.right = right ? `${view.width - place[0] + 14}px` : "";
  tip.style.top = `${Math.max(0, Math.min(place[1] - 20, view.height - tip.offsetHeight))}px`;
}
