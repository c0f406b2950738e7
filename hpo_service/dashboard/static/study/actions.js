// What a reader can do to a study from its page: steer it, change its budget, take its trials away. Dialogs and requests; the header places the buttons.

import { ApiError, download, patch, post } from "../core/api.js";
import { plural } from "../core/format.js";
import { h } from "../core/dom.js";
import { confirmed, dialog, icon, menu, toast } from "../core/ui.js";
import { confirmWinner } from "./confirm.js";

const GOES_ON = ["finished", "stopped", "failed"];

// [{id, label, kind, run}] that fit the study's state, the usual one first.
export function actionsFor(page) {
  const { state, counts } = page.study();
  const running = state === "running" || state === "preflight";
  return [
    running && {
      id: "pause",
      label: "Pause",
      title: "Launch nothing more; running segments pause at their next report",
      run: () => steer(page, "pause", "Paused"),
    },
    state === "paused" && { id: "resume", label: "Resume", kind: "primary", run: () => steer(page, "resume", "Resumed") },
    GOES_ON.includes(state) && {
      id: "resume",
      label: "Go on",
      title: "Resume this study; one that has used up its budget needs a larger one",
      run: () => steer(page, "resume", "Going on"),
    },
    (running || state === "paused") && {
      id: "stop",
      label: "Stop",
      kind: "danger",
      title: "End the study; running trials are cancelled",
      run: () => stop(page),
    },
    GOES_ON.includes(state) &&
      page.study().best &&
      !page.definition().confirms && {
        id: "confirm",
        label: "Confirm the winner",
        title: "Train the best trials again with new seeds: is the winner real?",
        run: () => confirmWinner(page),
      },
    counts.failed > 0 && {
      id: "retry",
      label: `Retry ${counts.failed} failed`,
      title: "Failed trials are tried again as new trials; those tried again before are left out",
      run: () => retry(page),
    },
  ].filter(Boolean);
}

export function moreMenu(page) {
  const button = h("button", { type: "button", class: "button quiet", "aria-label": "More actions" }, "More", icon("down"));
  const fileName = (end) => `${page.study().name.replace(/[^\w.-]+/g, "_").slice(0, 80)}${end}`;
  const report = (format, label) => ({
    label: `Save the report (${label})`,
    run: () => attempt(() => download(page.path(`/report.${format}`), fileName(`-report.${format}`))),
  });
  const save = (format) => ({
    label: `Export ${format === "parquet" ? "Parquet" : format.toUpperCase()}`,
    run: () =>
      attempt(() =>
        download(
          `${page.path("/export")}?format=${format}`,
          fileName(`.${format}`),
        ),
      ),
  });
  return menu(button, () => [
    { label: "Change budget and parallel …", run: () => edit(page) },
    { label: "Clone into a new study", run: () => location.assign(`/new?clone=${encodeURIComponent(page.id)}`) },
    { label: "Compare with another study", run: () => location.assign(`/compare?study=${encodeURIComponent(page.id)}`) },
    report("html", "HTML"),
    report("md", "Markdown"),
    save("csv"),
    save("json"),
    save("parquet"),
    {
      label: "Save as an archive",
      run: () => attempt(() => download(page.path("/archive"), fileName(".hpo"))),
    },
  ]);
}

async function attempt(work, done = "") {
  try {
    const answer = await work();
    if (done) toast(typeof done === "function" ? done(answer) : done, "good");
    return answer;
  } catch (error) {
    toast(error.message, "bad");
    return null;
  }
}

async function steer(page, verb, done) {
  await attempt(() => post(page.path(`/${verb}`)), done);
  return page.reload();
}

async function stop(page) {
  const { counts } = page.study();
  const text = `${counts.running ? `${plural(counts.running, "running trial")} will be cancelled. ` : ""}What was reported is kept, and the study can go on later.`;
  if (await confirmed(text, { title: "Stop this study?", yes: "Stop the study", kind: "danger" })) await steer(page, "stop", "Stopped");
}

