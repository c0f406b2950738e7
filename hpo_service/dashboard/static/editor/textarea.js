// The text field of the editor: a textarea under which the same text stands in colours, with line numbers beside it.
//
// codeField({label, describedBy}) → {node, area, value, set(text, {keepUndo}?), marks(problems), goto(line, column), insert(from, to, text, cursor), lineOf(offset), caret() → {left, top, height}, on(fn)}
//     marks: [{line, rule, remedy}] shown in the gutter, as a wavy line and as a word at the line's end. on(fn): the text changed.
// Tab indents, Shift+Tab takes it back; after Escape, Tab moves on to the next control as everywhere else.

import { h } from "../core/dom.js";
import { coloured } from "./colouring.js";

const STEP = "  ";
const PAIRS = { "{": "}", "[": "]" };

export function codeField({ label, describedBy }) {
  const gutter = h("div", { class: "code-gutter", "aria-hidden": "true" });
  const paint = h("pre", { class: "code-paint", "aria-hidden": "true" });
  const area = h("textarea", {
    class: "code-area",
    id: "definition",
    "aria-label": label,
    "aria-describedby": describedBy,
    spellcheck: "false",
    autocomplete: "off",
    autocapitalize: "off",
    autocorrect: "off",
    wrap: "off",
    "aria-autocomplete": "list",
    "data-test": "editor",
  });
  const ruler = h("span", { class: "code-ruler", "aria-hidden": "true" }, "0".repeat(100));
  const box = h("div", { class: "code-box" }, paint, area, ruler);
  const node = h("div", { class: "code" }, gutter, box);
  const heard = new Set();
  let problems = [],
    free = false,
    painted = [],
    numbered = [];

  function draw() {
    const bad = Map.groupBy(
      problems.filter((one) => one.line),
      (one) => one.line,
    );
    const lines = coloured(area.value).map((tokens, i) => keyed(tokens, bad.get(i + 1) || []));
    painted = patched(paint, painted, lines, drawLine);
    numbered = patched(
      gutter,
      numbered,
      lines.map(({ words }, i) => ({ key: `${i} ${words}`, words, number: i + 1 })),
      drawNumber,
    );
    sync();
  }

  function sync() {
    paint.scrollLeft = area.scrollLeft;
    paint.scrollTop = area.scrollTop;
    gutter.scrollTop = area.scrollTop;
  }

  function changed() {
    problems = problems.map((one) => ({ ...one, old: true }));
    draw();
    for (const fn of heard) fn();
  }

  function insert(from, to, text, cursor = text.length) {
    area.focus();
    area.setSelectionRange(from, to);
    // The browser's own way of typing keeps its undo.
    if (!document.execCommand(text ? "insertText" : "delete", false, text)) {
      area.setRangeText(text, from, to, "end");
      changed();
    }
    area.setSelectionRange(from + cursor, from + cursor);
  }

  area.addEventListener("input", changed);
  area.addEventListener("scroll", sync);
  area.addEventListener("blur", () => {
    free = false;
  });
  area.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.isComposing) return;
    if (event.key === "Escape") free = true;
    else if (event.key === "Tab" && !event.ctrlKey && !event.altKey && !event.metaKey) {
      if (free) return;
      event.preventDefault();
      indent(area, event.shiftKey, insert);
    } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) newLine(event, area, insert);
    else pair(event, area, insert);
    if (!["Escape", "Shift", "Tab"].includes(event.key)) free = false;
  });

  return {
    node,
    area,
    insert,
    get value() {
      return area.value;
    },
    set(text) {
      if (area.value && document.activeElement === area) insert(0, area.value.length, text, 0);
      else {
        area.value = text;
        area.setSelectionRange(0, 0);
        changed();
      }
      area.scrollTop = 0;
    },
    marks(found) {
      problems = found;
      draw();
    },
    goto(line, column = 1) {
      const at =
        area.value
          .split("\n")
          .slice(0, line - 1)
          .reduce((sum, one) => sum + one.length + 1, 0) +
        column -
        1;
      area.focus();
      area.setSelectionRange(at, at);
      area.scrollTop = Math.max(0, (line - 6) * lineHeight());
    },
    caret() {
      const before = area.value.slice(0, area.selectionStart);
      const row = before.split("\n").length - 1;
      const column = before.length - (before.lastIndexOf("\n") + 1);
      const style = getComputedStyle(area);
      const [wide, high] = [ruler.getBoundingClientRect().width / 100, lineHeight()];
      return {
        left: parseFloat(style.paddingLeft) + column * wide - area.scrollLeft,
        top: parseFloat(style.paddingTop) + row * high - area.scrollTop,
        height: high,
        wide,
      };
    },
    on(fn) {
      heard.add(fn);
    },
  };

  function lineHeight() {
    return parseFloat(getComputedStyle(area).lineHeight);
  }
}

