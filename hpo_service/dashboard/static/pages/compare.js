// Two to twenty studies, or trials, side by side. What is compared, and how it is drawn, stands in the address.

import { byId, h, replace } from "../core/dom.js";
import { watch } from "../core/live.js";
import { onTheme } from "../core/theme.js";
import { button, emptyState, skeleton } from "../core/ui.js";
import { addTrial, chooseStudies } from "../compare/chooser.js";
import { MOST, choose, chosen, on } from "../compare/chosen.js";
import { comparedStudies } from "../compare/studies.js";
import { comparedTrials } from "../compare/trials.js";

const AGAIN_MS = 5000;
const place = h("div", { class: "compare" });
const title = h("h1", null, "Compare");
const note = h("p", { class: "quiet small", hidden: true });
const add = button("Add studies", more, { icon: "plus" });
const views = { studies: null, trials: null };
let shown = "",
  waiting = 0,
  asking = false,
  stale = false;

async function more() {
  const { kind, ids } = chosen();
  const next = kind === "trials" ? await addTrial(ids) : await chooseStudies(ids);
  if (next) choose(kind === "trials" ? "trials" : "studies", next);
}

function view(kind) {
  const make = { studies: comparedStudies, trials: comparedTrials }[kind];
  views[kind] ||= make((ids) => choose(kind, ids));
  return views[kind];
}

async function draw() {
  const { kind, ids, left } = chosen();
  title.textContent = kind === "nothing" ? "Compare" : `Compare ${kind}`;
  replace(add, add.firstChild, kind === "trials" ? "Add a trial" : "Add studies");
  note.hidden = !left;
  note.textContent = left ? `At most ${MOST} are compared; ${left} left out.` : "";
  if (kind === "nothing") return nothing();
  const now = view(kind);
  if (shown !== kind) replace(place, skeleton(6));
  if (asking) {
    stale = true;
    return undefined;
  }
  asking = true;
  try {
    await now.show(ids);
  } catch (error) {
    if (error.name !== "AbortError") now.problem(error, draw);
  } finally {
    asking = false;
  }
  if (place.firstChild !== now.node) replace(place, now.node);
  shown = kind;
  if (stale) {
    stale = false;
    return draw();
  }
  return undefined;
}

function nothing() {
  shown = "nothing";
  replace(
    place,
    emptyState({
      title: "Nothing to compare yet",
      text: "Choose two to twenty studies: their searches side by side, where their definitions differ, and whether the difference could be luck. Trials are compared from a study's table.",
      actions: [button("Choose studies", more, { kind: "primary" })],
    }),
  );
}

// What moves (null: connected again, anything may have) is asked for again, at most every five seconds and only while somebody looks.
function moved(study) {
  const { kind, ids } = chosen();
  const ours = study === null || (kind === "trials" ? ids.some((id) => id.startsWith(`${study}/`)) : ids.includes(study));
  if (!ours || waiting) return;
  waiting = setTimeout(() => {
    waiting = 0;
    if (document.hidden) document.addEventListener("visibilitychange", draw, { once: true });
    else draw();
  }, AGAIN_MS);
}

replace(byId("mount"), h("div", { class: "page-head" }, title, add), note, place);
on(draw);
onTheme(() => {
  if (shown && shown !== "nothing") draw();
});
watch({ study: null, on: (_seq, study) => moved(study) });
draw();
