// What the charts need to know of a study definition: objectives, parameters, words for its resource. Pure: no requests, no DOM.

import { number } from "../core/format.js";

const LOG = new Set(["loguniform", "qloguniform", "log_integer", "power_of_two", "lognormal"]);
const WHOLE = new Set(["integer", "log_integer", "power_of_two"]);
const LISTED = new Set(["choice", "ordinal", "constant"]);
const MODELS = new Set(["gp", "tpe", "rungs", "curves"]);
const LADDERS = new Set(["curves", "rungs"]);
const RUNGS = new Set(["successive_halving", "hyperband", "bohb", "dehb", "asha", "pasha"]);

export function objectives(definition) {
  const given = definition?.objective ?? [];
  return (Array.isArray(given) ? given : [given]).map(({ metric, direction }) => ({ metric, direction: direction ?? "minimize" }));
}

// Bounds on metrics: {metric, sign, bound}, sign as it is read.
export const constraints = (definition) =>
  (definition?.constraints ?? []).map(({ metric, at_most: most = null, at_least: least = null }) => ({
    metric,
    sign: most === null ? "≥" : "≤",
    bound: most ?? least,
  }));

export function parameters(definition) {
  return Object.entries(definition?.space ?? {}).map(([name, one]) => parameter(name, one));
}

function parameter(name, one) {
  const when = one.when ?? null;
  if (LISTED.has(one.type)) {
    const values = one.type === "constant" ? [one.value] : (one.values ?? []);
    return {
      name,
      type: "category",
      log: false,
      integer: false,
      low: 0,
      high: values.length - 1,
      values,
      labels: values.map(word),
      when,
      constant: one.type === "constant",
    };
  }
  return {
    name,
    type: "number",
    log: LOG.has(one.type),
    integer: WHOLE.has(one.type),
    low: one.low ?? null,
    high: one.high ?? null,
    labels: [],
    values: [],
    when,
    constant: false,
  };
}

// As the filter language writes it.
const word = (value) => (typeof value === "string" ? value : value === null ? "null" : String(value));

// Where resource is a size that trials are trained at: its name, else null.
const size = (definition) => {
  const fidelity = definition?.algorithm?.fidelity ?? "epochs";
  return fidelity === "epochs" ? null : fidelity.replace("_", " ");
};
export const resourceName = (definition) => size(definition) ?? (definition?.trainer?.recipe ? "epochs" : "resource");
export const resourceText = (definition, x) =>
  resourceName(definition) === "epochs" ? `${number(x)} ${x === 1 ? "epoch" : "epochs"}` : `${resourceName(definition)} ${number(x)}`;
// `chosen`: what the study's `auto` picked, as the API tells it.
export const hasRungs = (definition, chosen) => {
  const name = definition?.algorithm?.name;
  return RUNGS.has(name) || (name === "auto" && LADDERS.has(chosen?.method));
};
export const hasModel = (definition, chosen) => {
  const { name, sampler } = definition?.algorithm ?? {};
  return name === "bayesian" || sampler === "tpe" || sampler === "gp" || (name === "auto" && MODELS.has(chosen?.method));
};
