// Train the trial again and compare every report: the button, what came of it, both curves. Asked for when the panel is made, and while one is under way.

import { download, get, post } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { ago, duration, money, number, plural, when } from "../core/format.js";
import { axis, clear, plain, plot } from "../core/plot.js";
import { colours } from "../core/theme.js";
import { badge, button, copyButton, panel, problemBox, toast } from "../core/ui.js";

const LOOK_MS = 1500;
const MOST = 60; // differences that are listed
const OPEN = new Set(["waiting", "running"]);
const LABELS = { waiting: "waiting for a worker", running: "training again", failed: "could not be trained again" };

export function mount(node, page) {
  const again = button("Train again and compare", ask, { kind: "primary", small: true });
  const keep = button("Save its record", save, { small: true, title: "All that is needed to train it again elsewhere" });
  const frame = panel({
    id: "reproduction",
    title: "The same again",
    tools: [keep, again],
    wide: true,
    help: "A worker trains this trial again from its record, segment by segment, and every report is compared bit for bit. The study does not notice; what it costs is shown with the answer.",
  });
  if (page.study().external) return; // clients trained it
  replace(node, frame.node);
  const picture = h("div", { class: "plot" });
  let rows = [],
    drawn = "",
    timer = 0;
  frame.loading();

  async function look() {
    clearTimeout(timer);
    try {
      rows = (await get(`${page.path}/reproductions`)).items;
      draw();
    } catch (error) {
      frame.problem(error);
    }
    if (rows.some((one) => OPEN.has(one.state))) timer = setTimeout(look, document.hidden ? 4 * LOOK_MS : LOOK_MS);
  }

  async function ask() {
    again.disabled = true;
    try {
      await post(`${page.path}/reproductions`);
      await look();
    } catch (error) {
      toast(error.message, "bad");
    }
    enable();
  }

  async function save() {
    try {
      await download(`${page.path}/record`, `${page.studyId}-${page.number}.json`);
    } catch (error) {
      toast(error.message, "bad");
    }
  }

  function enable() {
    again.disabled = rows.some((one) => OPEN.has(one.state)) || page.trial().state === "running" || !page.trial().attempt_rows.length;
  }

  function draw() {
    enable();
    const now = JSON.stringify(rows.map((one) => [one.id, one.state, one.losses]));
    if (now === drawn) return;
    drawn = now;
    clear(picture);
    if (!rows.length) {
      frame.empty("Nobody has had this trial trained again yet.");
      return;
    }
    frame.ready();
    const [newest, ...older] = rows;
    replace(frame.body, told(newest, picture), older.length ? earlier(older) : null);
    const curves = newest.document?.curves;
    if (curves && !newest.equal) overlay(picture, curves, page).catch((error) => replace(picture, problemBox(error)));
  }

  page.on("trial", enable);
  look();
}

const stateOf = (one) =>
  one.state === "done"
    ? badge(one.equal ? "finished" : "failed", { label: one.equal ? "equal bit for bit" : "not the same" })
    : badge(one.state, { label: LABELS[one.state] });

function told(one, picture) {
  const { document } = one;
  return h(
    "div",
    { class: "reproduction", dataset: { test: "reproduction", state: one.state } },
    h("p", { class: "row" }, stateOf(one), h("span", { class: "quiet", title: when(one.asked_at) }, facts(one))),
    one.verdict ? h("p", { class: "verdict" }, one.verdict) : null,
    one.reason ? h("p", { class: "reproduction-reason" }, one.reason) : null,
    document && !one.equal ? picture : null,
    document && !one.equal ? metrics(document.comparison) : null,
    document?.hints?.length ? h("ul", { class: "hints" }, document.hints.map((text) => h("li", null, text))) : null,
    document?.environment?.length ? differences(document.environment) : null,
    document?.code_change?.length ? folded("How the changes on top of the commit differ", document.code_change.join("\n")) : null,
    document?.failure?.traceback ? folded("Traceback", document.failure.traceback) : null,
    document?.comparison?.left_out?.length
      ? h("p", { class: "quiet" }, `Not compared, for they measure time: ${document.comparison.left_out.join(", ")}.`)
      : null,
  );
}

function facts(one) {
  const parts = [`asked for by ${one.asked_by}, ${ago(one.asked_at)}`];
  if (one.losses) parts.push(`${plural(one.losses, "worker")} lost over it`);
  if (one.document) parts.push(`${plural(one.document.segments, "segment")} on ${one.document.node} (${one.document.device})`);
  if (one.ended_at) parts.push(`${duration(one.seconds)}, ${money(one.cost_microdollars)}`);
  return parts.join(" · ");
}

const earlier = (rows) =>
  h(
    "details",
    { class: "launch" },
    h("summary", null, plural(rows.length, "earlier one", "earlier ones")),
    h(
      "ul",
      { class: "plain" },
      rows.map((one) => h("li", { class: "row" }, stateOf(one), h("span", { class: "quiet" }, facts(one)))),
    ),
  );

const folded = (title, text) =>
  h(
    "details",
    { class: "traceback" },
    h("summary", null, title),
    h("div", { class: "code-frame" }, h("pre", { tabindex: "0" }, text), copyButton(text)),
  );

const distance = (x) => (typeof x === "number" ? number(x) : x);

function metrics(comparison) {
  const found = Object.entries(comparison?.metrics ?? {});
  if (!found.length) return null;
  return table(
    ["Metric", "Reports", "Differ", "From step", "At most apart", "Relative"],
    found.map(([name, one]) => [
      h("bdi", null, name),
      one.reports,
      one.differ,
      one.first_step ?? "–",
      one.differ ? distance(one.absolute) : "–",
      one.differ ? distance(one.relative) : "–",
    ]),
    "How far the metrics are apart",
  );
}

const word = (value) => (value === null || value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value));

function differences(all) {
  const rows = all.slice(0, MOST).map((one) => [h("bdi", null, one.what), h("code", null, word(one.was)), h("code", null, word(one.now))]);
  const more = all.length > MOST ? h("p", { class: "quiet" }, `and ${all.length - MOST} more`) : null;
  return h("div", { dataset: { test: "differences" } }, table(["In the environment", "Then", "Now"], rows, "What differs"), more);
}

const table = (heads, rows, label) =>
  h(
    "div",
    { class: "table-box", tabindex: "0", role: "region", "aria-label": label },
    h(
      "table",
      { class: "tight reproduction-table" },
      h("thead", null, h("tr", null, heads.map((text) => h("th", { scope: "col" }, text)))),
      h("tbody", null, rows.map((cells) => h("tr", null, cells.map((cell) => h("td", null, cell))))),
    ),
  );

async function overlay(node, { metric, was, now }, page) {
  const colour = colours();
  const finite = (y) => (typeof y === "number" && Number.isFinite(y) ? y : null);
  const line = (columns, name, more) => ({
    x: columns.resource,
    y: columns.value.map(finite),
    name,
    type: "scatter",
    mode: columns.value.length < 40 ? "lines+markers" : "lines",
    marker: { size: 4.5 },
    hovertemplate: `${plain(metric)} %{y}<br>${page.facts.resourceName} %{x}<extra>${name}</extra>`,
    ...more,
  });
  await plot(
    node,
    [
      line(was, "then", { line: { color: colour.categories[0], width: 3 } }),
      line(now, "now", { line: { color: colour.categories[1], width: 1.6, dash: "dash" } }),
    ],
    { height: 220, showlegend: true, xaxis: axis(page.facts.resourceName), yaxis: axis(plain(metric)) },
    { label: `${metric} then and now, by ${page.facts.resourceName}`, height: 220 },
  );
}
