// The columns of the trial table: fields of trials, parameters, metrics and what a metric's curve comes to. Pure: no requests, no DOM.
//
// allColumns(page) → [column] in the chooser's order; find(page, id) → column|null
// column = {id, label, group: "Trial"|"Parameters"|"Metrics", kind: "number"|"text"|"state"|"kept"|"tags"|"time", sort: name for ?sort= | null,
//           field: name in the filter language | null, raw(row), text(raw, row), metric, stat, log, goodIsHigh: bool|null, heat: bool}
// ids in the URL: number, state, value, …; param.NAME; metric.NAME (its last value); first.NAME, best.NAME, min.NAME, max.NAME

import { duration, integer, isShare, metric as asMetric, money, NONE, reasonOf, value, when } from "../core/format.js";
import { FIELDS, OF_CONSTRAINTS } from "../core/selection.js";

const STATS = ["best", "first", "min", "max"];
export const STAT_WORDS = { last: "last", best: "best", first: "first", min: "lowest", max: "highest" };
const MOST_PARAMETERS = 8;

const field = (id, label, kind, { raw = (row) => row[id], text = null, sort = id, filter = id, hint = "", heat = true } = {}) => ({
  id,
  label,
  group: "Trial",
  kind,
  sort,
  field: filter,
  raw,
  text: text ?? ((one) => value(one)),
  metric: null,
  stat: null,
  log: false,
  goodIsHigh: null,
  hint,
  heat,
});

function fields(page) {
  const names = page.metricName;
  return [
    field("state", "State", "state"),
    {
      ...field("value", names, "number", { text: (one) => asMetric(names, one), hint: "the objective, by which trials are ranked" }),
      metric: names,
      goodIsHigh: page.maximize,
    },
    ...(page.constraints.length
      ? [
          field("violation", "Constraints", "kept", {
            raw: (row) => row.breaks || (row.feasible ? "kept" : null),
            filter: null,
            hint: "whether it keeps them, or by how much it breaks them",
          }),
        ]
      : []),
    field("resource", page.resourceName === "resource" ? "Resource" : sentence(page.resourceName), "number", {
      hint: "how far it was trained",
    }),
    field("bracket", "Bracket", "number", { heat: false, text: (one) => (one === null ? NONE : integer(one)) }),
    field("rung", "Rung", "number", { heat: false, text: (one) => (one === null ? NONE : integer(one)) }),
    field("seconds", "Time", "number", { text: duration, hint: "trained, all attempts together" }),
    field("cost", "Cost", "number", { raw: (row) => row.cost_microdollars, text: money }),
    field("origin", "Origin", "text"),
    field("tags", "Tags", "tags", { sort: null, filter: "tag" }),
    field("reason", "Reason", "text", {
      sort: null,
      filter: null,
      text: (_, row) => reasonOf(row) || NONE,
      hint: "why it ended, or why it is where it is",
    }),
    field("attempts", "Attempts", "number", { heat: false, sort: null, filter: null }),
    field("started_at", "Started", "time", { sort: null, filter: null, text: when }),
    field("ended_at", "Ended", "time", { sort: null, filter: null, text: when }),
    field("notes", "Notes", "text", { sort: null, filter: null, text: (one) => one || NONE }),
  ];
}

function parameterColumn(page, one) {
  const id = `param.${one.name}`;
  const clear = unambiguous(page, one.name);
  return {
    id,
    label: one.name,
    group: "Parameters",
    kind: one.type === "number" ? "number" : "text",
    sort: clear ? one.name : id,
    field: clear ? one.name : id,
    raw: (row) => row.params[one.name],
    text: value,
    metric: null,
    stat: null,
    log: one.log,
    goodIsHigh: null,
    heat: true,
    hint: one.when ? "only where other parameters ask for it" : "",
  };
}

