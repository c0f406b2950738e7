// What is wrong with the definition, as a list that leads to the lines; told to screen readers when it changes.
//
// problemList(field) → {node, show(problems), checking(), unreachable(error)}

import { h, later, replace } from "../core/dom.js";
import { icon } from "../core/ui.js";
import { plural } from "../core/format.js";

const SETTLED_MS = 900; // who types hears of a mistake when it stays

export function problemList(field) {
  const state = h("p", { class: "check-state", dataset: { test: "check" } });
  const list = h("ul", { class: "check-list" });
  const told = h("p", { class: "visually-hidden", role: "alert", "aria-live": "assertive" });
  const node = h("div", { class: "check", id: "problems" }, state, list, told);
  let said = "";
  const tell = later(SETTLED_MS, (words) => {
    told.textContent = words;
  });

  function say(kind, words) {
    node.dataset.state = kind;
    replace(state, h("span", { class: "check-mark", "aria-hidden": "true" }, { good: "✓", bad: "✕", busy: "…", lost: "!" }[kind]), words);
  }

  return {
    node,
    checking() {
      if (node.dataset.state !== "bad") say("busy", "Checking …");
    },
    unreachable(error) {
      say("lost", error.message);
      replace(list);
    },
    show(problems) {
      say(problems.length ? "bad" : "good", problems.length ? `${plural(problems.length, "problem")} to solve` : "Valid: ready to submit.");
      replace(
        list,
        problems.map((one) => entry(one, field)),
      );
      const first = problems[0];
      const words = first
        ? `${plural(problems.length, "problem")}. ${first.line ? `Line ${first.line}: ` : ""}${[first.path, first.rule].filter(Boolean).join(": ")}. ${first.remedy || ""}`
        : said
          ? "The definition is valid."
          : "";
      if (words !== said) tell(words);
      field.area.setAttribute("aria-invalid", String(problems.length > 0));
      said = words;
    },
  };
}

function entry(problem, field) {
  const words = [
    !/^line \d/.test(problem.path) && problem.path && h("code", null, problem.path),
    h("span", null, problem.rule, value(problem)),
    problem.remedy && h("span", { class: "check-remedy" }, icon("right"), problem.remedy),
  ];
  if (!problem.line) return h("li", null, h("div", { class: "check-entry" }, words));
  return h(
    "li",
    null,
    h(
      "button",
      { type: "button", class: "check-entry", on: { click: () => field.goto(problem.line, problem.column || 1) } },
      h("span", { class: "check-line" }, `line ${problem.line}`),
      words,
    ),
  );
}

const value = ({ value: given }) => (given && given !== "None" ? `, but got ${given.length > 60 ? `${given.slice(0, 59)}…` : given}` : "");
