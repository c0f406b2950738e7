// What a choice of method was made by, in words. Pure: no requests, no DOM.
//
// source(word) "measured" … · step(measured, width) → {plain, fused: text or null, gain: how many times as fast, or null}

const SOURCES = {
  measured: "measured",
  earlier: "measured for an earlier study",
  set: "set in the definition",
  assumed: "as the nearest structure",
  out_of_memory: "it did not fit in memory",
  failed: "could not be measured",
};

export const source = (word) => SOURCES[word] ?? String(word ?? "").replaceAll("_", " ");

export function step(measured, width) {
  const plain = seconds(measured?.plain_s);
  const by = measured?.fused_s ?? {};
  const tried = Object.keys(by).map(Number);
  // Of a structure that stays plain, what fusing would have come to at best.
  const at = String(width) in by ? width : tried.length ? tried.reduce((a, b) => (by[b] < by[a] ? b : a)) : null;
  const fused = at === null ? null : seconds(by[String(at)]);
  return {
    plain: plain === null ? null : long(plain),
    fused: fused === null ? null : `${long(fused)}${at === width ? "" : ` in ${at} lanes`}`,
    gain: plain && fused ? plain / fused : null,
  };
}

const seconds = (x) => (typeof x === "number" && Number.isFinite(x) ? x : null);

// Three digits: steps take from microseconds to seconds.
function long(s) {
  const [x, unit] = s >= 0.9995 ? [s, "s"] : s >= 0.0009995 ? [s * 1e3, "ms"] : [s * 1e6, "µs"];
  return `${Number(x.toPrecision(3))} ${unit}`;
}
