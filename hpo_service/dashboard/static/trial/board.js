// The trial page put together: head, diagnosis and panels in their order.

import { byId, h, replace } from "../core/dom.js";
import { shortcut } from "../core/keys.js";
import { problemBox } from "../core/ui.js";
import { mount as artifacts } from "./artifacts.js";
import { mount as attempts } from "./attempts.js";
import { mount as curves } from "./curves.js";
import { mount as diagnosis } from "./diagnosis.js";
import { mount as environment } from "./environment.js";
import { mount as head } from "./head.js";
import { mount as lineage } from "./lineage.js";
import { mount as log } from "./log.js";
import { mount as neighbours } from "./neighbours.js";
import { mount as notes } from "./notes.js";
import { mount as parameters } from "./parameters.js";
import { mount as reproduction } from "./reproduction.js";
import { makePage } from "./state.js";

const PARTS = [
  [diagnosis, "wide"],
  [curves, "wide"],
  [lineage, "wide"],
  [parameters, ""],
  [notes, ""],
  [attempts, "wide"],
  [artifacts, "wide"],
  [log, "wide"],
  [neighbours, "wide"],
  [reproduction, "wide"],
  [environment, "wide"],
];

export async function start() {
  const { study: studyId, trial } = document.body.dataset;
  const [number, root] = [Number(trial), byId("mount")];
  const page = makePage(studyId, number);
  try {
    await page.begin();
  } catch (error) {
    replace(root, missing(error, studyId, number));
    return;
  }
  const top = h("div", { class: "trial-head" });
  const slots = PARTS.map(([mount, kind]) => ({ mount, node: h("div", { class: ["slot", kind] }) }));
  replace(
    root,
    top,
    h(
      "div",
      { class: "trial-grid" },
      slots.map((one) => one.node),
    ),
  );
  head(top, page);
  for (const { mount, node } of slots) mount(node, page);
  shortcut("]", "next trial", () => step(page, "next"));
  shortcut("[", "previous trial", () => step(page, "previous"));
  page.follow();
  document.body.dataset.ready = "1";
}

function step(page, side) {
  const to = page.context()?.[side];
  if (to !== null && to !== undefined) location.assign(page.trialUrl(to));
}

function missing(error, studyId, number) {
  const gone = error.status === 404;
  return h(
    "div",
    { class: "panel", dataset: { test: "missing" } },
    h("h1", null, gone ? `There is no trial ${number} here` : "The trial cannot be shown"),
    problemBox(error),
    h(
      "p",
      null,
      h("a", { href: `/studies/${encodeURIComponent(studyId)}?view=trials` }, "All trials of the study"),
      " · ",
      h("a", { href: "/" }, "All studies"),
    ),
  );
}
