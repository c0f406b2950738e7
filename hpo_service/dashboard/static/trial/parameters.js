// The trial's parameters beside the baseline's and the best trial's; what differs is marked.

import { h, replace } from "../core/dom.js";
import { metric, NONE, number, value } from "../core/format.js";
import { copyButton, panel } from "../core/ui.js";
import { yaml } from "./copies.js";

const MOST = 300;

export function mount(node, page) {
  const frame = panel({
    id: "parameters",
    title: "Parameters",
    tools: [copyButton(() => yaml(page.trial().params), "YAML")],
    help: "Marked values differ from this trial's; beside a number: how many times this trial's it is.",
  });
  replace(node, frame.node);
  const draw = () => replace(frame.body, table(page));
  draw();
  page.on("context", draw);
}

function table(page) {
  const { params, value: mine } = page.trial();
  const around = page.context();
  const others = [
    ["Baseline", around?.baseline],
    ["Best", around?.best],
  ].filter(([, one]) => one && one.trial !== page.number);
  const known = page.facts.parameters.map((one) => one.name);
  const names = [...known, ...Object.keys(params).filter((name) => !known.includes(name))];
  const metricName = page.facts.metricName;
  const head = (label, trial) =>
    h("th", { scope: "col", class: "num" }, label, trial === undefined ? null : [" ", h("a", { href: page.trialUrl(trial) }, `#${trial}`)]);
  return h(
    "div",
    { class: "table-box", tabindex: "0", role: "region", "aria-label": "Parameters" },
    h(
      "table",
      { class: "tight parameters" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", { scope: "col" }, "Parameter"),
          head("This trial"),
          others.map(([label, one]) => head(label, one.trial)),
        ),
      ),
      h(
        "tbody",
        null,
        names.map((name) =>
          h(
            "tr",
            null,
            h("th", { scope: "row" }, h("bdi", null, name)),
            h("td", { class: "num own" }, text(params[name])),
            others.map(([, one]) => other(params[name], one.params[name])),
          ),
        ),
        h(
          "tr",
          { class: "sum" },
          h("th", { scope: "row" }, metricName),
          h("td", { class: "num own" }, metric(metricName, mine)),
          others.map(([, one]) => h("td", { class: "num" }, metric(metricName, one.value))),
        ),
      ),
    ),
  );
}

function text(one) {
  const shown = one === undefined ? NONE : value(one);
  return h(
    "span",
    { class: "value", title: typeof one === "number" ? String(one) : shown.length > 30 ? shown.slice(0, 1000) : null },
    shown.length > MOST ? `${shown.slice(0, MOST)}…` : shown,
  );
}

function other(own, theirs) {
  const differs = JSON.stringify(own) !== JSON.stringify(theirs);
  const ratio = differs && typeof own === "number" && typeof theirs === "number" && own > 0 && theirs > 0 ? theirs / own : null;
  return h(
    "td",
    { class: ["num", differs && "differs"] },
    ratio !== null &&
      Math.abs(ratio - 1) > 0.005 &&
      h("span", { class: "ratio" }, `× ${ratio >= 100 || ratio < 0.01 ? number(ratio) : Number(ratio.toPrecision(2))}`),
    text(theirs),
    differs && h("span", { class: "visually-hidden" }, " differs"),
  );
}
