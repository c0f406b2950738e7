// The filter language as far as the page can tell without the server: terms, whether a text surely parses, completions. Pure: no requests, no DOM.
// The server has the last word (hpo_service/api/filters.py); what is unsure here is asked there.

import { quoted } from "../core/selection.js";
import { fieldsOf } from "./columns.js";

const STATES = ["waiting", "running", "paused", "finished", "stopped", "failed"];
const ORIGINS = ["baseline", "sampled", "enqueued", "retry", "imported", "portfolio", "confirm"];
const TERM = /([^\s:=!<>"',]+)\s*(!=|<=|>=|==|[:=<>])\s*("[^"]*"|'[^']*'|[^\s"'<>=!]+)(?=\s|$)/y;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const KEPT = ["yes", "no", "unknown"];
const TEXTUAL = new Set(["state", "origin", "tag", "feasible"]);

// [{name, op, value, raw, start, end}] of the terms, or null where some part is none.
function termsOf(text) {
  const found = [];
  let at = skip(text, 0);
  while (at < text.length) {
    TERM.lastIndex = at;
    const term = TERM.exec(text);
    if (!term) return null;
    found.push({ name: term[1], op: term[2], value: term[3], raw: term[0], start: at, end: TERM.lastIndex });
    at = skip(text, TERM.lastIndex);
  }
  return found;
}

function skip(text, at) {
  while (at < text.length && /\s/.test(text[at])) at += 1;
  return at;
}

// Whether `text` surely parses in this study. False means only: ask the server.
export function check(text, page) {
  const terms = termsOf(text);
  return terms !== null && terms.length <= 32 && text.length <= 4096 && terms.every((term) => sure(term, page));
}

function sure({ name, op, value }, page) {
  const isField = fieldsOf(page).includes(name);
  const bare = name.replace(/^(param|metric)\./, "");
  const isParam = !name.startsWith("metric.") && page.parameters.some((one) => one.name === bare);
  if (!isField && !isParam && !page.metrics().includes(bare)) return false;
  const values = /^["']/.test(value) ? [value.slice(1, -1)] : value.split(",").filter(Boolean);
  if (!values.length || (values.length > 1 && ![":", "=", "=="].includes(op))) return false;
  const ordered = op.startsWith("<") || op.startsWith(">");
  if (isField && TEXTUAL.has(name)) return !ordered && known(name, values);
  return (!ordered && !isField) || (!/^["']/.test(value) && values.every((one) => NUMBER.test(one)));
}

function known(name, values) {
  if (name === "state") return values.every((one) => STATES.includes(one));
  if (name === "feasible") return values.every((one) => KEPT.includes(one));
  return name !== "origin" || values.every((one) => ORIGINS.includes(one));
}

// What may stand where the caret is: {start, end, items: [{text, hint}]}. Names before an operator, values after `state:`, `origin:` or a category.
export function complete(text, caret, page) {
  let start = caret;
  while (start > 0 && !/\s/.test(text[start - 1])) start -= 1;
  const typed = text.slice(start, caret);
  const split = /^([^\s:=!<>"',]+)(!=|==|[:=])([^\s"'<>=!]*)$/.exec(typed);
  if (split) {
    const from = caret - split[3].split(",").pop().length;
    return {
      start: from,
      end: caret,
      items: matching(
        valuesOf(split[1], page).map((one) => ({ text: one, hint: "" })),
        text.slice(from, caret),
      ),
    };
  }
  if (/[:=!<>"',]/.test(typed)) return { start, end: caret, items: [] };
  return { start, end: caret, items: matching(namesOf(page), typed) };
}

function namesOf(page) {
  const params = page.parameters.filter((one) => !one.constant);
  return [
    ...fieldsOf(page).map((name) => ({ text: name + (TEXTUAL.has(name) ? ":" : ""), hint: "field of trials" })),
    ...params.map((one) => ({ text: one.name + (one.type === "category" ? ":" : ""), hint: "parameter" })),
    ...page.metrics().map((name) => ({ text: name, hint: "metric" })),
  ];
}

function valuesOf(name, page) {
  if (name === "state") return STATES;
  if (name === "origin") return ORIGINS;
  if (name === "feasible" && page.constraints.length) return KEPT;
  if (name === "tag") return page.study()?.tags ?? [];
  const one = page.parameters.find((parameter) => parameter.name === name.replace(/^param\./, ""));
  return one ? one.labels.map((label) => quoted(label)) : [];
}

function matching(items, typed) {
  const low = typed.toLowerCase();
  const begins = items.filter(({ text }) => text.toLowerCase().startsWith(low));
  const holds = low ? items.filter((one) => !begins.includes(one) && one.text.toLowerCase().includes(low)) : [];
  return [...begins, ...holds].filter(({ text }) => text.toLowerCase() !== low).slice(0, 12);
}
