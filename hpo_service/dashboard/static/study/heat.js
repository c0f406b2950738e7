// Heat colouring of numeric columns: how strong a cell's background is, from 0 to 1. Pure: no DOM.
//
// scale(values, {log}) → fn(value) → share 0..1, or null where the value takes no colour (missing, not finite, all the same).
// The middle nine tenths of the finite values span the scale, what lies beyond takes its end: one 1e20 changes nothing.

export function scale(values, { log = false } = {}) {
  const finite = values.filter((one) => typeof one === "number" && Number.isFinite(one)).sort((a, b) => a - b);
  if (finite.length < 2) return () => null;
  const decades = finite[0] > 0 && quantile(finite, 0.95) / quantile(finite, 0.05) > 1000;
  const bend = (log && finite[0] > 0) || decades ? Math.log : (one) => one;
  const low = bend(quantile(finite, 0.05)), high = bend(quantile(finite, 0.95));
  if (!(high > low)) return () => null;
  return (one) => (typeof one === "number" && Number.isFinite(one) ? Math.min(1, Math.max(0, (bend(one) - low) / (high - low))) : null);
}

function quantile(sorted, share) {
  return sorted[Math.round(share * (sorted.length - 1))];
}
