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
    "A frame holds trials that were trained together, as lanes of one program: they lie above each other, lane by lane, and a lane that is empty at the end " +
    "was done before the others. Click a bar to open its trial; its page names those that shared the launch.",
};

const THIN = 4; // pixels of a lane below which neighbours that fared alike are drawn as one
const NAMED = 8;
const MANY = 40; // failures of which each gets a smaller cross
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
    data = await page.get("/timeline", { filter: null, until: until.get() || null });
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
    const { workers, attempts, launches } = data;
    const rows = workers.length;
    const tall = rowHeight(rows, launches);
    const now = Math.max(data.until ?? 0, ...attempts.end.filter((one) => one !== null), ...attempts.start);
    const end = until.get() ? now : Math.max(now, Math.min(Date.now() / 1000, now + 3600) * Number(attempts.end.includes(null)));
    await plot(
      figure,
      [...tracesOf(stripsOf(data, { end, tall, faint }), end), ...framesOf(launches, end), ...failures(attempts)],
      layoutOf(workers, { from: data.from, end, seq: data.seq, until: until.get(), narrow: figure.clientWidth < 560 }),
      {
        height: 76 + rows * tall,
        label: inWords(workers, attempts, launches),
        onClick: (n) => Number.isInteger(n) && page.openTrial(n),
      },
    );
    replace(table, tableOf(workers));
    panel.note(
      noteOf(data, {
        noun: "attempts",
        more: [
          launches.length ? `${plural(launches.length, "launch", "launches")} of several trials` : "",
          `${when(data.from)} to ${when(end)}`,
          matches ? `${plural(matches.size, "trial")} here ${matches.size === 1 ? "matches" : "match"} the filter` : "",
        ],
      }),
    );
  }

  const faint = (i) => matches !== null && !matches.has(data.attempts.trial[i]);

  function tracesOf(strips, end) {
    const colour = colours();
    const { attempts, launches } = data;
    return Object.entries(OUTCOMES)
      .map(([name, { word, colour: of, pattern }]) => {
        const some = strips.filter((one) => one.kind === name);
        const stop = ({ i }) => attempts.end[i] ?? end;
        // Lanes begin together, though word of it comes one by one; but for those that took a place which fell free.
        const start = ({ i }) => (attempts.filled[i] ? attempts.start[i] : (launches[attempts.launch[i]]?.start ?? attempts.start[i]));
        return (
          some.length && {
            type: "bar",
            orientation: "h",
            name: word,
            base: some.map((one) => local(start(one))),
            x: some.map((one) => 1000 * Math.max(0, stop(one) - start(one))),
            y: some.map((one) => one.y),
            width: some.map((one) => one.height),
            customdata: some.map(({ i }) => attempts.trial[i]),
            marker: {
              color: some.map((one) => (one.faint ? colour.line : of(colour))),
              line: { color: colour.panel, width: some.map((one) => (one.slim ? 0 : 0.5)) },
              pattern: {
                shape: some.map((one) => (one.slim ? "" : pattern)),
                fillmode: "overlay",
                size: 6,
                solidity: 0.2,
                fgcolor: colour.panel,
              },
            },
            text: some.map((one) => wordsOf(one, word, { from: start(one), to: stop(one) }, launches[attempts.launch[one.i]])),
            textposition: "none",
            hovertemplate: "%{text}<extra></extra>",
          }
        );
      })
      .filter(Boolean);
  }

  function wordsOf({ i, members }, word, { from, to }, launch) {
    const { attempts } = data;
    const later = attempts.filled[i] ? ", which had fallen free" : "";
    const lane = launch && members.length === 1 ? `, lane ${attempts.lane[i] + 1} of ${launch.width}${later}` : "";
    const who =
      members.length > 1
        ? `${members.length} lanes: trials ${named(members.map((one) => attempts.trial[one]))}`
        : `Trial ${attempts.trial[i]}, attempt ${attempts.fence[i]}${lane}`;
    return [
      `${who}: ${word}`,
      `from ${number(attempts.from_resource[i])} to ${safe(levelText(page.resourceName, attempts.resource[i]))}`,
      `${duration(to - from)}, from ${when(from)}`,
      launch
        ? `${safe(launch.method)} launch ${safe(launch.id.slice(0, 8))} of ${plural(launch.trials, "trial")}: ${fates(launch.outcomes)}`
        : "",
    ]
      .filter(Boolean)
      .join("<br>");
  }

  view.onTheme(() => data && render());
  return { refresh };
}

