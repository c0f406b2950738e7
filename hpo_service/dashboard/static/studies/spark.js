// Best so far, at whatever resource, as a line of a word's size. Draws what it is given; its meaning in words is its label.
//
// spark({hours, value}, {name, width, height}) → svg | null

import { svg } from "../core/dom.js";
import { duration, metric } from "../core/format.js";

export function spark(line, { name = "", width = 104, height = 30 } = {}) {
  const points = (line?.value || []).map((value, i) => [line.hours[i], value]).filter(([, value]) => Number.isFinite(value));
  if (!points.length) return null;
  const label =
    points.length === 1
      ? `best value so far ${metric(name, points[0][1])}`
      : `best value so far, at any resource, went from ${metric(name, points[0][1])} to ${metric(name, points.at(-1)[1])} in ${duration(3600 * (points.at(-1)[0] - points[0][0]))}`;
  const [left, right] = [points[0][0], points.at(-1)[0]];
  const values = clipped(points.map(([, value]) => value));
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (hours) => 2 + (right > left ? (hours - left) / (right - left) : 0) * (width - 8);
  const y = (value) => height - 4 - (high > low ? (value - low) / (high - low) : 0.5) * (height - 8);
  let path = `M${x(left).toFixed(1)} ${y(values[0]).toFixed(1)}`;
  for (let i = 1; i < points.length; i += 1) path += `H${x(points[i][0]).toFixed(1)}V${y(values[i]).toFixed(1)}`;
  const end = points.length === 1 ? width - 6 : x(right);
  if (points.length === 1) path += `H${end}`;
  return svg(
    "svg",
    { class: "spark", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label },
    svg("title", null, label),
    svg("path", { class: "spark-area", d: `${path}V${height}H${x(left)}Z` }),
    svg("path", { class: "spark-line", d: path }),
    svg("circle", { class: "spark-dot", cx: end, cy: y(values.at(-1)), r: 2.5 }),
  );
}

// One hopeless first value would press the rest of the line flat: it is drawn at the edge.
function clipped(values) {
  if (values.length < 4) return values;
  const inner = [...values].sort((a, b) => a - b).slice(1, -1);
  const room = 3 * (inner.at(-1) - inner[0]) || Infinity;
  return values.map((value) => Math.max(inner[0] - room, Math.min(inner.at(-1) + room, value)));
}