function metricColumns(page, name) {
  const id = `metric.${name}`;
  const known = page.objectives.find((one) => one.metric === name);
  const bound = page.constraints.find((one) => one.metric === name);
  const goodIsHigh = known
    ? known.direction === "maximize"
    : bound
      ? bound.sign === "≥"
      : isShare(name)
        ? true
        : /(^|_)(loss|error|rmse|mse|mae)(_|$)/i.test(name)
          ? false
          : null;
  const shared = { group: "Metrics", kind: "number", metric: name, log: false, goodIsHigh, heat: true, text: (one) => asMetric(name, one) };
  const clear = unambiguous(page, name);
  const last = {
    ...shared,
    id,
    label: name,
    stat: null,
    sort: clear ? name : id,
    field: clear ? name : id,
    raw: (row) => row.values[name],
    hint: "the last value",
  };
  const others = STATS.map((stat) => ({
    ...shared,
    id: `${stat}.${name}`,
    label: `${name} · ${STAT_WORDS[stat]}`,
    stat,
    sort: null,
    field: null,
    raw: (row) => row.stats?.[name]?.[stat],
    hint: `the ${STAT_WORDS[stat]} value of its curve`,
  }));
  return [last, ...others];
}

// A bare name is a field of trials first, then a parameter, then a metric; what is meant otherwise carries its kind.
const unambiguous = (page, name) =>
  !fieldsOf(page).includes(name) && page.parameters.some((one) => one.name === name) !== page.metrics().includes(name);

export const fieldsOf = (page) => (page.constraints.length ? [...FIELDS, ...OF_CONSTRAINTS] : FIELDS);

const sentence = (word) => word.charAt(0).toUpperCase() + word.slice(1);

export function allColumns(page) {
  const ofMetrics = page.metrics().flatMap((name) => metricColumns(page, name).slice(name === page.metricName ? 1 : 0)); // its last value is the column "value"
  return [...fields(page), ...page.parameters.map((one) => parameterColumn(page, one)), ...ofMetrics];
}

export function chosenColumns(page, ids) {
  const all = new Map(allColumns(page).map((one) => [one.id, one]));
  return ids.map((id) => all.get(id) ?? unseen(page, id)).filter(Boolean);
}

// A link may name a metric that no trial of this page has reported yet.
function unseen(page, id) {
  const [, stat, name] = /^(metric|first|best|min|max)\.(.+)$/s.exec(id) ?? [];
  return name ? metricColumns(page, name).find((one) => one.id === (stat === "metric" ? id : `${stat}.${name}`)) : null;
}

export function defaultColumns(page, { compact = false } = {}) {
  const params = page.parameters
    .filter((one) => !one.constant)
    .slice(0, compact ? 5 : MOST_PARAMETERS)
    .map((one) => `param.${one.name}`);
  const more = [...page.objectives.slice(1), ...page.constraints].map(({ metric }) => `metric.${metric}`);
  const others = [...new Set(more), ...(page.constraints.length ? ["violation"] : [])];
  const rungs = page.hasRungs && !compact ? ["rung"] : [];
  return ["state", "value", ...others, "resource", ...rungs, ...params, ...(compact ? [] : ["seconds"]), "reason"];
}

export const statNames = (columns) => [...new Set(columns.filter((one) => one.stat).map((one) => one.metric))];

// Best first, by the objective.
export const defaultSort = (page) => (page.maximize ? "-value" : "value");

// What the next click on a header sorts by: the better half first where one is better, else ascending; then the other way round.
export function nextSort(column, current) {
  const first = column.goodIsHigh ? `-${column.sort}` : column.sort;
  const second = column.goodIsHigh ? column.sort : `-${column.sort}`;
  return current === first ? second : first;
}

export const sortedHow = (column, current) =>
  column.sort && current === column.sort ? "ascending" : column.sort && current === `-${column.sort}` ? "descending" : null;

export const shown = (column, row) => {
  const raw = column.raw(row);
  return raw === undefined || raw === null ? NONE : column.text(raw, row);
};
