// The `page` object of the trial page: the trial, its reports and its surroundings as they stand. Draws nothing.

import { get } from "../core/api.js";
import { watch } from "../core/live.js";
import { constraints, hasRungs, objectives, parameters, resourceName } from "../study/definition_facts.js";

const LEAST_MS = 1500; // between two looks at a trial that changes
const AGAIN_MS = 5000; // after a look that failed
const ENDED = new Set(["finished", "stopped", "failed"]);

export function makePage(studyId, number) {
  const listeners = { trial: new Set(), context: new Set(), reports: new Set(), problem: new Set() };
  const study = `/studies/${encodeURIComponent(studyId)}`;
  const path = `${study}/trials/${number}`;
  const state = { study: null, trial: null, context: null, reports: [], seq: 0 };

  function emit(kind) {
    for (const fn of [...listeners[kind]]) {
      try {
        fn();
      } catch (error) {
        console.error(error);
      }
    }
  }

  const page = {
    studyId,
    number,
    path,
    studyPath: study,
    study: () => state.study,
    definition: () => state.study.definition,
    trial: () => state.trial,
    context: () => state.context,
    reports: () => state.reports,
    open: () => !ENDED.has(state.trial.state),
    on(kind, fn) {
      listeners[kind].add(fn);
      return () => listeners[kind].delete(fn);
    },
    trialUrl: (n) => `/studies/${encodeURIComponent(studyId)}/trials/${n}`,
    reload: () => look({ force: true }),
  };

  // One look after the other, so that an older answer never comes after a newer one.
  let turn = Promise.resolve();
  const look = (how) => {
    const mine = turn.then(() => looking(how));
    turn = mine.catch(() => {});
    return mine;
  };

  // What a change of the trial means for the rest: reports when it came further, the surroundings when it ended or the study's best moved.
  async function looking({ force = false } = {}) {
    const before = state.trial;
    const trial = await get(path);
    state.trial = trial;
    const moved = !before || before.step !== trial.step || before.fence !== trial.fence || before.resource !== trial.resource;
    const turned = !before || before.state !== trial.state;
    const annotated = before && (before.notes !== trial.notes || before.tags.join("\n") !== trial.tags.join("\n"));
    if (force || moved || turned || annotated || JSON.stringify(before.attempt_rows) !== JSON.stringify(trial.attempt_rows)) emit("trial");
    if (force || moved || turned) await Promise.all([readReports(), readContext()]);
    else if (!ENDED.has(trial.state)) await readContext();
  }

  async function readReports() {
    state.reports = (await get(`${path}/reports`)).items;
    emit("reports");
  }

  async function readContext() {
    state.context = await get(`${path}/context`);
    emit("context");
  }

  let wanted = false,
    busy = false;
  async function catchUp() {
    wanted = true;
    if (busy || document.hidden) return;
    busy = true;
    while (wanted && !document.hidden) {
      wanted = false;
      let pause = LEAST_MS;
      await look().catch((error) => {
        wanted = error.status !== 404; // else it was deleted
        pause = AGAIN_MS;
      });
      await new Promise((done) => setTimeout(done, pause));
    }
    busy = false;
  }

  page.begin = async () => {
    const [row, trial] = await Promise.all([get(study), get(path)]);
    state.study = row;
    state.trial = trial;
    page.facts = {
      objectives: objectives(row.definition),
      constraints: constraints(row.definition),
      parameters: parameters(row.definition),
      resourceName: resourceName(row.definition),
      hasRungs: hasRungs(row.definition, row.chosen),
    };
    page.facts.metricName = page.facts.objectives[0]?.metric ?? "value";
    page.facts.maximize = page.facts.objectives[0]?.direction === "maximize";
  };
  page.follow = () => {
    readReports().catch((error) => {
      page.problem = error;
      emit("problem");
    });
    readContext().catch((error) => {
      page.problem = error;
      emit("problem");
    });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && wanted) catchUp();
    });
    watch({
      study: studyId,
      on: (seq) => {
        if (seq === null || page.open()) catchUp();
      },
    });
  };
  return page;
}
