// The bounds of a study's budget in words and shares: what is used, what is left and for how long. Pure: no DOM.

import * as format from "../core/format.js";

const OWN_END = {
  grid: "ends with its last grid point",
  successive_halving: "ends with its highest rung",
  pbt: "ends where its population is trained",
};

const LABELS = { trials: "trials", resource: "resource", hours: "time", dollars: "cost", patience: "patience", target: "target" };

// [{name, label, used, limit, share: 0..1|null, text, left}]; one line that says so where a study has no bound.
export function bounds(page) {
  const study = page.study();
  const given = study.budget ?? fallback(study, page.definition().budget ?? {});
  const rows = given.filter(({ limit }) => limit !== null && limit !== undefined).map((one) => line(one, page));
  if (page.definition().budget?.patience === "auto") {
    const text = page.study().state === "finished" ? "auto" : "auto: until going on is not worth its cost";
    rows.push({ name: "patience", label: LABELS.patience, used: 0, limit: 0, share: null, text, left: "" });
  }
  if (!rows.length) {
    const text = OWN_END[page.definition().algorithm.name] ?? "runs until it is stopped";
    return [{ name: "none", label: "no bound", used: 0, limit: 0, share: null, text, left: "" }];
  }
  return withTime(rows, study);
}

function line({ name, used, limit }, page) {
  const label = name === "resource" ? page.resourceName : (LABELS[name] ?? name);
  if (name === "target") {
    const best = page.study().best?.value;
    const there = best !== null && best !== undefined && (page.maximize ? best >= limit : best <= limit);
    return {
      name,
      label,
      used: there ? 1 : 0,
      limit: 1,
      share: null,
      text: format.metric(page.metricName, limit),
      left: there ? "reached" : "not reached",
    };
  }
  return { name, label, used: used ?? 0, limit, share: Math.min(1, (used ?? 0) / limit), text: amounts(name, used ?? 0, limit), left: "" };
}

function amounts(name, used, limit) {
  if (name === "hours") return `${format.duration(used * 3600)} of ${format.duration(limit * 3600)}`;
  if (name === "dollars") return `${format.money(Math.round(used * 1e6))} of ${format.money(Math.round(limit * 1e6))}`;
  return `${format.number(Math.round(used * 100) / 100)} of ${format.number(limit)}`;
}

// The time left stands beside the bound that will end the study first: the one used up most, unless time itself is.
function withTime(rows, study) {
  if (study.state !== "running" || !(study.time_left_s >= 1)) return rows;
  const first = rows.filter(({ share }) => share !== null).sort((a, b) => b.share - a.share)[0];
  return rows.map((row) => (row === first ? { ...row, left: `about ${format.duration(study.time_left_s)} left` } : row));
}

// What an older server does not count for us.
function fallback(study, budget) {
  const hours = study.started_at ? ((study.ended_at ? Date.parse(study.ended_at) : Date.now()) - Date.parse(study.started_at)) / 3.6e6 : 0;
  const used = { trials: study.trials, resource: study.resource, hours, dollars: study.cost_microdollars / 1e6, target: null };
  return Object.entries(used).map(([name, amount]) => ({ name, used: amount, limit: budget[name] ?? null }));
}
