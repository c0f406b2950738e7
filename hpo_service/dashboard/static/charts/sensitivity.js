// Around the baseline: what happens when one parameter at a time is changed (/sensitivity), and a button that tries what was not tried yet.

import { post } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { metric as metricText, params as paramsText, plural, value } from "../core/format.js";
import { plot } from "../core/plot.js";
import { colours } from "../core/theme.js";
import { button, confirmed, emptyState, segmented, toast } from "../core/ui.js";
import { param } from "../core/url.js";
import { axisOf, chooser, fateOf, gentleRange, matching, onWidth, outsideNote, safe, stage, valueAxis } from "./common.js";

export const info = {
  id: "sensitivity",
  title: "Around the baseline",
  help:
    "The baseline (or another trial) with one parameter changed at a time and all others left as they are: the plainest way to see what a parameter does. " +
    "“Spread” orders the parameters by how far they move the value. Suggested trials fill the gaps; trying them costs the usual training time and is tried before what the sampler proposes.",
};

const CELL = 200,
  ROW = 176;
const form = param("se", "lines");
const around = param("se.t", ""); // "" the baseline, "best", or a trial's number

export function mount(panel, page) {
  const figure = h("div", null);
  const view = stage(panel, figure);
  let data = null,
    matches = null;
  const forms = segmented(
    [
      { id: "lines", label: "lines" },
      { id: "spread", label: "spread" },
    ],
    form.get(),
    (id) => form.set(id),
    { label: "Draw as" },
  );
  const attempt = button("Try", () => enqueue(), { kind: "primary", small: true });
  attempt.hidden = true;
  const origin = () => (around.get() === "best" ? page.study().best?.trial : around.get() === "" ? null : Number(around.get()));
  const centre = chooser({ label: "Around", options: [], get: around.get, set: (id) => around.set(id) });
  around.on(() => page.refresh(panel));
  replace(panel.tools, centre.node, forms, attempt);
  form.on((id) => {
    forms.show(id);
    if (data && view.node.isConnected) render();
  });

  const suggested = () => [...(data.missing ? [{ params: data.missing }] : []), ...data.parameters.flatMap((one) => one.suggested ?? [])];

  async function refresh() {
    centre.fill(centres(page));
    data = complete(await page.get("/sensitivity", { filter: null, trial: origin() ?? null }), page);
    const more = suggested().length;
    attempt.replaceChildren(`Try these ${more}`);
    const tried = data.parameters.some((one) => one.points.some((point) => point.trial !== data.baseline?.trial));
    attempt.hidden = !more || !page.mayEdit() || !data.baseline || !tried; // what is empty offers it in its midst
    if (!data.baseline) return panel.empty(noBaseline(more));
    if (!tried) {
      return panel.empty(
        emptyState({
          title: `No trial differs from ${around.get() === "" ? "the baseline" : `trial ${data.baseline.trial}`} in one parameter only`,
          text: more
            ? `A sampler changes all parameters at once. Try ${plural(more, "configuration")} that change one at a time to see what each parameter does.`
            : data.note,
          actions: offer(more),
        }),
      );
    }
    matches = await matching(
      page,
      data.parameters.flatMap((one) => one.points.map((point) => point.trial)),
    );
    view.show();
    await render();
    return undefined;
  }

  const offer = (more) => (more && page.mayEdit() ? [button(`Try these ${more}`, () => enqueue(), { kind: "primary" })] : []);
  const noBaseline = (more) =>
    data.missing
      ? emptyState({
          title: "The baseline was not tried yet",
          text: `The baseline is the space's defaults: ${paramsText(data.missing)}. Try it, and ${plural(more - 1, "configuration")} that change one parameter of it.`,
          actions: offer(more),
        })
      : emptyState({
          title: "There is no baseline",
          text:
            data.note ||
            "Give each parameter a default: the configuration you would use without a search. It runs first, and the search shows what it is worth.",
          actions: page.study().best ? [button("Look around the best trial", () => around.set("best"))] : [],
        });

  async function enqueue() {
    const list = suggested();
    const names = [...new Set(data.parameters.filter((one) => one.suggested?.length).map((one) => one.name))];
    const yes = await confirmed(
      `This adds ${plural(list.length, "trial")} to the study: ${data.missing ? "the baseline, and " : ""}${around.get() === "" ? "the baseline" : `trial ${data.baseline.trial}`} with one of ${names.join(", ")} changed. They are tried before anything else and count against the budget. The first one: ${paramsText(list[0].params)}.`,
      { title: `Try ${plural(list.length, "configuration")}?`, yes: `Try these ${list.length}` },
    );
    if (!yes) return;
    attempt.disabled = true;
    try {
      await post(page.path("/trials"), { configurations: list.map((one) => one.params) });
      const over = ["finished", "stopped", "failed"].includes(page.study().state);
      toast(
        over
          ? `${plural(list.length, "configuration")} enqueued. The study is ${page.study().state}: raise its budget and let it go on to train them.`
          : `${plural(list.length, "configuration")} will be tried next.`,
        over ? "warn" : "good",
        { action: { label: "Show them", run: () => page.selection.term("origin", ":", "enqueued") } },
      );
      page.reload();
      page.refresh(panel);
    } catch (error) {
      toast([error.message, error.remedy].filter(Boolean).join(" "), "bad");
    }
    attempt.disabled = false;
  }

  async function render() {
    const { range, outside } = gentleRange([
      ...data.parameters.flatMap((one) => one.points.map((point) => point.value)),
      data.baseline.value,
    ]);
    const options = { data, page, matches, range, width: figure.clientWidth || 600 };
    const { traces, layout, height } = form.get() === "spread" ? spread(options) : lines(options);
    await plot(
      figure,
      traces,
      { ...layout, meta: { seq: data.seq }, uirevision: form.get() },
      { height, label: inWords(data, page), onClick: (n) => Number.isInteger(n) && page.selection.toggleNumber(n) },
    );
    const open = data.parameters
      .flatMap((one) => one.points)
      .filter((point) => point.value === null && ["waiting", "running", "paused"].includes(point.state)).length;
    panel.note(
      [
        `${centreWord(data)}, ${page.metricName} ${metricText(page.metricName, data.baseline.value)}`,
        open ? `${plural(open, "trial")} without a value yet` : "",
        suggested().length ? "hollow marks are suggestions, not tried yet" : "",
        outsideNote(outside, "the axis"),
        data.note,
      ]
        .filter(Boolean)
        .join("; "),
    );
  }
  const again = () => data?.baseline && figure.dataset.ready && view.node.isConnected && render();
  view.onTheme(again);
  onWidth(figure, again);
  return { refresh };
}

