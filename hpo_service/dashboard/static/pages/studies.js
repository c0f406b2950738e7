// The page of all studies: holds the rows, keeps them fresh by notices, and shows what the URL asks for.

import { get, query } from "../core/api.js";
import { byId, h, replace } from "../core/dom.js";
import { integer } from "../core/format.js";
import { shortcut } from "../core/keys.js";
import { watch } from "../core/live.js";
import { button, emptyState, problemBox, skeleton, toast } from "../core/ui.js";
import { param } from "../core/url.js";
import { grouped, sorted, visible } from "../studies/list.js";
import { firstStudy } from "../studies/start.js";
import { studyTable } from "../studies/table.js";
import { toolbar } from "../studies/toolbar.js";

const LIMIT = 1000,
  FEW = 6,
  LEAST_MS = 700,
  AGAIN_MS = 5000,
  COMPARED = 20;
const state = {
  q: param("q", ""),
  state: param("state", ""),
  tag: param("tag", ""),
  owner: param("owner", ""),
  sort: param("sort", "-created"),
  group: param("group", false),
  selected: param("selected", []),
};
const studies = new Map(); // id → study, newest first
const stale = new Set(); // ids that moved
let total = 0,
  everything = true,
  busy = false,
  loaded = false;

const only = (name) => (value) => {
  state[name].set(state[name].get() === value ? "" : value, { push: true });
  draw();
};
const table = studyTable({
  on: { onTag: only("tag"), onOwner: only("owner"), onState: only("state") },
  onSort: (sort) => {
    state.sort.set(state.sort.get() === sort ? (sort.startsWith("-") ? sort.slice(1) : `-${sort}`) : sort);
    draw();
  },
  onSelect: (ids) => {
    state.selected.set([...ids]);
    draw();
  },
});
const bar = toolbar(state, draw);
const compare = button("Compare", compareSelected, { icon: "compare" });
const note = h("p", { class: "quiet small" });
const place = h("div");
const count = h("span", { class: "quiet total" });
compare.dataset.test = "compare";

// A link may name studies that are gone.
const selected = () => state.selected.get().filter((id) => !loaded || studies.has(id));

function draw() {
  const all = [...studies.values()];
  const chosen = new Set(selected());
  compare.disabled = chosen.size < 2 || chosen.size > COMPARED;
  compare.lastChild.textContent = chosen.size ? `Compare ${chosen.size}` : "Compare";
  compare.title =
    chosen.size < 2
      ? "Select two studies or more to compare them"
      : chosen.size > COMPARED
        ? `At most ${COMPARED} studies can be compared`
        : "Compare the selected studies (c)";
  count.textContent = all.length ? integer(total || all.length) : "";
  bar.node.hidden = compare.hidden = !all.length;
  if (!loaded) return;
  if (!all.length) {
    show(firstStudy((study) => location.assign(`/studies/${encodeURIComponent(study.id)}`)));
    return;
  }
  const asked = { q: state.q.get(), state: state.state.get(), tag: state.tag.get(), owner: state.owner.get() };
  const [sort, group] = [state.sort.get(), state.group.get()];
  const found = visible(all, asked);
  bar.update(all, found.length);
  note.textContent = total > all.length ? `Showing the newest ${integer(all.length)} of ${integer(total)} studies.` : "";
  if (!found.length) {
    show(nothingFound());
    return;
  }
  table.show(grouped(sorted(found, sort), group), { sort, selected: chosen, view: JSON.stringify([asked, sort, group]) });
  show(table.node);
}

function show(node) {
  if (place.firstChild === node || (node.dataset.test && place.firstChild?.dataset?.test === node.dataset.test)) return;
  replace(place, node);
}

function nothingFound() {
  const clear = button("Clear filters", () => {
    for (const name of ["q", "state", "tag", "owner"]) state[name].set("");
    draw();
  });
  const node = emptyState({
    title: "No study matches",
    text: "Every study is hidden by the search or the filters above.",
    actions: [clear],
  });
  node.dataset.test = "nothing-found";
  return node;
}

