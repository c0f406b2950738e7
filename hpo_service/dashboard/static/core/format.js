// Numbers, times and values as people read them. All return strings; what is missing is "–".
//
// number(x) 3.2e-4, 0.0123, 12,345 · metric(name, x) 97.8 % where the name is accuracy-like and x in 0..1, else number · integer(n) 12,345
// percent(0.42) 42 % · duration(s) 45 s, 2 min, 1 h 20 min, 3 d · money(microdollars) $0.42 · ago(date|s) 5 min ago · when(date|s) 21 Nov 2026, 11:05
// bytes(n) 1.5 GB · value(any parameter value) · params({lr: 0.1}) "lr=0.1, …" · isShare(name) accuracy-like? · plural(n, "trial") "3 trials"
// clip(text, most) → at most so many letters of it, without what would turn its direction
// seconds(date|s) → seconds since 1970 (number)

export const NONE = "–";
const SHARES = /(^|[^a-z])(acc|accuracy|auc|auroc|f1|precision|recall)([^a-z]|$)|accuracy/i;
const grouped = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });
const WORDS = { NaN: "not a number", Infinity: "∞", "-Infinity": "−∞" };

const isNumber = (x) => typeof x === "number" && Number.isFinite(x);

export function number(x) {
  if (typeof x === "string" && x in WORDS) return WORDS[x];
  if (typeof x === "number" && !Number.isFinite(x)) return WORDS[String(x)];
  if (!isNumber(x)) return NONE;
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size < 1e-3 || size >= 1e9)
    return minus(
      x
        .toExponential(2)
        .replace(/\.?0+e/, "e")
        .replace("e+", "e"),
    );
  if (size >= 1e4 || Number.isInteger(x)) return minus(grouped.format(x));
  return minus(String(Number(x.toPrecision(4))));
}

export const isShare = (name) => SHARES.test(String(name || ""));

export function metric(name, x) {
  if (!isNumber(x) || !isShare(name) || x < 0 || x > 1) return number(x);
  return x === 0 || x === 1 ? percent(x, 0) : `${(100 * x).toFixed(x > 0.99 ? 2 : 1)} %`; // one length in a column: 98.0 %, not 98 %
}

export const integer = (n) => (isNumber(n) ? minus(grouped.format(n)) : NONE);

export function percent(x, digits = 1) {
  if (!isNumber(x)) return NONE;
  const text = (100 * x).toFixed(digits);
  return `${minus(digits ? text.replace(/\.0+$/, "") : text)} %`;
}

export function duration(s) {
  if (!isNumber(s)) return NONE;
  if (s < 0.0995) return `${integer(s * 1000)} ms`;
  if (s < 9.95) return `${Number(s.toFixed(1))} s`;
  if (s < 99.5) return `${Math.round(s)} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 24 * 60) return both(Math.floor(minutes / 60), "h", minutes % 60, "min");
  const hours = Math.round(s / 3600);
  return both(Math.floor(hours / 24), "d", hours % 24, "h");
}

export function money(micro) {
  if (!isNumber(micro)) return NONE;
  const dollars = micro / 1e6;
  if (dollars === 0) return "$0";
  if (dollars < 1e-4) return "< $0.0001";
  if (dollars < 0.01) return `$${Number(dollars.toPrecision(2))}`;
  return `$${dollars >= 1000 ? grouped.format(dollars) : dollars.toFixed(2)}`;
}

export function seconds(date) {
  if (isNumber(date)) return date;
  if (date instanceof Date) return date.getTime() / 1000;
  const at = Date.parse(date);
  return Number.isNaN(at) ? NaN : at / 1000;
}

export function ago(date) {
  const at = seconds(date);
  if (!isNumber(at)) return NONE;
  const past = Date.now() / 1000 - at;
  if (Math.abs(past) < 5) return "just now";
  const text = past > 86400 * 2 ? `${Math.floor(past / 86400)} d` : duration(Math.round(Math.abs(past)));
  return past < 0 ? `in ${text}` : `${text.replace(/ (\d+) min$/, (all) => (text.includes("h") ? "" : all))} ago`;
}

export function when(date) {
  const at = seconds(date);
  if (!isNumber(at)) return NONE;
  return new Date(at * 1000).toLocaleString("en-GB", {
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
  });
}

export function bytes(n) {
  if (!isNumber(n)) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  let size = n,
    unit = 0;
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1000;
    unit += 1;
  }
  return `${unit && size < 9.95 ? Number(size.toFixed(1)) : Math.round(size)} ${units[unit]}`;
}

export function value(any) {
  if (any === null || any === undefined) return NONE;
  if (typeof any === "number") return number(any);
  if (typeof any === "boolean") return any ? "true" : "false";
  if (typeof any === "string") return any;
  return JSON.stringify(any);
}

export const params = (given) =>
  Object.entries(given || {})
    .map(([name, one]) => `${name}=${value(one)}`)
    .join(", ");
// Why a trial is where it is; of one that came to the end of a segment, what it waits for.
export const reasonOf = ({ state, reason, resource }) =>
  state === "paused" && (!reason || reason === "reached")
    ? `paused at resource ${number(resource)}: goes on when the search calls for it`
    : reason || "";

export const plural = (n, noun, many = `${noun}s`) => `${integer(n)} ${n === 1 ? noun : many}`;

export function clip(text, most) {
  const letters = [...String(text).replace(/[\u0000-\u001f\u007f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, " ")];
  return letters.length > most ? `${letters.slice(0, most - 1).join("")}…` : letters.join("");
}

const minus = (text) => text.replace(/-(?=[\d.])/g, (sign, at) => (at === 0 ? "−" : sign));
const both = (big, bigUnit, small, unit) => (small ? `${big} ${bigUnit} ${small} ${unit}` : `${big} ${bigUnit}`);
