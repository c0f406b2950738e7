// Heat colouring of numeric columns: how strong a cell's background is, from 0 to 1. Pure: no DOM.
//
// scale(values, {log}) → fn(value) → share 0..1, or null where the value takes no colour (missing, not finite, all the same).
// The middle nine tenths of the finite values span the scale, what lies beyond takes its end: one 1e20 changes nothing.

export function scale(values, { log = false } = {}) {
  const finite = values.filter((one) => typeof one === "number" && Number.isFinite(one)).sort((a, b) => a - b);
  if (finite.length < 2) return () => null;
  const [first, last] = middle(finite);
  const bend = finite[0] > 0 && (log || last / first > 1000) ? Math.log : (one) => one;
  const low = bend(first),
    high = bend(last);
  if (!(high > low)) return () => null;
  return (one) => (typeof one === "number" && Number.isFinite(one) ? Math.min(1, Math.max(0, (bend(one) - low) / (high - low))) : null);
}

// Rounded inwards, so that a single outlier among ten falls outside; of fewer than five values all count.
function middle(sorted) {
  if (sorted.length < 5) return [sorted[0], sorted.at(-1)];
  return [sorted[Math.ceil(0.05 * (sorted.length - 1))], sorted[Math.floor(0.95 * (sorted.length - 1))]];
}