function centres(page) {
  const best = page.study().best?.trial;
  const numbers = [...new Set([...page.selection.numbers().slice(0, 8), Number(around.get())])].filter(
    (n) => Number.isInteger(n) && (n > 0 || around.get() === "0"),
  );
  return [
    { id: "", label: "the baseline" },
    ...(best === undefined ? [] : [{ id: "best", label: `the best (trial ${best})` }]),
    ...numbers.map((n) => ({ id: String(n), label: `trial ${n}` })),
  ];
}

const centreWord = (data) => (around.get() === "" ? "baseline: trial" : "trial") + ` ${data.baseline.trial}`;

// The baseline is a point of every parameter that it has.
function complete(data, page) {
  const isLog = (name) => page.parameters.some((one) => one.name === name && one.log);
  const { trial, value: at, state } = data.baseline ?? {};
  const own = (one) => (data.baseline && one.x !== undefined ? [{ trial, x: one.x, value: at, state }] : []);
  return {
    ...data,
    parameters: data.parameters.map((one) => ({
      ...one,
      log: one.log || isLog(one.name),
      points: [...own(one), ...one.points.filter((point) => point.trial !== trial)],
    })),
  };
}

const xsOf = (one) => [...one.points, ...(one.suggested ?? [])].map((point) => point.x);
const kindOf = (one) => (xsOf(one).every((x) => typeof x === "number") ? "number" : "category");

