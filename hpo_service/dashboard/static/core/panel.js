// The frame of every chart, and what stands in it while there is nothing to show. (ui.js exports all of this too.)
//
// panel({id, title, help, tools: [nodes], wide}) → {node, body, tools, loading(), problem(error), empty(text|node), note(text), ready()}
//     node is a <section data-test="panel-ID">; draw into body; loading() shows a skeleton if body is empty, else marks it busy and keeps what it shows;
//     ready() (or drawing and then note()) ends that. note = the line below: "showing 2,000 of 100,000 trials: every 50th, and all improvements".
// emptyState({title, text, actions: [nodes], icon}) → node · skeleton(lines) → node · problemBox(error, retry?) → node

import { h, replace } from "./dom.js";

export function skeleton(lines = 3) {
  return h(
    "div",
    { class: "skeleton", role: "status", "aria-label": "Loading" },
    Array.from({ length: lines }, (_, i) => h("span", { style: `width:${[92, 78, 85, 64][i % 4]}%` })),
  );
}

export function emptyState({ title, text = "", actions = [], icon = null }) {
  return h(
    "div",
    { class: "empty" },
    icon,
    h("p", { class: "empty-title" }, title),
    text && h("p", { class: "quiet" }, text),
    actions.length ? h("div", { class: "row center" }, actions) : null,
  );
}

export function problemBox(error, retry = null) {
  const problems = (error.problems || []).filter((one) => one.rule).slice(0, 5);
  return h(
    "div",
    { class: "problem", role: "alert" },
    h("p", null, h("strong", null, error.status === 0 ? "Not reachable. " : "This did not work. "), error.message || String(error)),
    problems.length > 1 &&
      h(
        "ul",
        null,
        problems.map((one) => h("li", null, [one.path, one.rule].filter(Boolean).join(": "), one.remedy && ` (${one.remedy})`)),
      ),
    retry && h("button", { type: "button", class: "button quiet small", on: { click: retry } }, "Try again"),
  );
}

export function panel({ id, title, help = "", tools = [], wide = false }) {
  const bar = h("div", { class: "panel-tools" }, tools);
  const body = h("div", { class: "panel-body" });
  const line = h("p", { class: "panel-note quiet", hidden: true });
  const about = h("p", { class: "panel-help", id: `help-${id}`, hidden: true }, help);
  const ask =
    help &&
    h(
      "button",
      {
        type: "button",
        class: "icon-button help",
        "aria-label": `What does “${title}” show?`,
        "aria-expanded": "false",
        "aria-controls": `help-${id}`,
        on: {
          click: () => {
            about.hidden = !about.hidden;
            ask.setAttribute("aria-expanded", String(!about.hidden));
          },
        },
      },
      "?",
    );
  const node = h(
    "section",
    { class: ["panel", wide && "wide"], id: `panel-${id}`, "aria-labelledby": `title-${id}`, dataset: { test: `panel-${id}` } },
    h("header", { class: "panel-head" }, h("h2", { id: `title-${id}` }, title), ask, bar),
    about,
    body,
    line,
  );
  const idle = () => {
    node.removeAttribute("aria-busy");
    body.querySelector(":scope > .skeleton, :scope > .problem, :scope > .empty")?.remove();
  };
  return {
    node,
    body,
    tools: bar,
    loading() {
      node.setAttribute("aria-busy", "true");
      if (!body.childNodes.length) body.append(skeleton(4));
    },
    ready: idle,
    problem(error) {
      if (error?.name === "AbortError") return;
      idle();
      line.hidden = true;
      replace(body, problemBox(error));
    },
    empty(text) {
      idle();
      line.hidden = true;
      replace(body, text instanceof Node ? text : h("div", { class: "empty" }, h("p", null, text)));
    },
    note(text) {
      idle();
      replace(line, text || "");
      line.hidden = !text;
    },
  };
}