// Draws what changed between the lines that stayed as they were at both ends: typing redraws one line of a thousand.
function patched(place, before, after, drawOne) {
  const same = (a, b) => a !== undefined && b !== undefined && a.key === b.key;
  let first = 0,
    last = 0;
  while (same(before[first], after[first])) first += 1;
  while (last < Math.min(before.length, after.length) - first && same(before[before.length - 1 - last], after[after.length - 1 - last]))
    last += 1;
  const [kept, gone] = [before.slice(before.length - last), before.slice(first, before.length - last)];
  const made = after.slice(first, after.length - last).map((one) => ({ ...one, node: drawOne(one) }));
  const anchor = kept[0]?.node ?? null;
  for (const one of gone) one.node.remove();
  for (const one of made) place.insertBefore(one.node, anchor);
  return [...before.slice(0, first), ...made, ...kept];
}

function keyed(tokens, problems) {
  const words = problems.map((one) => [one.rule, one.remedy].filter(Boolean).join("; ")).join(" · ");
  const stale = problems.some((one) => one.old);
  return { tokens, words, stale, key: `${stale}\0${words}\0${tokens.map(({ kind, text }) => `${kind} ${text}`).join("\0")}` };
}

const drawNumber = ({ words, number }) => h("span", { class: words ? "bad" : null, title: words || null }, String(number));

function drawLine({ tokens, words, stale }) {
  const spans = tokens.map(({ kind, text }) => (kind === "plain" ? text : h("span", { class: `t-${kind}` }, text)));
  const [blank, rest] = /^\s*$/.test(tokens[0]?.text ?? "") ? [spans.slice(0, 1), spans.slice(1)] : [[], spans];
  return words
    ? h(
        "span",
        { class: ["code-line", "bad", stale && "old"] },
        blank,
        h("span", { class: "wavy" }, rest),
        h("span", { class: "code-lens" }, words),
        "\n",
      )
    : h("span", { class: "code-line" }, spans, "\n");
}

function indent(area, back, insert) {
  const { value, selectionStart: from, selectionEnd: to } = area;
  const first = value.lastIndexOf("\n", from - 1) + 1;
  if (from === to && !back) return insert(from, to, STEP);
  const lines = value.slice(first, to).split("\n");
  const moved = lines.map((line) => (back ? line.replace(/^ {1,2}/, "") : STEP + line));
  insert(first, to, moved.join("\n"));
  if (from !== to) return area.setSelectionRange(first, first + moved.join("\n").length);
  const cursor = Math.max(first, from - (lines[0].length - moved[0].length));
  return area.setSelectionRange(cursor, cursor);
}

function newLine(event, area, insert) {
  const { value, selectionStart: from, selectionEnd: to } = area;
  const line = value.slice(value.lastIndexOf("\n", from - 1) + 1, from);
  const deeper = /:\s*$/.test(line.replace(/\s#.*$/, "")) ? STEP : /^\s*- /.test(line) ? STEP : "";
  const text = `\n${line.match(/^ */)[0]}${deeper}`;
  if (text === "\n") return;
  event.preventDefault();
  insert(from, to, text);
}

function pair(event, area, insert) {
  const { value, selectionStart: from, selectionEnd: to } = area;
  if (event.ctrlKey || event.metaKey || event.altKey || from !== to) return;
  if (event.key in PAIRS && /^(\s|$|[,}\]])/.test(value.slice(from))) {
    event.preventDefault();
    insert(from, to, event.key + PAIRS[event.key], 1);
  } else if ((event.key === "}" || event.key === "]") && value[from] === event.key) {
    event.preventDefault();
    area.setSelectionRange(from + 1, from + 1);
  } else if (event.key === "Backspace" && value[from - 1] in PAIRS && value[from] === PAIRS[value[from - 1]]) {
    event.preventDefault();
    insert(from - 1, from + 1, "", 0);
  }
}
