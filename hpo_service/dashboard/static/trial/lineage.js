// The schedule of a trial that went on from another one's weights: which parameters trained from where to where.
// Empty for any other trial.

import { get } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { metric, NONE, number as num, value } from "../core/format.js";
import { copyButton, panel, problemBox } from "../core/ui.js";
import { yaml } from "./copies.js";

export function mount(node, page) {
  if (page.trial().parent === null) return;
  let stages = [];
  const frame = panel({
    id: "lineage",
    title: "Schedule",
    tools: [copyButton(() => yaml(schedule(stages)), "YAML")],
    help: "This trial went on from the weights of others. Each row trained between two levels with its parameters; what changed there is marked.",
  });
  replace(node, frame.node);
  const draw = async () => {
    try {
      ({ stages } = await get(`${page.path}/lineage`));
      replace(frame.body, table(page, stages));
    } catch (error) {
      replace(frame.body, problemBox(error));
    }
  };
  draw();
  page.on("trial", draw);
}

// What copies: from and to, with the parameters between them.
function schedule(stages) {
  return {
    schedule: stages.map((one) => ({ from: one.from_resource, to: one.to_resource, params: one.params })),
  };
}

function table(page, stages) {
  const names = page.facts.parameters.map((one) => one.name).filter((name) => stages.some((one) => one.changed.includes(name)));
  const { metricName, resourceName } = page.facts;
  const unit = resourceName.replace(/^./, (first) => first.toUpperCase());
  return h(
    "div",
    { class: "table-box", tabindex: "0", role: "region", "aria-label": "Schedule" },
    h(
      "table",
      { class: "tight lineage" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          h("th", { scope: "col" }, unit),
          h("th", { scope: "col" }, "Trial"),
          names.map((name) => h("th", { scope: "col", class: "num" }, h("bdi", null, name))),
          h("th", { scope: "col", class: "num" }, `${metricName} at its end`),
        ),
      ),
      h(
        "tbody",
        null,
        stages.map((one) =>
          h(
            "tr",
            { dataset: { test: `stage-${one.trial}` } },
            h("th", { scope: "row" }, `${num(one.from_resource)} – ${num(one.to_resource)}`),
            h("td", null, h("a", { href: page.trialUrl(one.trial), "aria-current": one.trial === page.number ? "page" : null }, `trial ${one.trial}`)),
            names.map((name) => cell(one, name)),
            h("td", { class: "num" }, metric(metricName, one.value)),
          ),
        ),
      ),
    ),
  );
}

function cell(stage, name) {
  const changed = stage.changed.includes(name);
  return h(
    "td",
    { class: ["num", changed && "differs"] },
    h("span", { class: "value" }, name in stage.params ? value(stage.params[name]) : NONE),
    changed && h("span", { class: "visually-hidden" }, " changed"),
  );
}
