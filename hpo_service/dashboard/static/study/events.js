// The study's event log, newest first: what happened and why, page by page.

import { h, replace } from "../core/dom.js";
import { ago, integer, when } from "../core/format.js";
import { whileSeen } from "../core/seen.js";
import { param } from "../core/url.js";
import { button, chip, panel, segmented } from "../core/ui.js";
import { tell } from "./eventwords.js";

const PAGE = 50;
const MOST_LINES = 200;
const SHOWN = [
  {
    id: "all",
    label: "All",
    kinds:
      "study_created,warm_started,definition_changed,study_state_changed,ending_declared,trials_enqueued,trials_imported,methods_chosen,decided,attempts_reopened,attempts_ended",
    title: "Everything except reports",
  },
  {
    id: "study",
    label: "Study",
    kinds: "study_created,warm_started,definition_changed,study_state_changed,ending_declared,trials_enqueued,trials_imported",
    title: "What people did, and the study's states",
  },
  {
    id: "decisions",
    label: "Decisions",
    kinds: "decided,methods_chosen",
    title: "What the algorithm decided, and how trials are trained, with the reasons",
  },
  { id: "attempts", label: "Attempts", kinds: "attempts_reopened,attempts_ended", title: "How attempts ended, and what was placed again" },
  { id: "reports", label: "Reports", kinds: "reported", title: "Batches of reports" },
];

export async function mount(node, page) {
  const chosen = param("log", "all");
  const state = { newest: 0, oldest: 0, last: 0, timer: 0, done: false, stale: false };
  const choice = segmented(SHOWN, chosen.get(), (id) => chosen.set(id), { label: "Kinds of events" });
  const frame = panel({
    id: "events",
    title: "Event log",
    wide: true,
    tools: [choice],
    help: "Every change of the study, with its reason, in the order in which it was stored. The whole state of the study follows from this log.",
  });
  const list = h("ol", { class: "events", dataset: { test: "event-log" } });
  const more = button("Older", () => older(), { small: true });
  replace(node, frame.node);
  frame.loading();

  const ask = (before) =>
    page
      .get("/log", { filter: null, before, limit: PAGE, kind: (SHOWN.find((one) => one.id === chosen.get()) ?? SHOWN[0]).kinds })
      .then((answer) => answer.items);

  let asked = 0; // of two lists that were asked for, the later one is shown
  async function first() {
    const mine = ++asked;
    try {
      const items = await ask(0);
      if (mine !== asked) return;
      state.newest = items[0]?.seq ?? 0;
      replace(
        list,
        items.map((event) => entry(event, page)),
      );
      ends(items);
      replace(frame.body, items.length ? list : h("p", { class: "quiet" }, "No such event yet."), h("div", { class: "row center" }, more));
      frame.ready();
    } catch (error) {
      frame.problem(error);
    }
  }

  function ends(items) {
    state.oldest = items.at(-1)?.seq ?? state.oldest;
    state.done = items.length < PAGE || state.oldest <= 1;
    more.hidden = state.done;
  }

  async function older() {
    const mine = asked;
    more.disabled = true;
    try {
      const items = await ask(state.oldest);
      if (mine !== asked) return;
      const next = items.map((event) => entry(event, page));
      list.append(...next);
      ends(items);
      if (state.done) next[0]?.querySelector("a, summary")?.focus();
    } catch (error) {
      frame.problem(error);
    } finally {
      more.disabled = false;
    }
  }

  // New events come on top; where more came than one page holds, the list begins anew.
  async function newer() {
    const mine = asked;
    state.last = Date.now();
    const found = await ask(0).catch(() => null);
    if (mine !== asked) return;
    state.stale = found === null;
    const items = (found ?? []).filter((event) => event.seq > state.newest);
    if (!items.length) return;
    if (items.length === PAGE || !list.isConnected) return first();
    state.newest = items[0].seq;
    list.prepend(...items.map((event) => entry(event, page)));
  }

  whileSeen(node, page, state, newer);
  chosen.on((id) => {
    choice.show(id);
    first();
  });
  await first();
}

function entry(event, page) {
  const { label, tone, sentence, lines, more } = tell(event, page.trialUrl);
  const words = h("p", null, sentence);
  const count = more ? `The first ${lines.length} of ${integer(lines.length + more)}` : lines.length === 1 ? "More" : `All ${lines.length}`;
  const rest = lines.length ? h("details", null, h("summary", null, count)) : null;
  rest?.addEventListener("toggle", () => {
    if (rest.open && rest.children.length === 1)
      rest.append(
        h(
          "ul",
          null,
          lines.slice(0, MOST_LINES).map((line) => h("li", null, line)),
          lines.length > MOST_LINES ? h("li", { class: "quiet" }, `and ${lines.length - MOST_LINES} more`) : null,
        ),
      );
  });
  return h(
    "li",
    { class: "event", dataset: { seq: event.seq, kind: event.kind } },
    h("time", { datetime: event.at, title: `${when(event.at)}, event ${event.seq}` }, ago(event.at)),
    chip(label, { kind: tone }),
    h("div", { class: "event-words" }, words, rest),
  );
}
