// What the definition would run and cost: the answer of POST /studies/validate, drawn.
//
// preview() → {node, show(validated), stale(on), empty(text)}

import { bundle } from "../core/code.js";
import { h, replace } from "../core/dom.js";
import { duration, integer, money, number, plural } from "../core/format.js";
import { spacePicture } from "./picture.js";

const MOST_BRACKETS = 12;

export function preview() {
  const body = h("div", { class: "preview-body" });
  const note = h("p", { class: "preview-stale small", hidden: true }, "The last valid version; solve the problems to bring it up to date.");
  const node = h(
    "section",
    { class: "preview card", "aria-labelledby": "preview-title", dataset: { test: "preview" } },
    h("h2", { id: "preview-title" }, "What this will run"),
    note,
    body,
  );
  return {
    node,
    stale(on) {
      node.classList.toggle("stale", on && !node.classList.contains("nothing"));
      note.hidden = !node.classList.contains("stale");
    },
    empty(text) {
      node.classList.add("nothing");
      replace(body, h("p", { class: "quiet" }, text));
    },
    show(found) {
      node.classList.remove("nothing", "stale");
      note.hidden = true;
      replace(
        body,
        figures(found),
        brackets(found.plan, found.definition),
        notes(found.plan),
        found.definition.trainer.bundle ? bundle(found.definition.trainer.bundle) : null,
        h(
          "div",
          null,
          h("h3", null, `The space: ${plural(Object.keys(found.definition.space).length, "parameter")}`),
          spacePicture(found.definition.space, found.definition.forbid),
        ),
      );
    },
  };
}

function figures({ plan, estimate, definition }) {
  const bound = definition.budget.resource;
  const total = plan.total_resource ?? bound ?? null;
  const hours = estimate.hours === null ? null : duration(estimate.hours * 3600);
  return h(
    "div",
    null,
    h(
      "dl",
      { class: "figures" },
      figure(
        "Trials",
        plan.trials === null ? "until a budget ends" : integer(plan.trials),
        `at most ${integer(Math.min(definition.parallel, plan.trials ?? Infinity))} at a time`,
      ),
      figure(
        "Resource in all",
        total === null ? upTo(plan) || "not known" : integer(Math.round(total)),
        definition.trainer.recipe ? "epochs" : "",
      ),
      figure("Time, about", hours ?? "not known yet", ""),
      figure(
        "Cost, about",
        estimate.dollars === null ? "not known yet" : money(estimate.dollars * 1e6),
        definition.trainer.external ? "external workers" : "",
      ),
    ),
    h("p", { class: "quiet small" }, sentence(estimate.basis)),
  );
}

const figure = (label, text, sub) =>
  h(
    "div",
    { class: "figure" },
    h("dt", null, label),
    h("dd", { class: /\d/.test(text) ? null : "soft" }, text, sub && h("span", { class: "sub" }, ` ${sub}`)),
  );
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;

function upTo(plan) {
  const found = plan.notes.map((note) => note.match(/^at most (\S+) of resource/)).find(Boolean);
  return found && Number.isFinite(Number(found[1])) ? `≤ ${integer(Number(found[1]))}` : "";
}

// One row per bracket, one column per level of resource: where trials are compared, how many are left.
function brackets(plan, definition) {
  if (!plan.brackets.length) return null;
  const levels = [...new Set(plan.brackets.flatMap((one) => one.rungs.map((rung) => rung.resource)))].sort((a, b) => a - b);
  const shown = plan.brackets.slice(0, MOST_BRACKETS);
  const most = Math.max(...plan.brackets.flatMap((one) => one.rungs.map((rung) => rung.trials || 0)));
  const unit = definition.trainer.recipe ? "epochs" : "resource";
  const row = (bracket) =>
    h(
      "tr",
      null,
      h("th", { scope: "row" }, bracketName(bracket)),
      levels.map((level) =>
        cell(
          bracket.rungs.find((rung) => rung.resource === level),
          most,
        ),
      ),
    );
  return h(
    "div",
    { class: "brackets" },
    h("h3", null, `${plan.brackets.length > 1 ? "Brackets" : "Rungs"}: trials left at each level`),
    h(
      "div",
      { class: "table-box", tabindex: "0", role: "region", "aria-label": "Brackets" },
      h(
        "table",
        { class: "tight", dataset: { test: "plan" } },
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            h("th", { scope: "col" }, unit),
            levels.map((level) => h("th", { scope: "col", class: "num" }, number(level))),
          ),
        ),
        h("tbody", null, shown.map(row)),
      ),
    ),
    plan.brackets.length > shown.length &&
      h("p", { class: "quiet small" }, `Showing the first ${shown.length} of ${plan.brackets.length} brackets.`),
  );
}

const bracketName = ({ bracket, label }) => (label && /^s=/.test(label) ? `bracket ${bracket} (${label})` : label || `bracket ${bracket}`);

function cell(rung, most) {
  if (!rung) return h("td", { class: "num quiet" }, "");
  if (rung.trials === null) return h("td", { class: "num quiet", title: "decided while they run" }, "open");
  return h(
    "td",
    { class: "num share" },
    integer(rung.trials),
    h(
      "span",
      { class: "share-track", "aria-hidden": "true" },
      h("span", { class: "share-bar", style: `width:${Math.max(4, Math.round((100 * rung.trials) / most))}%` }),
    ),
  );
}

const notes = (plan) =>
  plan.notes.length
    ? h(
        "ul",
        { class: "plan-notes small quiet" },
        plan.notes.map((note) => h("li", null, sentence(note))),
      )
    : null;