function compareSelected() {
  const chosen = selected();
  if (chosen.length < 2) {
    toast("Select two studies or more to compare them: x selects the one in focus.", "info");
    return;
  }
  location.assign(`/compare${query({ study: chosen.slice(0, COMPARED) })}`);
}

async function load() {
  const page = await get(`/studies${query({ sparkline: 1, limit: LIMIT })}`).catch((error) => {
    if (error.status !== 422) throw error;
    return get(`/studies${query({ limit: LIMIT })}`);
  });
  studies.clear();
  for (const study of page.items) studies.set(study.id, study);
  total = page.total ?? page.items.length;
}

// A study that moved is asked for by itself; its sparkline goes on from the one it had.
async function refresh(id) {
  const before = studies.get(id);
  const study = await get(`/studies/${encodeURIComponent(id)}`).catch((error) => {
    if (error.status === 404) {
      studies.delete(id);
      return null;
    }
    throw error;
  });
  if (!study) return;
  study.sparkline ||= longer(before?.sparkline, study);
  studies.set(id, study);
}

function longer(line, study) {
  const best = study.best?.value;
  if (best === null || best === undefined) return line || null;
  const from = Date.parse(study.started_at || study.created_at);
  const now = Math.max(0, (study.ended_at ? Date.parse(study.ended_at) : Date.now()) - from) / 3.6e6;
  const { hours = [], value = [] } = line || {};
  return value.at(-1) === best ? line : { hours: [...hours, Math.max(now, hours.at(-1) ?? 0)], value: [...value, best] };
}

async function update() {
  if (busy) return;
  busy = true;
  while (everything || stale.size) {
    const ids = [...stale];
    const whole = everything || ids.length > FEW || ids.some((id) => !studies.has(id));
    everything = false;
    stale.clear();
    let pause = document.hidden ? 5 * LEAST_MS : LEAST_MS;
    try {
      if (whole) await load();
      else await Promise.all(ids.map(refresh));
      loaded = true;
      draw();
    } catch (error) {
      if (!loaded)
        replace(
          place,
          problemBox(error, () => {
            everything = true;
            update();
          }),
        );
      else {
        everything ||= whole; // not lost: asked for again
        for (const id of ids) stale.add(id);
        pause = AGAIN_MS;
      }
    }
    await new Promise((done) => setTimeout(done, pause));
  }
  busy = false;
}

function keys() {
  const inTable = (event) => table.node.contains(event.target);
  shortcut("/", "search", () => bar.focus());
  bar.node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.type === "search") table.move(1);
  });
  shortcut("j", "next study", () => table.move(1));
  shortcut("k", "previous study", () => table.move(-1));
  shortcut("ArrowDown", "", (event) => (inTable(event) ? table.move(1) : false));
  shortcut("ArrowUp", "", (event) => (inTable(event) ? table.move(-1) : false));
  shortcut("Enter", "open the study", () => false);
  shortcut("x", "select the study, or not", () => {
    if (table.current()) table.toggle(table.current());
  });
  shortcut("c", "compare the selected studies", compareSelected);
  shortcut("n", "new study", () => location.assign("/new"));
}

replace(
  byId("mount"),
  h(
    "div",
    { class: "page-head" },
    h("h1", null, "Studies ", count),
    compare,
    h("a", { class: "button primary", href: "/new" }, "New study"),
  ),
  bar.node,
  place,
  note,
);
replace(place, h("div", { class: "card" }, skeleton(6)));
bar.node.hidden = compare.hidden = true;
for (const one of Object.values(state)) one.on(draw);
keys();
watch({
  study: null,
  on(seq, id) {
    if (seq === null) everything = everything || loaded;
    else if ((studies.get(id)?.last_seq ?? -1) < seq) stale.add(id);
    update();
  },
});
update();
