// Panels of a view: imported and mounted when they are scrolled into view, refreshed by one rule, errors kept to the panel that has them.
// The rule: on a change of the filter at once, on live changes at most every page.pace() (5 s, longer where many pages are open); never out of sight or in a hidden tab, but then when seen again.

import { h, replace } from "../core/dom.js";
import { before } from "../core/plot.js";
import { emptyState, panel, skeleton } from "../core/ui.js";

const NEAR = "240px"; // mount a little before it is seen
const PEEK = 60; // pixels of a panel that do not yet count as seeing it
const idle = (fn) => (window.requestIdleCallback ? requestIdleCallback(fn, { timeout: 1500 }) : setTimeout(fn, 300));

export function makePanels(page) {
  const records = new Map(); // node → record
  const watcher = new IntersectionObserver(
    (seen) => {
      for (const { target, isIntersecting, boundingClientRect } of seen) {
        const record = records.get(target);
        if (!record) continue;
        record.visible = isIntersecting;
        if (!isIntersecting) continue;
        if (boundingClientRect.top < innerHeight - PEEK) wake(record);
        else idle(() => wake(record)); // nearly in sight: once what is in sight is drawn
      }
    },
    { rootMargin: NEAR },
  );

  function slot(spec) {
    const node = h("div", { class: ["slot", spec.wide && "wide", `slot-${spec.id}`] }, waiting(spec));
    const record = {
      spec,
      node,
      panel: null,
      chart: null,
      visible: false,
      dirty: true,
      drawn: false,
      filtered: false,
      busy: false,
      again: false,
      last: 0,
      timer: 0,
    };
    records.set(node, record);
    watcher.observe(node);
    return node;
  }

  async function wake(record) {
    if (record.spec.kind === "part") return before(mountPart(record));
    if (!record.chart && !record.busy) {
      record.busy = true;
      await mountChart(record);
      record.busy = false;
    }
    if (record.dirty) schedule(record, record.drawn && !record.filtered ? page.pace() : 0);
  }

  async function mountPart(record) {
    if (record.drawn) return;
    record.drawn = true;
    try {
      const module = await import(`./${record.spec.id}.js`);
      const inner = h("div", { class: "part" });
      replace(record.node, inner);
      await module.mount(inner, page, record.spec.options ?? {});
    } catch (error) {
      broken(record, error);
    }
  }

  async function mountChart(record) {
    try {
      record.module ??= await import(`../charts/${record.spec.id}.js`);
      record.panel = panel({ id: record.spec.id, title: record.spec.title, ...record.module.info, wide: record.spec.wide });
      replace(record.node, record.panel.node);
      record.panel.loading();
      record.chart = record.module.mount(record.panel, page);
    } catch (error) {
      broken(record, error);
    }
  }

  function broken(record, error) {
    console.warn(`the panel ${record.spec.id} could not be loaded:`, error);
    const frame = panel({ id: record.spec.id, title: record.spec.title, wide: record.spec.wide });
    frame.empty(
      emptyState({
        title: "This panel could not be loaded",
        text: "Load the page again; if that does not help, the server's files are incomplete.",
      }),
    );
    replace(record.node, frame.node);
  }

  function schedule(record, least) {
    if (!record.visible || !record.chart || document.hidden) return;
    const wait = Math.max(0, record.last + least - Date.now());
    if (wait === 0) {
      run(record);
      return;
    }
    if (!record.timer)
      record.timer = setTimeout(() => {
        record.timer = 0;
        schedule(record, 0);
      }, wait);
  }

  async function run(record) {
    if (record.busy) {
      record.again = true;
      return;
    }
    clearTimeout(record.timer);
    Object.assign(record, { timer: 0, busy: true, again: false, dirty: false, filtered: false });
    const { panel: frame } = record;
    frame.loading();
    try {
      await record.chart.refresh();
      record.drawn = true;
    } catch (error) {
      failed(record, error);
    }
    frame.node.removeAttribute("aria-busy");
    record.last = Date.now();
    record.busy = false;
    if (record.again) run(record);
    else if (record.dirty) schedule(record, page.pace());
  }

  // What is drawn stays while the server is away: the page's head says so. Anything else is the reader's to know.
  function failed(record, error) {
    if (error?.name === "AbortError") return;
    if (record.drawn && error?.status === 0) {
      record.dirty = true;
      return;
    }
    if (!error?.status) console.error(error);
    record.panel.problem(error);
    record.panel.body.append(
      h(
        "div",
        { class: "row panel-again" },
        h("button", { type: "button", class: "button quiet small", on: { click: () => run(record) } }, "Try again"),
      ),
    );
  }

  function all(fn) {
    for (const record of records.values()) if (record.spec.kind === "chart") fn(record);
  }

  page.on("filter", () =>
    all((record) => {
      record.dirty = record.filtered = true;
      schedule(record, 0);
    }),
  );
  page.on("changes", (changes) =>
    all((record) => {
      record.dirty = true;
      if (record.visible && record.drawn) record.chart?.changed?.(changes);
      schedule(record, page.pace());
    }),
  );
  document.addEventListener("visibilitychange", () =>
    all((record) => {
      if (record.dirty) schedule(record, 0);
    }),
  );

  page.refresh = (frame) => {
    for (const record of records.values())
      if (record.panel === frame) {
        record.dirty = true;
        schedule(record, 0);
      }
    return Promise.resolve();
  };
  return { slot };
}

function waiting({ id, title }) {
  return h(
    "section",
    { class: "panel waiting", dataset: { test: `panel-${id}` }, "aria-label": title, "aria-busy": "true" },
    h("header", { class: "panel-head" }, h("h2", null, title)),
    h("div", { class: "panel-body" }, skeleton(4)),
  );
}
