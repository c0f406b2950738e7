// The filter bar: the linked selection as text, with completion, errors shown at their place, chips for its terms and how many trials match.

import { ApiError } from "../core/api.js";
import { h, later, replace } from "../core/dom.js";
import { integer } from "../core/format.js";
import { shortcut } from "../core/keys.js";
import { chip } from "../core/ui.js";
import { completer } from "./completion.js";
import { check } from "./filter_check.js";

const PAUSE_MS = 450; // after the last key, where the text surely parses
const COUNT_MS = 5000; // at most so often on live changes

export function mount(node, page) {
  const parts = frame(page);
  replace(node, parts.node);
  parts.input.value = page.selection.text;
  listen(parts, page);
  page.selection.on(() => {
    if (parts.input.value.trim() !== page.selection.text) parts.input.value = page.selection.text;
    drawChips(parts, page);
    tellProblem(parts, null);
  });
  page.on("problem", (error) => tellProblem(parts, error));
  counting(parts, page);
  drawChips(parts, page);
  if (page.problem) tellProblem(parts, page.problem);
}

function frame(page) {
  const input = h("input", {
    type: "text",
    class: "filter-input",
    id: "filter",
    autocomplete: "off",
    autocapitalize: "off",
    spellcheck: "false",
    dir: "ltr",
    placeholder: example(page),
    role: "combobox",
    "aria-expanded": "false",
    "aria-autocomplete": "list",
    "aria-controls": "filter-options",
    "aria-describedby": "filter-problem",
    maxlength: "4096",
    dataset: { test: "filter" },
  });
  const parts = {
    input,
    marks: h("div", { class: "filter-marks", "aria-hidden": "true" }),
    options: h("ul", { class: "filter-options", id: "filter-options", role: "listbox", "aria-label": "Completions", hidden: true }),
    problem: h("p", { class: "filter-problem", id: "filter-problem", role: "alert", hidden: true }),
    chips: h("div", { class: "row filter-chips", role: "group", "aria-label": "Terms of the filter" }),
    count: h("span", { class: "filter-count", role: "status", dataset: { test: "filter-count" } }),
    clear: h(
      "button",
      {
        type: "button",
        class: "button quiet small",
        hidden: true,
        dataset: { test: "filter-clear" },
        on: { click: () => page.selection.clear() },
      },
      "Clear",
    ),
  };
  parts.node = h(
    "div",
    { class: "filter-bar" },
    h(
      "div",
      { class: "filter-row" },
      h("label", { for: "filter", class: "filter-label" }, "Filter"),
      h("div", { class: "filter-box" }, parts.marks, input, h("kbd", { class: "filter-key", "aria-hidden": "true" }, "/"), parts.options),
      parts.count,
      parts.clear,
    ),
    parts.problem,
    parts.chips,
  );
  return parts;
}

// A filter that means something in this study.
function example(page) {
  const one = page.parameters.find(({ type, low }) => type === "number" && low !== null);
  const middle = one && (one.log ? Math.sqrt(one.low * one.high) : (one.low + one.high) / 2);
  return `${one ? `${one.name}>${Number(middle.toPrecision(1))} ` : ""}state:finished`;
}

function listen(parts, page) {
  const { input } = parts;
  let typing = false; // the first change since the field was entered makes an entry in the history, the others replace it
  const apply = () => {
    page.selection.set(input.value, { push: !typing });
    typing = true;
  };
  const soon = later(PAUSE_MS, () => {
    if (check(input.value, page)) apply();
  });
  const completion = completer(parts, page, soon);
  input.addEventListener("input", () => {
    replace(parts.marks);
    completion.update();
    soon();
  });
  input.addEventListener("focus", () => {
    typing = false;
  });
  input.addEventListener("blur", () => {
    completion.close();
    if (input.value.trim() !== page.selection.text) apply();
  });
  input.addEventListener("scroll", () => {
    parts.marks.scrollLeft = input.scrollLeft;
  });
  input.addEventListener("keydown", (event) => {
    if (completion.key(event)) return;
    if (event.key === "Enter") {
      // what was entered stays in the history
      apply();
      typing = false;
      event.preventDefault();
    }
    if (event.key === "Escape") input.blur();
  });
  shortcut("/", "filter the trials", () => {
    input.focus();
    input.select();
  });
}

