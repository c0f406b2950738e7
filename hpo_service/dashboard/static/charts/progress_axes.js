// What best so far is drawn against, and how each of these is read from the columns of /progress. Pure: no requests, no DOM.

import { duration, integer, money, number } from "../core/format.js";

export const AXES = [
  { id: "trials", label: "Trials", title: "In the order of trial numbers" },
  { id: "resource", label: "Resource", title: "Against all resource spent by then" },
  { id: "time", label: "Time", title: "Against wall time since the first dispatch" },
  { id: "dollars", label: "Dollars", title: "Against all money spent by then" },
];
const FEW = 8; // trials: each has its tick
const UNITS = [
  { label: "s", scale: 3600, most: 180 / 3600 },
  { label: "min", scale: 60, most: 3 },
  { label: "h", scale: 1, most: 72 },
  { label: "days", scale: 1 / 24, most: Infinity },
];

// {id, title, ticks: of its axis, of(columns) → places, text(place), end: the place that stands for now}
export function axisBy(id, answer, page) {
  const { points, improvements } = answer;
  const study = page.study();
  if (id === "resource")
    return {
      id,
      title: `${page.resourceName} spent in all`,
      ticks: { tickformat: ",", rangemode: "tozero" },
      of: (columns) => columns.spent_resource,
      text: (x) => `${number(x)} ${page.resourceName}`,
      end: study.resource,
    };
  if (id === "dollars")
    return {
      id,
      title: "dollars",
      ticks: { tickformat: "$,", rangemode: "tozero" },
      of: (columns) => columns.cost_microdollars.map((micro) => (micro === null ? null : micro / 1e6)),
      text: (x) => money(Math.round(x * 1e6)),
      end: study.cost_microdollars / 1e6,
    };
  if (id === "time") {
    const now = hoursSoFar(study);
    const { label, scale } = unitOf(Math.max(now ?? 0, furthest(points.hours), furthest(improvements.hours)));
    return {
      id,
      title: `wall time (${label})`,
      ticks: { tickformat: ",", rangemode: "tozero" },
      of: (columns) => columns.hours.map((hours) => (hours === null ? null : hours * scale)),
      text: (x) => duration((x / scale) * 3600),
      end: now === null ? 0 : now * scale,
    };
  }
  return {
    id: "trials",
    title: "trial",
    ticks: { tickformat: ",d", ...(answer.of <= FEW ? { dtick: 1, range: [-0.3, answer.of - 0.7] } : {}) }, // there is no trial 0.5
    of: (columns) => columns.number ?? columns.trial,
    text: (x) => `trial ${integer(x)}`,
    end: Math.max(0, answer.of - 1),
  };
}

// Seconds for a study of seconds, days for one of weeks.
const unitOf = (most) => UNITS.find((unit) => most <= unit.most);
const furthest = (places) => places.reduce((most, one) => (one !== null && one > most ? one : most), 0);

function hoursSoFar(study) {
  if (!study.started_at) return null;
  return ((study.ended_at ? Date.parse(study.ended_at) : Date.now()) - Date.parse(study.started_at)) / 3.6e6;
}
