// The linked selection: the filter text in the URL. Every chart and the table show which trials match it; brushing writes it.
//
// selection.text · set(text, {push}?) · on(fn(text)) → off · clear()
// terms(text?) → [{field, op, value, raw, start, end}]      `lr>1e-3 state:failed optimizer:"two words"`; what does not parse has field "" and op ""; "=" is told as ":"
// range(field, lo, hi)     replaces this field's range terms; null leaves a side open, both null remove them
// ranges({field: [lo, hi]|null, …})  the same for several fields in one step: a box of two dimensions
// term(field, op, value)   replaces the terms of the same field and op; value null removes them; value may be an array (number:1,2,3)
// toggleNumber(n)          puts trial n into, or takes it out of, `number:…`
// remove(raw)              takes one term away
// numbers() → the trial numbers that `number:…` names
// quoted(value, {asText}?) → as a term's value is written; asText: also where it looks like a number or a truth value · FIELDS the fields of trials

import { param } from "./url.js";

const filter = param("filter", "");
// The same terms as the server's: NAME OP VALUE, a value with spaces in quotes; one that does not parse is a word by itself.
const TERM = /([^\s:=!<>"',]+)\s*(!=|<=|>=|==|[:=<>])\s*("[^"]*"|'[^']*'|[^\s"'<>=!]+)(?=\s|$)|\S+/g;
const RANGE = new Set(["<", "<=", ">", ">="]);

// A bare name is a field first; a parameter or metric that is called like one needs its prefix.
export const OF_CONSTRAINTS = ["feasible", "violation"]; // fields too, where the study has constraints
export const FIELDS = ["state", "number", "origin", "bracket", "rung", "value", "resource", "cost", "seconds", "tag"];
const PLAIN = /^[^\s"'<>=!,]+$/;
const LOOKS_OTHERWISE = /^(true|false|[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)$/i;

export function quoted(value, { asText = false } = {}) {
  const text = typeof value === "number" ? shortest(value) : String(value);
  if (PLAIN.test(text) && !(asText && LOOKS_OTHERWISE.test(text))) return text;
  return text.includes('"') ? `'${text.replaceAll("'", "")}'` : `"${text}"`; // the language has no escapes
}

function parse(text) {
  return [...text.matchAll(TERM)].map((found) => {
    const [raw, field = "", op = "", written = ""] = found;
    const value = /^["']/.test(written) ? written.slice(1, -1) : written;
    return { field, op: op === "=" || op === "==" ? ":" : op, value, raw, start: found.index, end: found.index + raw.length };
  });
}

const bare = (field) => field.replace(/^(param|metric)\./, "");
const without = (drop) =>
  parse(filter.get())
    .filter((one) => !drop(one))
    .map((one) => one.raw);

// A float32 edge of a brush needs no 17 digits.
function shortest(x) {
  return Number.isInteger(x) ? String(x) : String(Number(x.toPrecision(6))).replace("e+", "e");
}

export const selection = {
  get text() {
    return filter.get();
  },
  set(text, { push = true } = {}) {
    filter.set(text.trim().replace(/\n/g, " "), { push });
  },
  on: (fn) => filter.on(fn),
  clear() {
    this.set("");
  },
  terms: (text = filter.get()) => parse(text),
  range(field, lo, hi) {
    this.ranges({ [field]: [lo, hi] });
  },
  ranges(given) {
    const names = new Set(Object.keys(given).map(bare));
    const kept = without((one) => names.has(bare(one.field)) && RANGE.has(one.op));
    for (const [field, range] of Object.entries(given)) {
      const [lo, hi] = range ?? [];
      if (lo !== null && lo !== undefined) kept.push(`${field}>=${quoted(lo)}`);
      if (hi !== null && hi !== undefined) kept.push(`${field}<=${quoted(hi)}`);
    }
    this.set(kept.join(" "));
  },
  term(field, op, value) {
    const same = op === "=" ? ":" : op;
    const kept = without((one) => bare(one.field) === bare(field) && one.op === same);
    const values = Array.isArray(value) ? value : [value];
    if (value !== null && value !== undefined && values.length) kept.push(`${field}${op}${values.map(quoted).join(",")}`);
    this.set(kept.join(" "));
  },
  numbers() {
    const named = parse(filter.get()).filter((one) => one.field === "number" && one.op === ":");
    return named
      .flatMap((one) => one.value.split(","))
      .map(Number)
      .filter(Number.isInteger);
  },
  toggleNumber(n) {
    const now = this.numbers();
    this.term("number", ":", now.includes(n) ? now.filter((one) => one !== n) : [...now, n]);
  },
  remove(raw) {
    this.set(without((one) => one.raw === raw).join(" "));
  },
};
