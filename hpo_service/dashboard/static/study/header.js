// The head of the study page: name, state and why, best value, progress against each bound, trials by state, cost and rate. Patched in place.

import { h, replace } from "../core/dom.js";
import * as format from "../core/format.js";
import { badge, copyButton, progress } from "../core/ui.js";
import { actionsFor, edit, moreMenu } from "./actions.js";
import { bounds } from "./bounds.js";
import { mount as mountConfirmations } from "./confirmations.js";

const STATES = ["running", "waiting", "paused", "finished", "stopped", "failed"];

export function mount(node, page) {
  const parts = frame(page);
  replace(node, parts.node);
  const draw = () => patchAll(parts, page);
  page.on("study", draw);
  draw();
  mountConfirmations(parts.confirmations, page);
  // What counts by the clock: time left, elapsed. Cheap, and only while it runs and is looked at.
  setInterval(() => {
    if (!document.hidden && page.study().state === "running") patchTimes(parts, page);
  }, 10000);
}

function frame(page) {
  const parts = {
    name: h("h1", { class: "study-name", dir: "auto" }),
    badge: h("span", { class: "study-badge", role: "status" }),
    reason: h("div", { class: "study-reason", dir: "auto" }),
    confirmations: h("div", { class: "study-confirmations", hidden: true }),
    actions: h("div", { class: "row study-actions" }),
    best: h("div", { class: "fact fact-best" }),
    bounds: h("div", { class: "fact fact-bounds" }),
    states: h("div", { class: "fact fact-states" }),
    spend: h("div", { class: "fact fact-spend" }),
    sub: h("p", { class: "quiet small study-sub" }),
    rate: h("p", { class: "small quiet", dataset: { test: "rate" } }),
    age: h("time", { datetime: page.study().created_at, title: format.when(page.study().created_at) }),
  };
  const study = page.study();
  replace(
    parts.sub,
    h("span", null, h("code", null, study.id), copyButton(study.id)),
    algorithm(page),
    h("span", null, "project ", h("bdi", null, study.project)),
    h("span", null, "by ", h("bdi", null, study.created_by)),
    parts.age,
  );
  parts.node = h(
    "div",
    { class: "study-head", dataset: { test: "study-header" } },
    h(
      "div",
      { class: "study-title" },
      h(
        "div",
        { class: "study-title-text" },
        h("nav", { "aria-label": "Breadcrumb", class: "crumbs" }, h("a", { href: "/" }, "Studies")),
        h("div", { class: "row study-line" }, parts.name, parts.badge),
      ),
      parts.sub,
      h("div", { class: "row study-actions-bar" }, parts.actions, moreMenu(page)),
    ),
    parts.reason,
    parts.confirmations,
    h("div", { class: "facts" }, parts.best, parts.bounds, parts.states, parts.spend),
  );
  return parts;
}

// `auto` says what it picked; why, and what it began from, where one points at it.
function algorithm(page) {
  const name = page.definition().algorithm.name.replaceAll("_", " ");
  const { chosen, warm_start: warm } = page.study();
  if (!chosen) return h("span", null, name);
  const text = chosen.text.slice(0, chosen.text.length - chosen.reason.length).replace(/: $/, "");
  const why = [`Picked because: ${chosen.reason}.`, warm ? `Begins from ${warm.text}.` : ""].join("\n").trim();
  return h("span", { title: why, dataset: { test: "algorithm" } }, `${name}: ${text}`);
}

function patchAll(parts, page) {
  const study = page.study();
  document.title = `${study.name} · ${study.state}`;
  parts.name.textContent = study.name;
  if (parts.badge.dataset.state !== study.state) {
    parts.badge.dataset.state = study.state;
    replace(parts.badge, badge(study.state));
  }
  patchActions(parts, page);
  patchReason(parts, study);
  patchBest(parts, page);
  patchStates(parts, page);
  patchTimes(parts, page);
}

// Buttons keep the focus: they are made anew only when others are to be offered.
function patchActions(parts, page) {
  const actions = actionsFor(page);
  const key = actions.map(({ id, label }) => id + label).join();
  if (parts.actions.dataset.key === key) return;
  parts.actions.dataset.key = key;
  const kept = parts.actions.contains(document.activeElement) ? document.activeElement.dataset.test : null;
  replace(
    parts.actions,
    actions.map(({ id, label, kind = "quiet", title, run }) =>
      h(
        "button",
        {
          type: "button",
          class: ["button", kind],
          title,
          dataset: { test: id },
          on: {
            click: async (event) => {
              const { currentTarget } = event;
              currentTarget.disabled = true;
              await run();
              currentTarget.disabled = false;
            },
          },
        },
        label,
      ),
    ),
  );
  if (kept) (parts.actions.querySelector(`[data-test="${kept}"]`) ?? parts.actions.querySelector("button"))?.focus();
}

function patchReason(parts, study) {
  const ended = ["finished", "stopped", "failed", "paused"].includes(study.state);
  const label = study.ending_reason ? "Ending: " : ended ? "Why: " : "Last decision: ";
  const text = study.ending_reason || (ended ? study.reason : study.decision_reason || study.reason);
  if (parts.reason.dataset.text === label + text) return; // what was opened stays open
  parts.reason.dataset.text = label + text;
  const [first, ...more] = (text ?? "").trimEnd().split("\n");
  replace(
    parts.reason,
    first ? h("p", null, h("span", { class: "quiet" }, label), first) : null,
    more.length
      ? h("details", null, h("summary", { class: "small" }, "Traceback"), h("pre", { class: "small", tabindex: 0 }, more.join("\n")))
      : null,
  );
}