function spanOf(one) {
  const xs = xsOf(one)
    .filter((x) => !one.log || x > 0)
    .map((x) => (one.log ? Math.log10(x) : x));
  const [lo, hi] = [Math.min(...xs), Math.max(...xs)],
    edge = 0.09 * (hi - lo || 1);
  return [lo - edge, hi + edge];
}

const sorted = (points) => [...points].sort((a, b) => (typeof a.x === "number" && typeof b.x === "number" ? a.x - b.x : 0));
const label = (x) => safe(value(x), 12);

// One small chart per parameter with a common vertical axis; the baseline's value as a line through all of them.
function lines({ data, page, matches, range, width }) {
  const colour = colours();
  const shown = data.parameters.filter((one) => one.points.length || one.suggested?.length);
  const columns = Math.max(1, Math.min(shown.length, Math.floor(width / CELL)));
  const rows = Math.ceil(shown.length / columns),
    height = rows * ROW + 30;
  const layout = { shapes: [], showlegend: false };
  const traces = shown.flatMap((one, k) => {
    const id = k ? String(k + 1) : "",
      row = Math.floor(k / columns),
      column = k % columns,
      gap = 0.03,
      wide = (1 - gap * (columns - 1)) / columns;
    const cells = kindOf(one) === "category";
    layout[`xaxis${id}`] = {
      domain: [column * (wide + gap), column * (wide + gap) + wide],
      anchor: `y${id}`,
      ...(cells ? { type: "category" } : axisOf({ type: "number", log: one.log }, xsOf(one)).axis),
      ...(cells ? {} : { range: spanOf(one) }),
      title: { text: safe(one.name, 24) },
      nticks: 4,
      automargin: false,
    };
    layout[`yaxis${id}`] = {
      domain: [1 - (row + 1) / rows + 46 / height, 1 - row / rows - 0.01],
      anchor: `x${id}`,
      ...valueAxis(page.metricName, [...data.parameters.flatMap((each) => each.points.map((point) => point.value))], {
        title: column === 0 ? safe(page.metricName, 20) : "",
      }),
      ...(range ? { range } : {}),
      ...(k ? { matches: "y" } : {}),
      nticks: 4,
      showticklabels: column === 0,
      automargin: column === 0,
    };
    layout.shapes.push({
      type: "line",
      layer: "below",
      xref: `x${id} domain`,
      yref: `y${id}`,
      x0: 0,
      x1: 1,
      y0: data.baseline.value,
      y1: data.baseline.value,
      line: { color: colour.quiet, width: 1, dash: "dot" },
    });
    return tracesOf(one, { id, cells, data, page, matches });
  });
  return { traces, layout, height };
}

function tracesOf(one, { id, cells, data, page, matches }) {
  const colour = colours();
  const place = (x) => (cells ? label(x) : x);
  const points = sorted(one.points.filter((point) => point.value !== null));
  const own = { xaxis: `x${id}`, yaxis: `y${id}`, type: "scatter" };
  const base = (point) => point.trial === data.baseline.trial;
  const text = (point) =>
    `${base(point) && around.get() === "" ? "Baseline, trial" : "Trial"} ${point.trial}<br>${safe(one.name)} ${label(point.x)}<br>${safe(page.metricName)} ${metricText(page.metricName, point.value)}`;
  const hopes = sorted(one.suggested ?? []);
  return [
    {
      ...own,
      mode: cells ? "markers" : "lines+markers",
      x: points.map((point) => place(point.x)),
      y: points.map((point) => point.value),
      customdata: points.map((point) => point.trial),
      line: { color: colour.accent, width: 1.5 },
      marker: {
        size: points.map((point) => (base(point) ? 11 : 8)),
        symbol: points.map((point) => (base(point) ? "diamond" : fateOf(point.state).symbol)),
        opacity: points.map((point) => (matches && !matches.has(point.trial) ? 0.2 : 1)),
        color: points.map((point) => (base(point) ? colour.ink : colour.accent)),
        line: { color: colour.panel, width: 1 },
      },
      text: points.map(text),
      hovertemplate: "%{text}<extra></extra>",
    },
    {
      ...own,
      mode: "markers",
      x: hopes.map((point) => place(point.x)),
      y: hopes.map(() => data.baseline.value),
      marker: { symbol: "circle-open", size: 9, color: colour.quiet, line: { width: 1.5 } },
      hovertemplate: `not tried yet: ${safe(one.name)} %{x}<extra></extra>`,
    },
  ];
}

