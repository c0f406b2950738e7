// The page of a new study: an editor of its definition beside what it would run and cost.
//
// URL: ?template=NAME begins with a ready definition, ?clone=ID with that of a study.

import { get, headers, post } from "../core/api.js";
import { byId, h, later, replace } from "../core/dom.js";
import { button, problemBox, toast } from "../core/ui.js";
import { completing } from "../editor/completion.js";
import { draft } from "../editor/draft.js";
import { fields } from "../editor/fields.js";
import { outline } from "../editor/outline.js";
import { preview } from "../editor/preview.js";
import { problemList } from "../editor/problems.js";
import { codeField } from "../editor/textarea.js";

const WAIT_MS = 300;
const asked = new URLSearchParams(location.search);
const clone = asked.get("clone");
const place = clone ? `clone:${clone}` : "new";

const field = codeField({ label: "The study's definition, YAML", describedBy: "editor-help" });
const problems = problemList(field);
const run = preview();
const about = h("p", { class: "field-about small quiet", dataset: { test: "about" } });
const chooser = h("div", { class: "templates", role: "group", "aria-label": "Begin with" });
const submit = button("Submit study", send, { kind: "primary" });
const original = h("bdi", null, clone || "");
let schema = null,
  templates = [],
  pristine = "",
  checking = null,
  checked = "",
  sending = false;

completing(field, () => schema);
const check = later(WAIT_MS, validate);

field.on(() => {
  draft.keep(place, field.value);
  problems.checking();
  check();
  mark();
});
document.addEventListener(
  "selectionchange",
  later(80, () => {
    if (document.activeElement === field.area) explain();
  }),
);
addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  send();
});

function frame() {
  const help = h(
    "p",
    { class: "editor-help small quiet", id: "editor-help" },
    key("Ctrl"),
    key("Space"),
    " completes · ",
    key("Tab"),
    " indents, after ",
    key("Esc"),
    " it moves on · ",
    key("Ctrl"),
    key("Enter"),
    " submits",
  );
  replace(
    byId("mount"),
    h("div", { class: "page-head" }, h("h1", null, clone ? "New study, from another" : "New study"), submit),
    clone
      ? h(
          "p",
          { class: "quiet from" },
          "A copy of ",
          h("a", { href: `/studies/${encodeURIComponent(clone)}` }, original),
          ": change what you like; the study itself stays as it is.",
        )
      : null,
    h("div", { class: "begin" }, h("span", { class: "quiet small begin-label" }, clone ? "Or begin with" : "Begin with"), chooser),
    h(
      "div",
      { class: "writing" },
      h(
        "section",
        { class: "editor card", "aria-label": "Definition" },
        field.node,
        h("footer", { class: "editor-foot" }, about, help),
        problems.node,
      ),
      run.node,
    ),
  );
}

const key = (name) => h("kbd", null, name);

function showTemplates() {
  replace(
    chooser,
    templates.map((one) =>
      h(
        "button",
        { type: "button", class: "template", title: one.description, dataset: { name: one.name }, on: { click: () => begin(one) } },
        one.title,
      ),
    ),
  );
  mark();
}

function mark() {
  const like = templates.find((one) => one.yaml === field.value)?.name;
  for (const one of chooser.children) one.setAttribute("aria-pressed", String(one.dataset.name === like));
}

function begin(template) {
  const before = field.value;
  const own = before.trim() && before !== pristine && !templates.some((one) => one.yaml === before);
  field.set(template.yaml);
  field.area.focus();
  if (own)
    toast(`Replaced your text by “${template.title}”.`, "info", { action: { label: "Bring it back", run: () => field.set(before) } });
}

function explain() {
  if (!schema) return;
  const doc = outline(field.value);
  const here = doc.at(field.area.selectionStart);
  const parts = here && (here.kind === "value" ? here.parts : [...here.parts, field.value.slice(here.from, here.to).trim()]);
  const found = parts && (schema.at(parts, doc) || schema.at(parts.slice(0, -1), doc));
  replace(about, found ? [h("code", null, found.title), ` ${found.description}`] : "Put the cursor on a field to read what it does.");
}

async function validate() {
  checking?.abort();
  const mine = (checking = new AbortController());
  const text = field.value;
  if (!text.trim()) return nothing();
  try {
    const found = await post("/studies/validate", text, { type: "application/yaml", signal: mine.signal });
    if (checking !== mine) return;
    field.marks([]);
    problems.show([]);
    run.show(found);
  } catch (error) {
    if (error.name === "AbortError" || checking !== mine) return;
    refused(error);
  } finally {
    if (checking === mine) checked = text;
    byId("mount").dataset.checked = String(checked.length);
  }
}

function refused(error) {
  run.stale(true);
  if (!error.problems?.length) return problems.unreachable(error);
  field.marks(error.problems);
  problems.show(error.problems);
  if (!run.node.querySelector("dl")) run.empty("The plan appears here once the definition is valid.");
  return undefined;
}

function nothing() {
  field.marks([]);
  problems.show([]);
  problems.node.dataset.state = "busy";
  run.empty("Write a definition, or begin with one of those above.");
}

async function send() {
  if (sending) return;
  sending = true;
  submit.disabled = true;
  try {
    const study = await post("/studies", field.value, { type: "application/yaml" });
    draft.forget(place);
    location.assign(`/studies/${encodeURIComponent(study.id)}`);
  } catch (error) {
    refused(error);
    toast(error.problems?.length ? "Not submitted: the definition has problems." : error.message, "bad");
    const first = error.problems?.find((one) => one.line);
    if (first) field.goto(first.line, first.column);
  } finally {
    sending = false;
    submit.disabled = false;
  }
}

// get() reads JSON, and this answer is YAML.
async function copied() {
  const answer = await fetch(`/api/v1/studies/${encodeURIComponent(clone)}/definition.yaml`, { headers: headers() });
  if (answer.status === 401) dispatchEvent(new CustomEvent("hpo:sign-in"));
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).detail || `The server answered ${answer.status}.`);
  return answer.text();
}

async function start() {
  frame();
  get("/schema").then(
    (found) => {
      schema = fields(found);
      explain();
    },
    () => {
      /* without it the editor only completes nothing */
    },
  );
  if (clone)
    get(`/studies/${encodeURIComponent(clone)}`).then(
      (study) => replace(original, study.name),
      () => {
        /* its id says enough */
      },
    );
  const kept = draft.read(place);
  const [ready, own] = await Promise.allSettled([get("/templates"), clone ? copied() : Promise.resolve("")]);
  templates = ready.status === "fulfilled" ? ready.value.items : [];
  if (own.status === "rejected") byId("mount").prepend(problemBox(own.reason));
  const named = templates.find((one) => one.name === asked.get("template"));
  pristine = own.value || named?.yaml || templates[0]?.yaml || "";
  const text = named && !kept ? named.yaml : (kept ?? pristine);
  showTemplates();
  field.set(named && asked.has("template") ? named.yaml : text);
  if (kept !== null && kept !== pristine && kept.trim() && !named)
    toast("Your text of last time is here again.", "info", {
      action: {
        label: "Begin afresh",
        run: () => {
          field.set(pristine);
          draft.forget(place);
        },
      },
    });
  else if (named && kept && kept !== named.yaml && !templates.some((one) => one.yaml === kept))
    toast("Your draft was replaced by the template.", "info", { action: { label: "Bring it back", run: () => field.set(kept) } });
}

start();
