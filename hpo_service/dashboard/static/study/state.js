// The `page` object of the study page: the study as it stands, what changed since, the filter in force. Draws nothing.
// What it offers is described at the top of pages/study.js.

import { get, query } from "../core/api.js";
import { watch } from "../core/live.js";
import { selection } from "../core/selection.js";
import * as facts from "./definition_facts.js";
import { check } from "./filter_check.js";

const LEAST_MS = 400; // between two requests for changes, however many notices come
const PACE_MS = 5000; // what is drawn is left as it is for so long; longer when the server says so, for a crowd of pages
const AGAIN_MS = 5000; // after a request for changes that failed

export function makePage(id) {
  const listeners = { study: new Set(), changes: new Set(), filter: new Set(), hover: new Set(), problem: new Set() };
  const base = `/studies/${encodeURIComponent(id)}`;
  const metrics = new Set();
  let study = null,
    definition = null,
    seq = 0,
    filter = "",
    parameters = [],
    objectives = [],
    constraints = [],
    running = [],
    pace = PACE_MS;

  function emit(kind, value) {
    for (const fn of [...listeners[kind]]) {
      try {
        fn(value);
      } catch (error) {
        console.error(error);
      }
    }
  }

  function take(row) {
    if (row.definition) {
      definition = row.definition;
      objectives = facts.objectives(definition);
      constraints = facts.constraints(definition);
      parameters = facts.parameters(definition);
      [...objectives, ...constraints].forEach(({ metric }) => metrics.add(metric));
    }
    study = { ...study, ...row, definition };
  }

  const page = {
    id,
    selection,
    study: () => study,
    definition: () => definition,
    seq: () => seq,
    get objectives() {
      return objectives;
    },
    get constraints() {
      return constraints;
    },
    get metricName() {
      return objectives[0]?.metric ?? "value";
    },
    get direction() {
      return objectives[0]?.direction ?? "minimize";
    },
    get maximize() {
      return page.direction === "maximize";
    },
    get parameters() {
      return parameters;
    },
    get resourceName() {
      return facts.resourceName(definition);
    },
    resourceText: (x) => facts.resourceText(definition, x),
    get hasRungs() {
      return facts.hasRungs(definition, page.study()?.chosen);
    },
    get hasModel() {
      return facts.hasModel(definition, page.study()?.chosen);
    },
    get filter() {
      return filter;
    },
    metrics: () => [...metrics],
    running: () => running,
    pace: () => pace,
    learnMetrics(names) {
      for (const name of names) metrics.add(name);
    },
    on(kind, fn) {
      listeners[kind].add(fn);
      return () => listeners[kind].delete(fn);
    },
    hover: (number) => emit("hover", number),
    get: (rest, more = {}, options = {}) => get(`${base}${rest}${query({ filter, ...more })}`, options),
    path: (rest = "") => base + rest,
    trialUrl: (number) => `/studies/${encodeURIComponent(id)}/trials/${number}`,
    openTrial(number, event) {
      const apart = event && (event.ctrlKey || event.metaKey || event.button === 1);
      if (apart) window.open(page.trialUrl(number), "_blank", "noopener");
      else location.assign(page.trialUrl(number));
    },
    mayEdit: () => true,
    reload: () => catchUp(),
    refresh: () => Promise.resolve(), // board.js puts the panels' here
    view: "overview",
    problem: null, // why the newest filter is not in force
    show: () => {},
  };

  // The filter in force follows the selection, once it is known to parse: at once where this page can tell, else after asking the server.
  let asked = 0;
  const tell = (error) => {
    page.problem = error;
    emit("problem", error);
  };
  async function useFilter(text) {
    const mine = ++asked;
    if (!check(text, page)) {
      try {
        await get(`${base}/trials${query({ filter: text, limit: 1 })}`);
      } catch (error) {
        if (mine === asked) tell(error);
        return;
      }
      if (mine !== asked) return;
    }
    tell(null);
    if (text === filter) return;
    filter = text;
    emit("filter", text);
  }
  selection.on((text) => useFilter(typeof text === "string" ? text : selection.text));

  // One request for changes at a time, none while the tab is hidden; what came meanwhile is asked for when it is shown.
  let wanted = false,
    busy = false;
  async function catchUp() {
    wanted = true;
    if (busy || document.hidden || !study) return;
    busy = true;
    try {
      while (wanted && !document.hidden) {
        wanted = false;
        await askChanges();
        await new Promise((done) => setTimeout(done, LEAST_MS));
      }
    } finally {
      busy = false;
    }
  }

  async function askChanges() {
    const changes = await get(`${base}/changes${query({ since: seq })}`, { keep: false }).catch(() => null);
    const turned = changes && changes.study.definition_version !== study.definition_version;
    const whole = turned ? await get(base).catch(() => null) : null;
    if (!changes || (turned && !whole)) {
      // the live line says that the connection is lost; ask again when there is hope
      wanted = true;
      await new Promise((done) => setTimeout(done, AGAIN_MS));
      return;
    }
    take({ ...changes.study, definition: null, decision_reason: changes.decision_reason ?? changes.study?.decision_reason });
    if (whole) take(whole);
    seq = Math.max(seq, changes.seq);
    running = changes.running ?? [];
    pace = Math.max(PACE_MS, 1000 * (changes.pace_s ?? 0));
    for (const trial of changes.trials ?? []) page.learnMetrics(Object.keys(trial.values ?? {}));
    emit("study", study);
    if (changes.changed || changes.truncated) emit("changes", changes);
  }

  page.begin = async () => {
    take(await get(base));
    seq = study.last_seq ?? 0;
    if (selection.text) await useFilter(selection.text);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && wanted) catchUp();
    });
    // Being connected counts as a notice: the first answer tells which trials run.
    watch({
      study: id,
      on: (at) => {
        if (at === null || at > seq) catchUp();
      },
    });
    emit("study", study);
  };
  return page;
}