// A tornado: from the worst to the best value that changing this parameter alone gave, widest first.
function spread({ data, page, range }) {
  const colour = colours();
  const base = data.baseline.value;
  const found = data.parameters
    .map((one) => ({ name: one.name, values: one.points.filter((point) => point.value !== null) }))
    .filter((one) => one.values.length > 1)
    .map(({ name, values }) => ({
      name,
      low: values.reduce((a, b) => (b.value < a.value ? b : a)),
      high: values.reduce((a, b) => (b.value > a.value ? b : a)),
    }))
    .sort((a, b) => a.high.value - a.low.value - (b.high.value - b.low.value));
  const bar = (side, better) => ({
    type: "bar",
    orientation: "h",
    name: `${better ? "better" : "worse"} than ${around.get() === "" ? "the baseline" : `trial ${data.baseline.trial}`}`,
    y: found.map((_, k) => k),
    base,
    x: found.map((one) => one[side].value - base),
    customdata: found.map((one) => one[side].trial),
    marker: {
      color: better ? colour.categories[0] : colour.categories[1],
      pattern: { shape: better ? "" : "/", fillmode: "overlay", size: 6, solidity: 0.2, fgcolor: colour.panel },
    },
    text: found.map((one) => (one[side].value === base ? "" : label(one[side].x))),
    textposition: "outside",
    cliponaxis: false,
    textfont: { color: colour.quiet },
    hovertext: found.map(
      (one) => `${safe(one.name)} = ${label(one[side].x)}<br>trial ${one[side].trial}: ${metricText(page.metricName, one[side].value)}`,
    ),
    hovertemplate: "%{hovertext}<extra></extra>",
  });
  return {
    traces: [bar("low", !page.maximize), bar("high", page.maximize)],
    height: Math.max(180, 80 + found.length * 34),
    layout: {
      barmode: "overlay",
      bargap: 0.35,
      showlegend: true,
      xaxis: {
        ...valueAxis(
          page.metricName,
          found.flatMap((one) => [one.low.value, one.high.value]),
        ),
        ...(range ? { range: [range[0] - 0.12 * (range[1] - range[0]), range[1] + 0.12 * (range[1] - range[0])] } : {}),
      },
      yaxis: { showgrid: false, zeroline: false, tickvals: found.map((_, k) => k), ticktext: found.map((one) => safe(one.name, 20)) },
      shapes: [{ type: "line", xref: "x", yref: "paper", x0: base, x1: base, y0: 0, y1: 1, line: { color: colour.ink, width: 1 } }],
    },
  };
}

function inWords(data, page) {
  const ranges = data.parameters
    .map((one) => [one.name, one.points.map((point) => point.value).filter((v) => v !== null)])
    .filter(([, values]) => values.length > 1)
    .map(
      ([name, values]) =>
        `${name} from ${metricText(page.metricName, Math.min(...values))} to ${metricText(page.metricName, Math.max(...values))}`,
    );
  return `${centreWord(data)}, ${metricText(page.metricName, data.baseline.value)}; changing one parameter: ${ranges.join("; ")}`;
}
