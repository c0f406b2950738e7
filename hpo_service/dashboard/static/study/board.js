// The study page put together: header, filter bar, tabs and the views, each built when it is first shown. What panels do is in panels.js.

import { byId, h, replace } from "../core/dom.js";
import { missing } from "../core/frame.js";
import { shortcut } from "../core/keys.js";
import { problemBox, tabs } from "../core/ui.js";
import { param } from "../core/url.js";
import { mount as mountFilter } from "./filterbar.js";
import { mount as mountHeader } from "./header.js";
import { makePanels } from "./panels.js";
import { makePage } from "./state.js";
import { offered, VIEWS } from "./views.js";

export async function start() {
  const page = makePage(document.body.dataset.study);
  if (VIEWS.find(({ id }) => id === param("view", "overview").get())?.plots) fetchPlotly();
  try {
    await page.begin();
  } catch (error) {
    stay(error, page.id);
    return;
  }
  mountHeader(byId("study-head"), page);
  mountFilter(byId("study-filter"), page);
  mountViews(page);
  document.body.dataset.ready = "1";
}

// Under way while the study is asked for; run only once the head is drawn, for that takes the browser a while.
function fetchPlotly() {
  document.head.append(h("link", { rel: "preload", as: "script", href: document.querySelector('meta[name="plotly"]').content }));
}

function stay(error, id) {
  if (error.status === 404) {
    missing({ what: "study", id });
    return;
  }
  replace(
    byId("study-head"),
    h("h1", null, "The study cannot be shown"),
    problemBox(error, () => location.reload()),
  );
}

function mountViews(page) {
  const panels = makePanels(page);
  const chosen = param("view", "overview");
  const known = (id) => (VIEWS.some((view) => view.id === id) ? id : "overview");
  const nodes = new Map();
  const area = byId("study-views");
  const bar = byId("study-tabs");
  page.view = known(chosen.get());

  function view(id) {
    if (!nodes.has(id)) {
      const holds = VIEWS.find((one) => one.id === id).holds(page);
      const node = h(
        "div",
        { class: ["view", `view-${id}`], id: `view-${id}`, role: "tabpanel", "aria-label": VIEWS.find((one) => one.id === id).label },
        holds.map(panels.slot),
      );
      nodes.set(id, node);
      area.append(node);
    }
    return nodes.get(id);
  }

  function draw(id) {
    page.view = known(id);
    view(page.view);
    for (const [name, node] of nodes) node.hidden = name !== page.view;
    byId("study-filter").hidden = Boolean(VIEWS.find((one) => one.id === page.view).unfiltered);
    replace(
      bar,
      tabs(
        offered(page, page.view).map((one) => ({ id: one.id, label: one.label })),
        page.view,
        (next) => page.show(next),
      ),
    );
  }

  page.show = (id) => {
    const focused = bar.contains(document.activeElement);
    chosen.set(id, { push: true });
    draw(id);
    if (focused) bar.querySelector("[aria-selected=true]")?.focus();
  };
  chosen.on(draw);
  const step = (by) => {
    const ids = offered(page, page.view).map((one) => one.id);
    page.show(ids[(ids.indexOf(page.view) + by + ids.length) % ids.length]);
  };
  shortcut("]", "next view", () => step(1));
  shortcut("[", "previous view", () => step(-1));
  draw(page.view);
}
