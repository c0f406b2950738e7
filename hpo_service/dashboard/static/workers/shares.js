// Who waits for workers, and how the studies share them.
//
// shares() → {node, update(cluster)}

import { h, keyed, replace } from "../core/dom.js";
import { integer, number, percent, plural } from "../core/format.js";
import { badge, panel } from "../core/ui.js";
import { colours, onTheme } from "../core/theme.js";

const COLUMNS = [
  ["Study", ""],
  ["Priority", "num"],
  ["Share", "num"],
  ["Running", "num"],
  ["Waiting", "num"],
];
const NAMED = 8;

export function shares() {
  const frame = panel({
    id: "shares",
    title: "Queue and shares",
    help: "Workers are shared between the living studies by their priorities: a study with twice the priority gets twice the workers, up to its own bound of parallel trials.",
  });
  const bar = h("div", { class: "stacked tall", role: "img" });
  const body = h("tbody");
  const whole = h(
    "div",
    { class: "stack" },
    bar,
    h(
      "div",
      { class: "table-box" },
      h(
        "table",
        { class: "tight", "aria-label": "Shares of the studies" },
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            COLUMNS.map(([label, kind]) => h("th", { scope: "col", class: kind || null }, label)),
          ),
        ),
        body,
      ),
    ),
  );
  let last = null;

  function update(cluster) {
    last = cluster;
    frame.ready();
    const studies = cluster.studies
      .filter((one) => one.share || one.open || one.waiting)
      .sort((a, b) => b.share - a.share || b.open - a.open || b.waiting - a.waiting);
    const still = cluster.studies.length - studies.length;
    if (!studies.length) {
      frame.empty(
        still
          ? `No study wants workers at the moment; ${plural(still, "living study rests", "living studies rest")}.`
          : "No study wants workers at the moment.",
      );
      return;
    }
    if (whole.parentNode !== frame.body) replace(frame.body, whole);
    const running = studies.reduce((n, one) => n + one.open, 0);
    bar.hidden = running === 0;
    bar.setAttribute(
      "aria-label",
      `running trials: ${studies
        .filter((one) => one.open)
        .map((one) => `${one.name} ${integer(one.open)}`)
        .join(", ")}`,
    );
    replace(
      bar,
      studies.map((one, i) =>
        one.open
          ? h("span", { style: `flex-grow:${one.open};background:${colour(i)}`, title: `${one.name}: ${integer(one.open)} running` })
          : null,
      ),
    );
    keyed(
      body,
      studies.map((one, i) => ({ ...one, i })),
      { key: (one) => one.id, mark: (one) => JSON.stringify(one) + colour(one.i), make: row },
    );
    const waiting = studies.reduce((n, one) => n + (one.waiting || 0), 0);
    frame.note(
      `${plural(running, "trial")} running, ${integer(waiting)} waiting for a worker${still ? `; ${plural(still, "living study", "living studies")} at rest` : ""}`,
    );
  }

  onTheme(() => {
    if (last) update(last);
  });
  return { node: frame.node, update };
}

const colour = (i) => (i < NAMED ? colours().categories[i] : colours().line);

function row(one) {
  return h(
    "tr",
    null,
    h(
      "th",
      { scope: "row" },
      h(
        "span",
        { class: "named" },
        h("i", { class: "swatch", style: `background:${colour(one.i)}` }),
        h("a", { class: "clip", href: `/studies/${encodeURIComponent(one.id)}`, title: one.name }, h("bdi", null, one.name)),
        one.state === "running" ? null : badge(one.state),
      ),
    ),
    h("td", { class: "num" }, number(one.priority)),
    h(
      "td",
      { class: "num" },
      one.share > 0 ? percent(one.share, 0) : h("span", { class: "quiet", title: "takes no worker of the service" }, "–"),
    ),
    h("td", { class: "num" }, integer(one.open), h("span", { class: "quiet" }, one.parallel ? ` of ${integer(one.parallel)}` : "")),
    h("td", { class: "num" }, integer(one.waiting)),
  );
}
