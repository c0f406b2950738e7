// Who trained what, when: attempts by worker as bars (/timeline), with utilisation, gaps and failures; back in time page by page.

import { h, replace } from "../core/dom.js";
import { duration, integer, number, percent, plural, when } from "../core/format.js";
import { plot } from "../core/plot.js";
import { colours } from "../core/theme.js";
import { button, emptyState, progress } from "../core/ui.js";
import { param } from "../core/url.js";
import { levelText, matching, noteOf, safe, stage } from "./common.js";
import { markColour } from "./mark_colours.js";

export const info = {
  id: "timeline",
  title: "Attempts by worker",
  help:
    "Each row is a worker, each bar one attempt: a trial trained from one level to the next. Empty space is time in which the worker had nothing to do. " +
    "Trials that train together share a row and lie above each other. Click a bar to open its trial.",
};

const LIMIT = 1000;
const until = param("ti", 0);
// Colour and pattern, so that a printed or colour-blind view tells the same.
const OUTCOMES = {
  reached: { word: "reached its target", colour: () => markColour("finished"), pattern: "" },
  completed: { word: "ended by itself", colour: (c) => c.categories[5], pattern: "." },
  paused: { word: "paused", colour: () => markColour("paused"), pattern: "-" },
  cancelled: { word: "cancelled", colour: () => markColour("stopped"), pattern: "" },
  failed: { word: "failed", colour: () => markColour("failed"), pattern: "x" },
  lost: { word: "worker lost", colour: (c) => c.categories[3], pattern: "/" },
  open: { word: "running", colour: () => markColour("running"), pattern: "\\" },
};

// Plotly draws instants as UTC; the axis shows the reader's time.
const local = (s) => 1000 * s - 60000 * new Date(1000 * s).getTimezoneOffset();

export function mount(panel, page) {
  const figure = h("div", { class: "timeline-figure" });
  const table = h("div", { class: "table-box" });
  const view = stage(panel, figure, table);
  const earlier = button("Earlier", () => data?.more_before && until.set(data.more_before, { push: true }), { small: true });
  const newest = button("Newest", () => until.set(0), { small: true });
  replace(panel.tools, earlier, newest);
  until.on(() => page.refresh(panel));
  let data = null,
    matches = null;

  async function refresh() {
    data = await page.get("/timeline", { filter: null, until: until.get() || null, limit: LIMIT });
    earlier.disabled = !data.more_before;
    newest.disabled = !until.get();
    if (!data.attempts.trial.length)
      return panel.empty(emptyState({ title: "No attempt yet", text: "Bars appear here as soon as a worker begins to train a trial." }));
    matches = await matching(page, data.attempts.trial);
    view.show();
    await render();
    return undefined;
  }

  async function render() {
    const { workers, attempts } = data;
    const rows = workers.length;
    const now = Math.max(data.until ?? 0, ...attempts.end.filter((one) => one !== null), ...attempts.start);
    const end = until.get() ? now : Math.max(now, Math.min(Date.now() / 1000, now + 3600) * Number(attempts.end.includes(null)));
    await plot(
      figure,
      [...tracesOf(attempts, end), ...failures(attempts)],
      layoutOf(workers, { from: data.from, end, seq: data.seq, until: until.get(), narrow: figure.clientWidth < 560 }),
      {
        height: Math.min(900, 76 + rows * (rows < 5 ? 44 : 34)),
        label: inWords(workers, attempts),
        onClick: (n) => Number.isInteger(n) && page.openTrial(n),
      },
    );
    replace(table, tableOf(workers));
    panel.note(
      noteOf(data, {
        noun: "attempts",
        more: [
          `${when(data.from)} to ${when(end)}`,
          matches ? `${plural(matches.size, "trial")} here ${matches.size === 1 ? "matches" : "match"} the filter` : "",
        ],
      }),
    );
  }

  function tracesOf(attempts, end) {
    const colour = colours();
    const kind = (i) => (attempts.end[i] === null ? "open" : attempts.outcome[i] in OUTCOMES ? attempts.outcome[i] : "cancelled");
    const all = attempts.trial.map((_, i) => i);
    return Object.entries(OUTCOMES)
      .map(([name, { word, colour: of, pattern }]) => {
        const some = all.filter((i) => kind(i) === name);
        const tall = (i) => 0.78 / Math.max(1, attempts.width[i] ?? 1);
        const faint = (i) => matches !== null && !matches.has(attempts.trial[i]);
        const stop = (i) => attempts.end[i] ?? end;
        return (
          some.length && {
            type: "bar",
            orientation: "h",
            name: word,
            base: some.map((i) => local(attempts.start[i])),
            x: some.map((i) => 1000 * Math.max(0, stop(i) - attempts.start[i])),
            y: some.map((i) => attempts.worker[i] - 0.39 + tall(i) * ((attempts.lane[i] ?? 0) + 0.5)),
            width: some.map((i) => tall(i) * 0.94),
            customdata: some.map((i) => attempts.trial[i]),
            marker: {
              color: some.map((i) => (faint(i) ? colour.line : of(colour))),
              line: { color: colour.panel, width: 0.5 },
              pattern: { shape: pattern, fillmode: "overlay", size: 6, solidity: 0.2, fgcolor: colour.panel },
            },
            text: some.map(
              (i) =>
                `Trial ${attempts.trial[i]}, attempt ${attempts.fence[i]}: ${word}<br>from ${number(attempts.from_resource[i])} to ${safe(levelText(page.resourceName, attempts.resource[i]))}<br>${duration(stop(i) - attempts.start[i])}, from ${when(attempts.start[i])}`,
            ),
            textposition: "none",
            hovertemplate: "%{text}<extra></extra>",
          }
        );
      })
      .filter(Boolean);
  }

  view.onTheme(() => data && render());
  return { refresh };
}

