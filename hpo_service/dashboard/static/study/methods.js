// How trials are trained: the method of each structure, and what it was chosen by (/methods).

import { h, replace } from "../core/dom.js";
import { integer, NONE, number, plural, value } from "../core/format.js";
import { whileSeen } from "../core/seen.js";
import { chip, emptyState, panel } from "../core/ui.js";
import { source, step } from "./methodwords.js";

const MOST = 200;
const NUMBERS = new Set(["Lanes", "Step, plain", "Step, fused", "Gain"]);

export async function mount(node, page) {
  const frame = panel({
    id: "methods",
    title: "How trials are trained",
    wide: true,
    help:
      "Trials that are equal in every parameter but the lanes can be trained together, as lanes of one program. Whether that is faster is measured on a worker, once for each structure. " +
      "A step is one of the optimiser, its time divided by the trials that share it.",
  });
  replace(node, frame.node);
  frame.loading();
  const state = { seq: -1, shared: "", last: 0, timer: 0, stale: false };

  async function draw() {
    state.stale = false;
    state.last = Date.now();
    try {
      const answer = await page.get("/methods", { filter: null });
      const seq = Math.max(0, ...answer.items.map((one) => one.seq));
      const shared = sharing(page.definition());
      if (seq === state.seq && shared === state.shared) return;
      Object.assign(state, { seq, shared });
      if (!answer.items.length) {
        const { title, text } = nothing(page.definition());
        return frame.empty(emptyState({ title, text: [text, shared].filter(Boolean).join(" ") }));
      }
      frame.ready();
      replace(frame.body, table(answer.items));
      frame.note([note(answer), shared].filter(Boolean).join("; "));
    } catch (error) {
      if (state.seq < 0) frame.problem(error);
    }
    return undefined;
  }

  whileSeen(node, page, state, draw);
  await draw();
}

// How many workers share a GPU by the service's choice; empty where each has one to itself, or it was not asked to choose.
function sharing({ resources }) {
  const gpu = resources?.gpu ?? 0;
  if (gpu === 1 && resources.share === "auto") return "Whether several workers share a GPU is chosen after the first trials.";
  if (gpu <= 0 || gpu >= 1) return "";
  const workers = `${integer(Math.floor(1 / gpu + 1e-9))} workers share a GPU`;
  return resources.share === "auto" ? `${workers}; the event log says why.` : `${workers}.`;
}

function nothing({ trainer, resources, parallel }) {
  const lanes = resources?.lanes ?? "auto";
  if (trainer?.external) return { title: "Trained elsewhere", text: "External workers train one trial at a time, each as it likes." };
  const own = { function: "A function", ray_tune: "A Ray Tune trainable", optuna: "An Optuna objective" };
  const kind = Object.keys(own).find((name) => trainer?.[name]);
  if (kind) return { title: "One by one", text: `${own[kind]} trains one trial at a time: only recipes can train several together.` };
  if (lanes === "off" || lanes === 1)
    return {
      title: "One by one",
      text: "resources.lanes says so. Set it to auto to have it measured whether training together is faster.",
    };
  if (parallel < 2) return { title: "One by one", text: "parallel is 1, so there are never two trials to train together." };
  return {
    title: "Not measured yet",
    text: "A worker measures it before the first trials start. Recipes without lanes are trained one by one.",
  };
}

function table(items) {
  const shown = items.slice(0, MOST);
  const names = [...new Set(shown.flatMap((one) => Object.keys(one.structure)))];
  const varied = names.filter((name) => new Set(shown.map((one) => JSON.stringify(one.structure[name]))).size > 1);
  const columns = varied.length ? varied : names.slice(0, 1);
  const head = [...columns, "Method", "Lanes", "Step, plain", "Step, fused", "Gain", "Known from", "Device", "Why"];
  return h(
    "div",
    { class: "table-box", tabindex: "0", role: "region", "aria-label": "Methods" },
    h(
      "table",
      { class: "tight methods" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          head.map((text, i) =>
            h("th", { scope: "col", class: i >= columns.length && NUMBERS.has(text) ? "num" : null }, h("bdi", null, text)),
          ),
        ),
      ),
      h(
        "tbody",
        null,
        shown.map((one) => row(one, columns)),
      ),
    ),
  );
}

function row({ structure, method, width, measured, source: from, device, reason }, columns) {
  const { plain, fused, gain } = step(measured, width);
  return h(
    "tr",
    null,
    columns.map((name) => h("td", null, h("bdi", null, name in structure ? value(structure[name]).slice(0, 60) : NONE))),
    h("td", null, chip(method, { kind: method === "fused" ? "accent" : "" })),
    h("td", { class: "num" }, method === "fused" ? integer(width) : NONE),
    h("td", { class: "num nowrap" }, plain ?? NONE),
    h("td", { class: "num nowrap" }, fused ?? NONE),
    h("td", { class: "num nowrap" }, gain === null ? NONE : `${number(Number(gain.toPrecision(2)))} ×`),
    h("td", null, source(from)),
    h("td", { class: "nowrap" }, h("bdi", null, device || NONE)),
    h("td", { class: "why" }, h("bdi", null, reason.slice(0, 400))),
  );
}

function note({ lanes, items }) {
  const fused = items.filter((one) => one.method === "fused").length;
  return [
    `${plural(items.length, "structure")}, ${integer(fused)} fused`,
    items.length > MOST ? `showing ${MOST} of ${integer(items.length)}` : "",
    lanes.length ? `lanes: ${lanes.slice(0, 20).join(", ")}${lanes.length > 20 ? ` and ${lanes.length - 20} more` : ""}` : "",
  ]
    .filter(Boolean)
    .join("; ");
}
