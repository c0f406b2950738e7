// The trial table: pages from the server by any sort and filter, any column, selection, keyboard; patched in place while trials change.
//
// mount(node, page, {compact}) → Promise      compact: the best ten, on the overview
// In the URL: sort, cols, heat, rows (per page), cursor and from (where the page begins), picked (selected trials).

import { h, replace } from "../core/dom.js";
import { integer } from "../core/format.js";
import { param } from "../core/url.js";
import { button, emptyState, problemBox, select, skeleton, switcher } from "../core/ui.js";
import { offer } from "./cellfilter.js";
import { choose } from "./chooser.js";
import { chosenColumns, defaultColumns, defaultSort, statNames } from "./columns.js";
import { exportMenu, mountActions } from "./rowactions.js";
import { replaceHead } from "./tablehead.js";
import { listenKeys } from "./tablekeys.js";
import { makeRows } from "./tablerows.js";
import { template } from "./tablewidths.js";

const SIZES = [50, 100, 200, 500];
const COMPACT = 10;

export async function mount(node, page, { compact = false } = {}) {
  const usual = defaultColumns(page, { compact });
  const url = {
    sort: param("sort", defaultSort(page)),
    cols: param("cols", usual),
    heat: param("heat", false),
    size: param("rows", SIZES[0]),
    cursor: param("cursor", ""),
    from: param("from", 1),
    picked: param("picked", []),
  };
  const state = { page: null, columns: [], trail: [], asked: null, stale: false, due: false, last: 0, timer: 0, anchor: null };
  const picked = {
    get: () => url.picked.get().map(Number).filter(Number.isInteger),
    set: (numbers) => url.picked.set(numbers.map(String)),
    has: (n) => picks.has(n),
  };
  let picks = new Set(picked.get());
  const rows = makeRows(page, { isPicked: (n) => picks.has(n) });
  const head = h("thead", { role: "rowgroup" });
  const table = h("table", { class: "trials", role: "grid", dataset: { test: "trials-table" }, "aria-label": "Trials" }, head, rows.body);
  const scroller = h("div", { class: "table-scroll", tabindex: "-1" }, table);
  const under = h("div", { class: "table-under" });
  const note = h("div", { class: "table-note" });
  const pager = h("nav", { class: "pager", "aria-label": "Pages of trials", hidden: compact });
  const title = h("h2", null, "Trials");
  const fresh = h("span", { class: "fresh", role: "status" });
  const heat = switcher("Heat", url.heat.get(), (on) => url.heat.set(on));
  heat.title = "Colours numbers from low to high";
  const context = {
    page,
    picked,
    rows: () => rows.rows(),
    rowOf: rows.rowOf,
    columns: () => state.columns,
    sort: () => url.sort.get(),
    stats: () => statNames(state.columns).join(","),
    reload: () => load({ quiet: true }),
    show: (id) => {
      if (!ids().includes(id)) url.cols.set([...ids(), id]);
    },
  };
  const actions = mountActions(page, context);
  const tools = h(
    "div",
    { class: "panel-tools" },
    fresh,
    heat,
    button("Columns", () => choose(page, ids(), (next) => url.cols.set(next), { fallback: usual }), {
      small: true,
      title: "Choose columns",
    }),
    compact ? button("All trials", () => page.show("trials"), { small: true }) : exportMenu(page, context),
  );
  replace(
    node,
    h(
      "section",
      { class: ["panel", "table-panel", compact && "compact"], "aria-label": "Trials", dataset: { test: "panel-trials" } },
      h("header", { class: "panel-head" }, title, tools),
      scroller,
      under,
      h("footer", { class: "table-foot" }, note, pager),
      actions.node,
    ),
  );

  const ids = () => state.columns.map((one) => one.id);
  const visible = () => node.isConnected && node.offsetParent !== null && !document.hidden;
  const size = () => (compact ? COMPACT : SIZES.includes(url.size.get()) ? url.size.get() : SIZES[0]);

  async function load({ quiet = false } = {}) {
    state.asked?.abort();
    const stop = (state.asked = new AbortController());
    state.stale = false; // what changes from now on may be newer than the answer
    state.columns = chosenColumns(page, url.cols.get());
    if (!quiet || !state.page) busy();
    const where = compact ? {} : { cursor: url.cursor.get() };
    try {
      const answer = await page.get(
        "/trials",
        { sort: url.sort.get(), limit: size(), stats: context.stats(), ...where },
        { signal: stop.signal },
      );
      if (stop.signal.aborted) return;
      page.learnMetrics?.(answer.items.flatMap((row) => Object.keys(row.values)));
      state.page = answer;
      state.columns = chosenColumns(page, url.cols.get());
      draw();
    } catch (error) {
      if (error.name === "AbortError") return;
      if (where.cursor && error.problems?.some((one) => one.path.includes("cursor"))) {
        toFirst();
        return;
      }
      failed(error);
    } finally {
      if (state.asked === stop) {
        state.last = Date.now();
        table.removeAttribute("aria-busy");
        soon();
      }
    }
  }

  function busy() {
    table.setAttribute("aria-busy", "true");
    if (!state.page) replace(under, skeleton(compact ? 4 : 8));
  }

  function failed(error) {
    if (state.page && error.status === 0) return; // what is shown stays; the page's head says that the connection is lost
    state.page = null;
    rows.draw([], { columns: state.columns });
    const again =
      url.sort.get() !== defaultSort(page) ? button("Sort as usual", () => url.sort.set(defaultSort(page)), { small: true }) : null;
    replace(
      under,
      problemBox(error, () => load()),
      again,
    );
    replace(note);
  }

  function draw() {
    const { columns, least } = template(state.columns, state.page.items, table);
    table.style.setProperty("--columns", columns);
    table.style.setProperty("--least", `${least}px`);
    replace(title, compact && url.sort.get() === defaultSort(page) ? "Best trials" : "Trials");
    drawHead();
    rows.draw(state.page.items, { columns: state.columns, heat: url.heat.get() });
    replace(fresh);
    replace(under, state.page.items.length ? null : nothing());
    drawFoot();
    actions.draw();
    table.dataset.ready = String(page.seq());
  }

  function nothing() {
    if (page.filter)
      return emptyState({
        title: "No trial matches",
        text: `The filter is ${page.filter.slice(0, 200)}`,
        actions: [button("Show all trials", () => page.selection.clear(), { small: true })],
      });
    return emptyState(
      ["finished", "stopped", "failed"].includes(page.study().state)
        ? { title: "No trial", text: "The study ended before its first one." }
        : { title: "No trial yet", text: "The first one appears here as soon as a worker is free." },
    );
  }

  function drawHead() {
    replaceHead(head, {
      columns: state.columns,
      rows: state.page.items,
      sort: url.sort.get(),
      picks,
      onPick: pick,
      onSort: sortBy,
    });
  }

  function sortBy(next) {
    quietly(() => {
      url.sort.set(next, { push: true });
      reset();
    });
    load();
  }

  function drawFoot() {
    const { items, total, next_cursor: next } = state.page;
    const from = compact ? 1 : Math.max(1, url.from.get());
    const of =
      total === null || total === undefined
        ? page.filter
          ? " of those that match"
          : ""
        : ` of ${integer(total)}${page.filter ? " that match" : ""}`;
    replace(note, items.length ? `${integer(from)} – ${integer(from + items.length - 1)}${of}` : "");
    if (compact) return;
    const focused = pager.contains(document.activeElement) ? (document.activeElement.dataset.go ?? "rows") : null;
    const go = (id, label, run, disabled) => {
      const made = button(label, run, { small: true, disabled });
      made.dataset.go = id;
      return made;
    };
    const rowsPer = select(
      "Rows",
      SIZES.map((n) => ({ id: String(n), label: String(n) })),
      String(size()),
      (id) => {
        quietly(() => {
          url.size.set(Number(id));
          reset();
        });
        load();
      },
    );
    replace(
      pager,
      rowsPer,
      go("first", "First", toFirst, from === 1),
      go("back", "Previous", back, from === 1),
      go("next", "Next", () => forward(next), !next),
    );
    if (focused)
      (
        pager.querySelector(`[data-go="${focused}"]:not(:disabled)`) ??
        (focused === "rows" ? rowsPer.querySelector("select") : pager.querySelector("button:not(:disabled)"))
      )?.focus();
  }

  function forward(next) {
    if (!next) return;
    state.trail.push([url.cursor.get(), url.from.get()]);
    goTo(next, url.from.get() + state.page.items.length);
  }
  function back() {
    while (state.trail.length && state.trail.at(-1)[1] >= url.from.get()) state.trail.pop(); // the browser's own back button went there already
    goTo(...(state.trail.pop() ?? ["", 1]));
  }
  function toFirst() {
    state.trail = [];
    goTo("", 1);
  }
  function reset() {
    state.trail = [];
    quietly(() => {
      url.from.set(1);
      url.cursor.set("");
    });
  }
  function goTo(cursor, from) {
    quietly(() => {
      url.cursor.set(cursor, { push: true }); // a new entry of the history first: what is replaced belongs to it
      url.from.set(from);
    });
    load();
    scroller.scrollTop = 0;
  }
  let muted = 0; // several parameters change at once: one request
  function quietly(work) {
    muted += 1;
    work();
    muted -= 1;
  }

  function pick(numbers, on, { keep = true } = {}) {
    const next = new Set(keep ? picks : []);
    for (const n of numbers)
      if (on) next.add(n);
      else next.delete(n);
    picked.set([...next]);
  }

  // Everything that happens to the table from outside.
  const again = () => {
    if (muted > 0) return;
    if (visible()) load();
    else state.due = true; // the other view's table; it asks when it is looked at
  };
  url.sort.on(again);
  url.cols.on(again);
  url.size.on(again);
  if (!compact) url.cursor.on(again);
  url.heat.on((on) => {
    heat.set(on);
    if (state.page) rows.draw(state.page.items, { heat: on });
  });
  url.picked.on(() => {
    picks = new Set(picked.get());
    rows.marks();
    actions.draw();
    if (state.page) drawHead();
  });
  page.on("filter", () => {
    reset();
    again();
  });
  page.on("hover", (n) => {
    table.querySelector("tr.pointed")?.classList.remove("pointed");
    if (n !== null) rows.nodeOf(n)?.classList.add("pointed");
  });
  page.on("changes", ({ trials = [] }) => {
    if (state.page) {
      const shown = new Map(trials.map((row) => [row.number, row]));
      state.page = {
        ...state.page,
        items: state.page.items.map((row) => (shown.has(row.number) ? { ...shown.get(row.number), stats: row.stats } : row)),
      };
      rows.patch(trials);
    }
    state.stale = true;
    soon();
  });
  document.addEventListener("visibilitychange", soon);

  // The order and who is on the page follow at most every page.pace(), and not under the reader's hands: then a button offers it.
  function soon() {
    if (state.due && visible()) {
      state.due = false;
      load();
      return;
    }
    if (!state.stale || state.timer || !visible()) return;
    state.timer = setTimeout(
      () => {
        state.timer = 0;
        if (!state.stale || !visible()) return;
        if (rows.body.contains(document.activeElement) || table.matches(":hover"))
          replace(
            fresh,
            button("Update order", () => load({ quiet: true }), { small: true, title: "Trials changed; put them in order again" }),
          );
        else load({ quiet: true });
      },
      Math.max(0, state.last + page.pace() - Date.now()),
    );
  }
  new IntersectionObserver(soon).observe(node);
  table.addEventListener("pointerleave", () => {
    state.stale ||= fresh.childElementCount > 0;
    soon();
  });
  table.addEventListener("pointerover", ({ target }) => {
    const tr = target.closest?.("tr[data-trial]");
    page.hover(tr ? Number(tr.dataset.trial) : null);
  });
  table.addEventListener("mouseleave", () => page.hover(null));
  rows.body.addEventListener("click", clicked);
  listenKeys(page, { body: rows.body, visible, compact, pick, has: (n) => picks.has(n), act: activate });

  function clicked(event) {
    const tr = event.target.closest("tr[data-trial]");
    if (!tr) return;
    const number = Number(tr.dataset.trial);
    if (event.target.matches("input[type=checkbox]")) return ticked(number, event);
    const td = event.target.closest("td");
    if (td && !td.classList.contains("pick") && !event.target.closest("a, .cell-anchor") && !String(getSelection()))
      activate(td, event.target);
    return undefined;
  }

  function ticked(number, event) {
    const order = rows.rows().map((row) => row.number);
    const on = event.target.checked;
    const [a, b] = [order.indexOf(state.anchor), order.indexOf(number)].sort((x, y) => x - y);
    pick(event.shiftKey && a >= 0 ? order.slice(a, b + 1) : [number], on);
    state.anchor = number;
  }

  function activate(td, target = td) {
    const column = rows.columnOf(td);
    const row = rows.rowOf(td.closest("tr").dataset.trial);
    if (!column || !row) return;
    if (td.dataset.long !== undefined) {
      td.classList.toggle("expanded");
      return;
    }
    if (column.kind === "tags") {
      const tag = target.closest?.("[data-tag]")?.dataset.tag ?? (row.tags.length === 1 ? row.tags[0] : null);
      if (tag) offer(td, column, tag, page);
      return;
    }
    offer(td, column, column.raw(row), page);
  }

  await load();
}