function patchBest(parts, page) {
  const { best } = page.study();
  const name = page.metricName;
  if (!best || best.value === null) {
    replace(
      parts.best,
      term(`Best ${name}`),
      h("p", { class: "fact-big quiet" }, "–"),
      h("p", { class: "quiet small" }, "no trial has a value yet"),
      kept(page),
    );
    return;
  }
  replace(
    parts.best,
    term(best.breaks ? `Nearest to feasible: ${name}` : `Best ${name}`),
    h(
      "p",
      { class: ["fact-big", best.breaks && "quiet"], title: String(best.value) },
      format.metric(name, best.value),
      h("span", { class: "fact-arrow quiet", title: page.maximize ? "higher is better" : "lower is better" }, page.maximize ? " ↑" : " ↓"),
    ),
    h(
      "p",
      { class: "small" },
      h("a", { href: page.trialUrl(best.trial) }, `trial ${best.trial}`),
      !best.resource ? null : h("span", { class: "quiet" }, ` at ${page.resourceText(best.resource)}`),
    ),
    best.breaks
      ? h("p", { class: "small breaks", dataset: { test: "best-breaks" } }, `No trial is known to keep all constraints; this one ${best.breaks}.`)
      : kept(page),
    h("p", { class: "small quiet clip", title: format.params(best.params) }, format.params(best.params)),
  );
}

// What trials have to keep to.
function kept(page) {
  const words = page.constraints.map(({ metric, sign, bound }) => `${metric} ${sign} ${format.metric(metric, bound)}`);
  return words.length
    ? h("p", { class: "small quiet study-constraints", title: words.join(", "), dataset: { test: "constraints" } }, `with ${words.join(", ")}`)
    : null;
}

function patchStates(parts, page) {
  const study = page.study();
  const shown = STATES.filter((state) => study.counts[state]);
  const bar = h(
    "div",
    { class: "state-bar", "aria-hidden": "true" },
    shown.map((state) => h("span", { class: ["state-part", state], style: `flex-grow:${study.counts[state]}` })),
  );
  const legend = shown.map((state) =>
    h(
      "button",
      {
        type: "button",
        class: "state-count",
        title: `Select the ${state} trials`,
        dataset: { test: `count-${state}` },
        on: { click: () => page.selection.term("state", ":", state) },
      },
      badge(state),
      h("span", { class: "num" }, format.integer(study.counts[state])),
    ),
  );
  const kept = parts.states.contains(document.activeElement) ? document.activeElement.dataset.test : null;
  replace(
    parts.states,
    term(format.plural(study.trials, "trial")),
    shown.length ? bar : h("p", { class: "quiet small" }, "none started yet"),
    h("div", { class: "state-legend" }, legend),
    parts.rate,
  );
  if (kept) parts.states.querySelector(`[data-test="${kept}"]`)?.focus();
}

function patchTimes(parts, page) {
  const study = page.study();
  replace(
    parts.bounds,
    h(
      "div",
      { class: "fact-head" },
      term("Budget"),
      h("button", { type: "button", class: "link small", "aria-label": "Change budget", on: { click: () => edit(page) } }, "Change"),
    ),
    h("div", { class: "bounds" }, bounds(page).map(boundRow)),
  );
  parts.age.textContent = `created ${format.ago(study.created_at)}`;
  const { trials_per_hour: trials, resource_per_hour: resource } = study.rate ?? {};
  const end = study.ended_at ? format.seconds(study.ended_at) : Date.now() / 1000;
  const elapsed = study.started_at ? end - format.seconds(study.started_at) : null;
  replace(
    parts.spend,
    term("Cost"),
    h("p", { class: "fact-big" }, format.money(study.cost_microdollars)),
    h(
      "p",
      { class: "small quiet" },
      elapsed === null ? "not started" : `${format.duration(elapsed)} ${study.ended_at ? "in all" : "so far"}`,
    ),
    study.resource ? h("p", { class: "small quiet" }, `${page.resourceText(Math.round(study.resource * 100) / 100)} in all`) : null,
  );
  replace(
    parts.rate,
    study.state === "running" && trials
      ? `${format.number(round(trials))} trials${resource ? ` and ${format.number(round(resource))} ${page.resourceName}` : ""} per hour`
      : "",
  );
}

const round = (x) => (x >= 100 ? Math.round(x) : Number((x ?? 0).toPrecision(2)));
const term = (text) => h("p", { class: "fact-term" }, text);

function boundRow({ name, label, used, limit, text, left, share }) {
  return h(
    "div",
    { class: "bound", dataset: { test: `bound-${name}` } },
    h(
      "div",
      { class: "bound-words" },
      h("span", { class: "bound-name" }, label),
      h("span", null, text),
      h("span", { class: "bound-left" }, left),
    ),
    share === null ? null : progress({ value: used, max: limit, label: `${label}: ${text}` }),
  );
}