async function retry(page) {
  await attempt(
    () => post(page.path("/retry"), { failed: true }),
    ({ trials }) =>
      trials.length
        ? `${plural(trials.length, "failed trial")} tried again as new trials`
        : "Every failed trial has been tried again before",
  );
  return page.reload();
}

const FIELDS = [
  { path: "parallel", label: "Parallel", hint: "most attempts open at the same time", step: "1", required: true },
  { path: "budget.trials", label: "Trials", hint: "number of trials", step: "1" },
  { path: "budget.resource", label: "Resource", hint: "sum over the trials", step: "any" },
  { path: "budget.hours", label: "Hours", hint: "since the first dispatch", step: "any" },
  { path: "budget.dollars", label: "Dollars", hint: "by the prices in the settings", step: "any" },
  { path: "budget.patience", label: "Patience", hint: "trials in a row without improvement, or auto", step: "1", word: "auto" },
  { path: "budget.worth", label: "Worth", hint: "dollars per unit of the objective, for patience auto", step: "any" },
  { path: "budget.target", label: "Target", hint: "ends the study when the objective reaches it", step: "any" },
];
const valueAt = (definition, path) => path.split(".").reduce((at, name) => at?.[name], definition);

// A small form over what may change while a study lives. Only what was changed is sent.
export async function edit(page) {
  const definition = page.definition();
  const rows = FIELDS.map((field) => row(field, valueAt(definition, field.path)));
  const problem = h("p", { class: "field-problem", role: "alert", hidden: true });
  const body = h(
    "div",
    { class: "edit-budget" },
    h("p", { class: "quiet" }, "Whichever bound is reached first ends the study; an empty field is no bound."),
    h(
      "div",
      { class: "edit-grid" },
      rows.map(({ node }) => node),
    ),
    problem,
  );
  const save = () => {
    send(page, rows, problem).then((sent) => sent && body.closest("dialog")?.close());
    return false; // the dialog stays until the server agreed
  };
  await dialog({
    title: "Budget and parallel",
    body,
    actions: [
      { id: "cancel", label: "Cancel" },
      { id: "save", label: "Save", kind: "primary", check: save },
    ],
  });
}

function row({ path, label, hint, step, required, word }, now) {
  const id = `edit-${path.replace(".", "-")}`;
  const input = h("input", {
    id,
    type: word ? "text" : "number",
    inputmode: word ? "text" : null,
    step: word ? null : step,
    min: word || path.endsWith("target") ? null : "0",
    value: now ?? "",
    required: Boolean(required),
    placeholder: "no bound",
    "aria-describedby": `${id}-hint`,
  });
  const problem = h("p", { class: "field-problem", hidden: true });
  const node = h(
    "div",
    { class: "edit-row" },
    h("label", { for: id }, label),
    input,
    h("p", { id: `${id}-hint`, class: "quiet small" }, hint),
    problem,
  );
  return { path, input, problem, node, before: now ?? null };
}

function changesOf(rows) {
  const body = {};
  for (const { path, input, before } of rows) {
    const text = input.value.trim();
    const now = text === "" ? null : Number.isNaN(Number(text)) ? text : Number(text);
    if (now === before) continue;
    const [head, name] = path.split(".");
    if (name) (body[head] ??= {})[name] = now;
    else body[head] = now;
  }
  return body;
}

async function send(page, rows, problem) {
  const body = changesOf(rows);
  if (!Object.keys(body).length) return true;
  try {
    await patch(page.path(), body);
  } catch (error) {
    tell(error, rows, problem);
    return false;
  }
  toast("Saved. It holds from the next decision on.", "good");
  page.reload();
  return true;
}

function tell(error, rows, problem) {
  let placed = false;
  const problems = error instanceof ApiError ? error.problems : [];
  for (const { path, problem: at, input } of rows) {
    const mine = problems.find((one) => one.path === path);
    at.textContent = mine ? [mine.rule, mine.remedy].filter(Boolean).join("; ") : "";
    at.hidden = !mine;
    input.toggleAttribute("aria-invalid", Boolean(mine));
    placed ||= Boolean(mine);
  }
  problem.textContent = placed ? "" : error.message;
  problem.hidden = placed;
}
