// The range of a value's axis: all of it where that can be looked at, else without what is absurdly far. Pure: no requests, no DOM.

import { isShare } from "../core/format.js";
import { robustRange } from "../core/plot.js";

const FAR = 10; // times the robust range: what makes the rest unreadable

// {range: ready for an axis, low, high, outside}; range null for none.
export function rangeOf(values, { log = false, name = "" } = {}) {
  const usable = values
    .filter((one) => typeof one === "number" && Number.isFinite(one) && (!log || one > 0))
    .map((one) => (log ? Math.log10(one) : one));
  const robust = robustRange(values, { log });
  if (!usable.length) return robust;
  const low = usable.reduce((a, b) => Math.min(a, b)),
    high = usable.reduce((a, b) => Math.max(a, b));
  const within = isShare(name) && !log && low >= 0 && high <= 1; // a share has its ends: nothing is far
  if (!within && robust.range && high - low > FAR * (robust.high - robust.low)) return robust;
  const edge = 0.04 * (high - low || Math.abs(high) || 1);
  return { range: [low - edge, high + edge], low, high, outside: 0 };
}