// Where the text breaks a rule: the server names the place; the part there is underlined and the rule told below.
function tellProblem(parts, error) {
  const { input, problem, marks } = parts;
  problem.hidden = !error;
  input.toggleAttribute("aria-invalid", Boolean(error));
  if (!error) {
    replace(marks);
    return;
  }
  const found = error instanceof ApiError ? (error.problems.find(({ path }) => path === "filter") ?? error.problems[0]) : null;
  const rule = found?.rule ?? error.message;
  const at = /at position (\d+)/.exec(rule);
  const text = input.value;
  const start = at ? Math.min(Number(at[1]) - 1, text.length) : 0;
  const length = at ? Math.max(1, text.slice(start).search(/\s|$/)) : text.length;
  replace(
    marks,
    text.slice(0, start),
    h("span", { class: "filter-wrong" }, text.slice(start, start + length) || " "),
    text.slice(start + length),
  );
  marks.scrollLeft = input.scrollLeft;
  const words = at ? rule.replace(/at position \d+,?\s*/, "") : rule;
  const told = [words, found?.remedy].filter(Boolean).join("; ");
  replace(
    problem,
    at ? h("strong", null, `“${text.slice(start, start + length).slice(0, 60)}”: `) : null,
    told,
    /[.?!…]$/.test(told) ? "" : ".",
  );
}

function drawChips(parts, page) {
  const terms = gathered(page.selection.terms());
  replace(
    parts.chips,
    terms.map((term) =>
      chip(term.words, {
        title: term.raw.slice(0, 200),
        remove: term.remove ? () => term.remove(page.selection) : () => page.selection.remove(term.raw),
        click: () => {
          parts.input.focus();
          parts.input.setSelectionRange(term.start, term.end);
        },
      }),
    ),
  );
  parts.chips.hidden = !terms.length;
  parts.clear.hidden = !page.selection.text;
}

const SIGNS = { ">=": "≥", "<=": "≤", "!=": "≠", ">": ">", "<": "<", ":": "is", "=": "is" };

// Both ends of a range are one chip.
function gathered(terms) {
  const low = (one) => one.op.startsWith(">"),
    high = (one) => one.op.startsWith("<");
  const found = [];
  for (const term of terms) {
    const other = found.find((one) => one.field && one.field === term.field && ((low(one) && high(term)) || (high(one) && low(term))));
    if (!other) {
      found.push({ ...term, words: words(term) });
      continue;
    }
    const [from, to] = low(other) ? [other, term] : [term, other];
    Object.assign(other, {
      op: "",
      words: `${from.value} ${from.op === ">" ? "<" : "≤"} ${term.field} ${to.op === "<" ? "<" : "≤"} ${to.value}`,
      raw: `${other.raw} ${term.raw}`,
      remove: (selection) => selection.range(term.field, null, null),
    });
  }
  return found;
}

function words({ field, op, value, raw }) {
  if (!field) return raw.slice(0, 60);
  const parts = value.split(",");
  if (field === "number" && parts.length > 3) return `${integer(parts.length)} trials chosen`;
  const said = value.length > 40 ? `${value.slice(0, 40)}…` : parts.join(" or ");
  return `${field} ${SIGNS[op] ?? op} ${said}`;
}

// "1,234 of 100,000 trials match": asked for when the filter changes, and seldom while the study moves.
function counting(parts, page) {
  let last = 0,
    timer = 0,
    asked = 0;
  const say = (matching) => {
    const all = page.study().trials;
    replace(
      parts.count,
      matching === null
        ? `${integer(all)} ${all === 1 ? "trial" : "trials"}`
        : [h("strong", null, integer(matching)), ` of ${integer(all)} match`],
    );
  };
  async function count() {
    last = Date.now();
    const mine = ++asked;
    if (!page.filter) {
      say(null);
      return;
    }
    const answer = await page.get("/trials", { limit: 1 }).catch(() => null);
    if (!answer || mine !== asked) return;
    page.learnMetrics(answer.items.flatMap((trial) => Object.keys(trial.values ?? {})));
    say(answer.total);
  }
  page.on("filter", count);
  page.on("changes", () => {
    if (!page.filter) {
      say(null);
      return;
    }
    clearTimeout(timer);
    timer = setTimeout(count, Math.max(0, last + COUNT_MS - Date.now()));
  });
  count();
}