// A failed attempt may be shorter than a pixel: each has a cross at its end.
function failures(attempts) {
  const some = attempts.trial.map((_, i) => i).filter((i) => attempts.outcome[i] === "failed" || attempts.outcome[i] === "lost");
  return some.length
    ? [
        {
          type: "scatter",
          mode: "markers",
          showlegend: false,
          hoverinfo: "skip",
          x: some.map((i) => local(attempts.end[i] ?? attempts.start[i])),
          y: some.map((i) => attempts.worker[i]),
          marker: { symbol: "x", size: 8, color: markColour("failed"), line: { color: colours().panel, width: 1.5 } },
        },
      ]
    : [];
}

const nameOf = (worker, i, nodes) => `${nodes > 1 && worker.node ? `${safe(worker.node, 12)} · ` : ""}${safe(worker.id ?? i, 16)}`;

const tail = (id, most) => (id.length > most ? `…${safe(id.slice(-most), most)}` : safe(id));

function layoutOf(workers, { from, end, seq, until: at, narrow }) {
  const nodes = new Set(workers.map((one) => one.node)).size;
  const colour = colours();
  return {
    barmode: "overlay",
    bargap: 0,
    meta: { seq },
    uirevision: String(at),
    showlegend: true,
    xaxis: { type: "date", range: [local(from), local(end + Math.max(1, (end - from) * 0.01))], nticks: narrow ? 4 : 9 },
    yaxis: {
      range: [workers.length - 0.4, -0.6],
      tickvals: workers.map((_, i) => i),
      ticktext: workers.map((one, i) => `${narrow ? tail(String(one.id ?? i), 8) : nameOf(one, i, nodes)}  ${percent(one.utilisation, 0)}`),
      showgrid: false,
      zeroline: false,
      fixedrange: true,
    },
    shapes: workers.map((_, i) => ({
      type: "rect",
      layer: "below",
      xref: "paper",
      x0: 0,
      x1: 1,
      y0: i - 0.42,
      y1: i + 0.42,
      fillcolor: colour.line,
      opacity: 0.35,
      line: { width: 0 },
    })),
  };
}

function tableOf(workers) {
  return h(
    "table",
    { class: "tight" },
    h("caption", { class: "visually-hidden" }, "Workers in the time shown"),
    h(
      "thead",
      null,
      h(
        "tr",
        null,
        ["Worker", "Node", "Device", "Busy", "Utilisation", "Attempts", "Failures"].map((text, i) =>
          h("th", { scope: "col", class: i > 2 ? "num" : null }, text),
        ),
      ),
    ),
    h(
      "tbody",
      null,
      workers.map((one) =>
        h(
          "tr",
          null,
          h("th", { scope: "row", class: "nowrap" }, h("bdi", null, one.id)),
          h("td", null, h("bdi", null, one.node ?? "–")),
          h("td", null, one.device ?? "–"),
          h("td", { class: "num" }, duration(one.busy_s)),
          h(
            "td",
            { class: "num" },
            h(
              "span",
              { class: "utilisation" },
              progress({ value: one.utilisation, max: 1, label: `${percent(one.utilisation, 0)} busy` }),
              percent(one.utilisation, 0),
            ),
          ),
          h("td", { class: "num" }, integer(one.attempts)),
          h("td", { class: ["num", one.failures ? "bad" : "quiet"] }, integer(one.failures)),
        ),
      ),
    ),
  );
}

function inWords(workers, attempts) {
  const failures = workers.reduce((sum, one) => sum + one.failures, 0);
  return `${plural(attempts.trial.length, "attempt")} on ${plural(workers.length, "worker")}, ${plural(failures, "failure")}. ${workers
    .slice(0, 12)
    .map((one) => `${one.id} busy ${percent(one.utilisation, 0)}`)
    .join(", ")}`;
}
