// One study as the cells of a row. Knows how a study looks, not where it stands in the list.
//
// COLUMNS: [{id, label, sort, class}] · cells(study, {onTag, onOwner, onState}) → {id: node}

import { h } from "../core/dom.js";
import { ago, duration, integer, metric, money, number, plural, when } from "../core/format.js";
import { badge, chip, progress, stateIcon } from "../core/ui.js";
import { nearest } from "./list.js";
import { spark } from "./spark.js";

export const COLUMNS = [
  { id: "study", label: "Study", sort: "name" },
  { id: "state", label: "State", sort: "state" },
  { id: "progress", label: "Progress", sort: "-progress" },
  { id: "trials", label: "Trials", sort: "-trials" },
  { id: "best", label: "Best value", sort: "best", class: "num" },
  { id: "spark", label: "Best so far" },
  { id: "cost", label: "Cost", sort: "-cost", class: "num" },
];
const ORDER = ["finished", "stopped", "paused", "running", "waiting", "failed"];
const TAG_LETTERS = 22;

export function cells(study, on) {
  return {
    study: title(study, on),
    state: state(study, on),
    progress: budget(study),
    trials: trials(study),
    best: best(study),
    spark: spark(study.sparkline, { name: study.metric }) || nothing(),
    cost: cost(study),
  };
}

const nothing = () => h("span", { class: "quiet" }, "–");

function title(study, { onTag, onOwner }) {
  const shown = fitting(study.tags);
  return h(
    "div",
    { class: "study-title" },
    h("a", { class: "study-name", href: `/studies/${encodeURIComponent(study.id)}`, title: study.name }, h("bdi", null, study.name)),
    h(
      "div",
      { class: "study-sub quiet" },
      h("span", { class: "age", dataset: { at: study.created_at }, title: when(study.created_at) }, ago(study.created_at)),
      " · ",
      h(
        "button",
        { type: "button", class: "link", title: `Only studies of ${study.created_by}`, on: { click: () => onOwner(study.created_by) } },
        h("bdi", null, study.created_by),
      ),
      shown.map((tag) => chip(tag, { click: () => onTag(tag), title: `Only studies tagged ${tag}` })),
      study.tags.length > shown.length
        ? h("span", { title: study.tags.slice(shown.length).join(", ") }, `+${study.tags.length - shown.length}`)
        : null,
    ),
  );
}

// As many tags as fit beside age and owner: half a word of a tag says less than "+2".
function fitting(tags) {
  let room = TAG_LETTERS;
  return tags.filter((tag, i) => {
    room -= Math.min(14, tag.length) + 2;
    return i === 0 || room >= 0;
  });
}

function state(study, { onState }) {
  const label = study.ending_reason && study.state === "running" ? "ending" : study.state;
  const why = study.ending_reason || study.reason;
  const mark = badge(study.state, { label });
  return h(
    "button",
    {
      type: "button",
      class: "bare",
      title: why ? `${study.state}: ${why}` : `Only ${study.state} studies`,
      on: { click: () => onState(study.state) },
    },
    mark,
  );
}

// A forecast of "2 h 19 min" claims more than anybody knows.
const rough = (s) => (s >= 36 * 3600 ? `${Math.round(s / 86400)} d` : s >= 5400 ? `${Math.round(s / 3600)} h` : duration(s));

const UNITS = {
  hours: (row) => `${duration(3600 * row.used)} of ${duration(3600 * row.limit)}`,
  dollars: (row) => `${money(1e6 * row.used)} of ${money(1e6 * row.limit)}`,
  patience: (row) => `${integer(row.used)} of ${plural(row.limit, "trial")} without gain`,
};

function budget(study) {
  const row = nearest(study);
  const left =
    study.time_left_s !== null && study.time_left_s !== undefined && study.state === "running" ? `≈ ${rough(study.time_left_s)} left` : "";
  if (!row) {
    const patient = (study.budget || []).some(({ name }) => name === "patience");
    const bound = patient ? "until going on is not worth it" : "no bound";
    return h("div", { class: "quiet small" }, study.state === "running" ? bound : plural(study.trials, "trial"));
  }
  const text = (UNITS[row.name] || (() => `${number(Math.round(row.used))} of ${number(row.limit)} ${row.unit || row.name}`))(row);
  return h(
    "div",
    { class: "stack-tight" },
    progress({ value: row.used, max: row.limit, label: [text, left].filter(Boolean).join(", ") }),
    h("div", { class: "under" }, h("span", null, text), left && h("span", { class: "quiet" }, left)),
  );
}

function trials(study) {
  const there = ORDER.filter((name) => study.counts[name]);
  if (!there.length) return h("span", { class: "quiet small" }, "none yet");
  const label = `${plural(study.trials, "trial")}: ${there.map((name) => `${integer(study.counts[name])} ${name}`).join(", ")}`;
  return h(
    "div",
    { class: "stack-tight", role: "img", "aria-label": label, title: label },
    h(
      "div",
      { class: "stacked" },
      there.map((name) => h("span", { class: `mark-${name}`, style: `flex-grow:${study.counts[name]}` })),
    ),
    h(
      "div",
      { class: "under" },
      there.map((name) => h("span", { class: "tally" }, stateIcon(name), integer(study.counts[name]))),
    ),
  );
}

function best(study) {
  if (!study.best || study.best.value === null) return nothing();
  return h(
    "div",
    { class: "best" },
    h("strong", null, metric(study.metric, study.best.value)),
    h(
      "span",
      { class: "quiet small clip", title: `${study.metric}, ${study.direction}; trial ${study.best.trial}` },
      study.metric,
      study.direction === "maximize" ? " ↑" : study.direction ? " ↓" : "",
    ),
    study.best.breaks
      ? h("span", { class: "small breaks", title: `No trial is known to keep all constraints; this one ${study.best.breaks}` }, "not feasible")
      : null,
  );
}

function cost(study) {
  const from = study.started_at && Date.parse(study.started_at);
  const until = study.ended_at ? Date.parse(study.ended_at) : Date.now();
  return h(
    "div",
    null,
    money(study.cost_microdollars),
    h(
      "div",
      { class: "quiet small", title: "wall time since its first trial" },
      from ? duration(Math.max(0, until - from) / 1000) : "not begun",
    ),
  );
}
