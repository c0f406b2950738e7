// The seeds of each confirmed configuration on one scale: points, their mean with its 95 % interval, and what the search saw (a diamond).

import { h, svg } from "../core/dom.js";
import { metric } from "../core/format.js";

const ROW = 30;
const LEFT = 66;
const WIDTH = 440; // units: what can be read on a phone
const RIGHT = 16;
const MOST = 20;

export function seedsPicture(answer) {
  const shown = answer.configurations.slice(0, MOST).filter((one) => one.spread);
  if (!shown.length) return null;
  const values = shown.flatMap((one) => [...points(one), one.spread.low, one.spread.high, searched(one)]).filter(Number.isFinite);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const pad = (most - least) * 0.05 || Math.abs(most) * 0.02 || 1;
  const [low, high] = [least - pad, most + pad];
  const at = (x) => LEFT + ((WIDTH - LEFT - RIGHT) * (x - low)) / (high - low);
  const height = shown.length * ROW + 24;
  const label = shown.map((one) => `trial ${one.trial}: ${metric(answer.metric, one.spread.mean)}`).join("; ");
  return h(
    "figure",
    { class: "seeds" },
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": `Means over new seeds: ${label}` },
      ticks(low, high).map((tick) => [
        svg("line", { class: "seeds-grid", x1: at(tick), x2: at(tick), y1: 2, y2: height - 22 }),
        svg("text", { class: "seeds-tick", x: at(tick), y: height - 6, "text-anchor": "middle" }, metric(answer.metric, tick)),
      ]),
      shown.map((one, i) => row(one, i * ROW + ROW / 2, at)),
    ),
    h("figcaption", { class: "quiet small" }, "New seeds (points), their mean with its 95 % interval, and what the search saw (diamond)."),
  );
}

const points = ({ seeds }) => seeds.filter(({ state, value }) => state === "finished" && Number.isFinite(value)).map(({ value }) => value);
const searched = (one) => (one.searched?.compares ? one.searched.value : null);

function row(one, y, at) {
  const { mean, low, high } = one.spread;
  const saw = searched(one);
  const x = at(saw ?? 0);
  return svg(
    "g",
    null,
    svg("text", { class: "seeds-name", x: LEFT - 10, y: y + 4, "text-anchor": "end" }, `trial ${one.trial}`),
    low !== null && svg("line", { class: "seeds-interval", x1: at(low), x2: at(high), y1: y, y2: y }),
    points(one).map((value) => svg("circle", { class: "seeds-point", cx: at(value), cy: y, r: 3 })),
    svg("line", { class: "seeds-mean", x1: at(mean), x2: at(mean), y1: y - 8, y2: y + 8 }),
    saw !== null && svg("path", { class: "seeds-searched", d: `M${x} ${y - 6}L${x + 6} ${y}L${x} ${y + 6}L${x - 6} ${y}Z` }),
  );
}

function ticks(low, high) {
  const raw = (high - low) / 4;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((f) => f * size).find((one) => one >= raw) ?? raw;
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high && found.length < 12; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}
