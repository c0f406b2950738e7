// The space as small pictures: of each parameter its range, its scale and how likely each part of it is.
//
// spacePicture(space, forbid) → node

import { h, svg } from "../core/dom.js";
import { number, plural, value } from "../core/format.js";

const WIDE = 168,
  HIGH = 30,
  MOST = 24;
const LOG = new Set(["loguniform", "qloguniform", "log_integer", "lognormal", "power_of_two"]);

export function spacePicture(space, forbid = []) {
  const rows = Object.entries(space).map(([name, one]) =>
    h(
      "tr",
      null,
      h(
        "th",
        { scope: "row", class: "mono wrap" },
        h("bdi", null, name),
        one.when && h("span", { class: "quiet small space-when" }, condition(one.when)),
      ),
      h("td", { class: "space-shape" }, shape(one)),
      h("td", { class: "space-kind" }, h("span", null, range(one)), h("span", { class: "quiet small" }, kind(one))),
    ),
  );
  return h(
    "div",
    null,
    h("table", { class: "tight space-table", "aria-label": "The parameters, with their ranges" }, h("tbody", null, rows)),
    forbid.length ? h("p", { class: "quiet small" }, `${plural(forbid.length, "combination")} left out by forbid.`) : null,
  );
}

const SIGNS = { "==": "=", "!=": "≠", ">=": "≥", "<=": "≤", ">": ">", "<": "<", in: "in", not_in: "not in" };
const listed = (one) => (Array.isArray(one) ? one.map(value).join(" or ") : value(one));

function condition(when) {
  const one = ([name, rule]) =>
    rule && typeof rule === "object" && !Array.isArray(rule)
      ? Object.entries(rule)
          .map(([sign, bound]) => `${name} ${SIGNS[sign] || sign} ${listed(bound)}`)
          .join(", ")
      : `${name} = ${listed(rule)}`;
  return `only where ${Object.entries(when).map(one).join(", ")}`;
}

function range(one) {
  if (one.values) return plural(one.values.length, "value");
  if (one.type === "constant") return value(one.value);
  if (one.type === "normal" || one.type === "lognormal") return `μ ${number(one.mu)}, σ ${number(one.sigma)}`;
  return `${number(one.low)} – ${number(one.high)}`;
}

function kind(one) {
  const step = one.step && one.step !== 1 ? `, step ${number(one.step)}` : "";
  const fallback = one.default !== undefined && one.default !== null ? `, first ${value(one.default)}` : "";
  const words = {
    uniform: "even",
    quniform: "even",
    loguniform: "log scale",
    qloguniform: "log scale",
    integer: "whole",
    log_integer: "whole, log scale",
    power_of_two: "powers of two",
    choice: "choice",
    ordinal: "in order",
    normal: "normal",
    lognormal: "log-normal",
    constant: "always",
  };
  return `${words[one.type] || one.type}${step}${fallback}`;
}

function shape(one) {
  const label = `${range(one)}, ${kind(one)}`;
  const texts = one.values || (one.type === "constant" ? [one.value] : null);
  if (texts)
    return h(
      "div",
      { class: "space-values", title: texts.map(value).join(", ") },
      texts.slice(0, 6).map((each) => h("span", { class: "chip" }, h("bdi", { class: "chip-text" }, value(each)))),
      texts.length > 6 && h("span", { class: "quiet small" }, `+${texts.length - 6}`),
    );
  const steps = discrete(one);
  const inner = steps ? bars(steps, one) : [svg("path", { class: "space-area", d: curve(one) })];
  const at = position(one, one.default);
  return svg(
    "svg",
    { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "space-svg", role: "img", "aria-label": label },
    LOG.has(one.type) && !steps ? grid(one) : null,
    inner,
    svg("line", { class: "space-axis", x1: 0, x2: WIDE, y1: HIGH - 0.5, y2: HIGH - 0.5 }),
    at === null
      ? null
      : svg("path", { class: "space-first", d: `M${at} ${HIGH - 7}l4 7h-8z` }, svg("title", null, `tried first: ${value(one.default)}`)),
  );
}

function ends(one) {
  if (one.type === "normal") return [one.low ?? one.mu - 3 * one.sigma, one.high ?? one.mu + 3 * one.sigma];
  if (one.type === "lognormal") return [Math.exp(one.mu - 3 * one.sigma), Math.exp(one.mu + 3 * one.sigma)];
  return [one.low, one.high];
}

function position(one, x) {
  if (typeof x !== "number") return null;
  const [low, high] = ends(one);
  const share = LOG.has(one.type) ? Math.log(x / low) / Math.log(high / low) : (x - low) / (high - low);
  return Number.isFinite(share) ? 4 + Math.max(0, Math.min(1, share)) * (WIDE - 8) : null;
}

// Every value where they are few: whole numbers, powers of two, steps.
function discrete(one) {
  if (one.type === "power_of_two") {
    const from = Math.ceil(Math.log2(one.low)),
      to = Math.floor(Math.log2(one.high));
    return Array.from({ length: to - from + 1 }, (_, i) => 2 ** (from + i));
  }
  const step = one.step || (/integer/.test(one.type) ? 1 : null);
  if (!step || (one.high - one.low) / step + 1 > MOST) return null;
  return Array.from({ length: Math.floor((one.high - one.low) / step + 1e-9) + 1 }, (_, i) => one.low + i * step);
}

function bars(steps, one) {
  const even = !/qlog|log_integer/.test(one.type);
  return steps.map((x, i) => {
    const share = even ? 1 : Math.log((x + 0.5) / Math.max(x - 0.5, 0.1)) / Math.log((steps[0] + 0.5) / Math.max(steps[0] - 0.5, 0.1));
    const at = position(one, x) ?? 4 + ((i + 0.5) * (WIDE - 8)) / steps.length;
    return svg(
      "rect",
      { class: "space-bar", x: at - 2, y: HIGH - 2 - share * (HIGH - 12), width: 4, height: share * (HIGH - 12) + 1, rx: 1 },
      svg("title", null, value(x)),
    );
  });
}

function curve(one) {
  const [top, base] = [9, HIGH - 1];
  if (one.type !== "normal" && one.type !== "lognormal") return `M4 ${base}V${top}H${WIDE - 4}V${base}z`;
  const [low, high] = one.type === "lognormal" ? [-3, 3] : ends(one).map((x) => (x - one.mu) / one.sigma);
  const points = Array.from({ length: 49 }, (_, i) => low + ((high - low) * i) / 48);
  return `M4 ${base}${points.map((z, i) => `L${(4 + (i * (WIDE - 8)) / 48).toFixed(1)} ${(base - (base - 4) * Math.exp((-z * z) / 2)).toFixed(1)}`).join("")}L${WIDE - 4} ${base}z`;
}

// A line at each decade says at a glance that the scale is logarithmic.
function grid(one) {
  const [low, high] = ends(one);
  const from = Math.ceil(Math.log10(low) + 1e-9),
    to = Math.floor(Math.log10(high) - 1e-9);
  return Array.from({ length: Math.max(0, Math.min(20, to - from + 1)) }, (_, i) => {
    const x = position(one, 10 ** (from + i));
    return svg("line", { class: "space-decade", x1: x, x2: x, y1: 3, y2: HIGH });
  });
}