const named = (numbers) => numbers.slice(0, NAMED).join(", ") + (numbers.length > NAMED ? ` and ${numbers.length - NAMED} more` : "");
const fates = (outcomes) =>
  Object.entries(outcomes)
    .map(([name, n]) => `${n} ${OUTCOMES[name]?.word ?? name}`)
    .join(", ");

// High enough to tell lanes apart where there are few, and no higher than a screen.
function rowHeight(rows, launches) {
  const plain = rows < 5 ? 44 : 34;
  const lanes = Math.max(1, ...launches.map((one) => one.width));
  return Math.max(14, Math.min(lanes > 1 ? Math.max(plain, Math.min(96, 6 * lanes)) : plain, 824 / rows));
}

// What is drawn as one bar: an attempt; or lanes of a launch that are too thin to be seen one by one, lie side by side and fared alike.
function stripsOf({ attempts, launches, from }, { end, tall, faint }) {
  const kind = (i) => (attempts.end[i] === null ? "open" : attempts.outcome[i] in OUTCOMES ? attempts.outcome[i] : "cancelled");
  const near = (end - from) / 250;
  const strips = [];
  const order = attempts.trial
    .map((_, i) => i)
    .sort((a, b) => attempts.launch[a] - attempts.launch[b] || attempts.lane[a] - attempts.lane[b]);
  for (const i of order) {
    const width = Math.max(1, attempts.width[i] ?? 1);
    const slim = (0.78 * tall) / width < THIN;
    const last = strips.at(-1);
    const joins =
      slim &&
      last?.slim &&
      attempts.launch[i] >= 0 &&
      attempts.launch[last.i] === attempts.launch[i] &&
      attempts.lane[last.members.at(-1)] === attempts.lane[i] - 1 &&
      last.kind === kind(i) &&
      last.faint === faint(i) &&
      attempts.filled[last.i] === attempts.filled[i] &&
      (!attempts.filled[i] || Math.abs(attempts.start[last.i] - attempts.start[i]) < near) &&
      Math.abs((attempts.end[last.i] ?? end) - (attempts.end[i] ?? end)) < near;
    if (joins) last.members.push(i);
    else strips.push({ i, members: [i], kind: kind(i), faint: faint(i), slim });
  }
  for (const strip of strips) {
    const lane = 0.78 / Math.max(1, attempts.width[strip.i] ?? 1);
    const n = strip.members.length;
    strip.y = attempts.worker[strip.i] - 0.39 + lane * ((attempts.lane[strip.i] ?? 0) + n / 2);
    strip.height = lane * n * (strip.slim ? 1 : 0.94);
    strip.slim &&= lane * n * tall < 8;
  }
  return strips;
}

// A frame around what trained together, from its first lane to its last, clones included.
function framesOf(launches, end) {
  const colour = colours();
  return launches.length
    ? [
        {
          type: "bar",
          orientation: "h",
          name: "trained together",
          hoverinfo: "skip",
          base: launches.map((one) => local(one.start)),
          x: launches.map((one) => 1000 * Math.max(0, (one.end ?? end) - one.start)),
          y: launches.map((one) => one.worker),
          width: 0.8,
          marker: { color: "rgba(0,0,0,0)", line: { color: colour.quiet, width: 1 } },
        },
      ]
    : [];
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
          y: some.map((i) => attempts.worker[i] - 0.39 + (0.78 / Math.max(1, attempts.width[i] ?? 1)) * ((attempts.lane[i] ?? 0) + 0.5)),
          marker: {
            symbol: "x",
            size: some.length > MANY ? 5 : 7,
            color: markColour("failed"),
            line: { color: colours().panel, width: 1.5 },
          },
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
          h("td", { class: "nowrap" }, h("bdi", null, one.node ?? "–")),
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

function inWords(workers, attempts, launches) {
  const failures = workers.reduce((sum, one) => sum + one.failures, 0);
  return `${plural(attempts.trial.length, "attempt")} on ${plural(workers.length, "worker")}${launches.length ? `, ${plural(launches.length, "launch", "launches")} of several trials` : ""}, ${plural(failures, "failure")}. ${workers
    .slice(0, 12)
    .map((one) => `${one.id} busy ${percent(one.utilisation, 0)}`)
    .join(", ")}`;
}
