// Slices: each parameter against the value, as small multiples with one vertical axis. Points from /sample; a box selects trials everywhere.

import { h, replace } from "../core/dom.js";
import { plural } from "../core/format.js";
import { plot, robustRange } from "../core/plot.js";
import { rangeOf } from "./ranges.js";
import { colours } from "../core/theme.js";
import { emptyState } from "../core/ui.js";
import { param } from "../core/url.js";
import {
  axisOf,
  brushed,
  chooser,
  dots,
  hoverPart,
  noteOf,
  onWidth,
  outsideNote,
  placed,
  safe,
  scaleLegend,
  sequence,
  stage,
  valueAxis,
} from "./common.js";

export const info = {
  id: "slices",
  title: "Slices",
  help:
    "Every trial's value against one parameter at a time. A clear slope or valley means that the parameter matters; a flat cloud means that it hardly does, or that others hide it. " +
    "Drag a box to select these trials everywhere; click a point for one trial. Colour shows the order, so you see where the search went.",
};

const COLOURS = [
  { id: "number", label: "trial number" },
  { id: "started_at", label: "start time" },
  { id: "resource", label: "resource" },
  { id: "none", label: "none" },
];
const LEGENDS = { number: ["first trials", "latest"], started_at: ["started first", "latest"], resource: ["little training", "much"] };
const MARKS = 24000,
  MOST = 20,
  CELL = 210; // marks of all parameters together
const colourBy = param("sl.c", "number");
const logValue = param("sl.y", "linear");

export function mount(panel, page) {
  const figure = h("div", { class: "dots-figure" });
  const legend = h("div", null);
  const view = stage(panel, legend, figure);
  const again = () => page.refresh(panel);
  const tools = [
    chooser({ label: "Colour", options: COLOURS, get: colourBy.get, set: (id) => colourBy.set(id) }),
    chooser({ label: "Value", options: ["linear", "log"], get: logValue.get, set: (id) => logValue.set(id) }),
  ];
  replace(
    panel.tools,
    tools.map((one) => one.node),
  );
  colourBy.on(again);
  logValue.on(again);
  let data = null,
    fields = [],
    listening = false,
    columns = 0;

  async function refresh() {
    const names = page.parameters
      .filter((one) => !one.constant)
      .slice(0, MOST)
      .map((one) => `param.${one.name}`);
    if (!names.length) return panel.empty("The space has no parameter that varies.");
    const colour = colourBy.get() === "none" || colourBy.get() === "number" ? [] : [colourBy.get()];
    data = await page.get("/sample", {
      fields: ["value", ...names, ...colour].join(","),
      limit: Math.min(2000, Math.floor(MARKS / names.length)),
    });
    fields = data.fields.filter((one) => one.kind === "param");
    if (!data.columns.value?.some((one) => one !== null))
      return panel.empty(emptyState({ title: "No values yet", text: "Each trial becomes a point in every box with its first value." }));
    view.show();
    await render();
    return undefined;
  }

  async function render() {
    const most = Math.max(1, Math.min(fields.length, Math.floor((figure.clientWidth || 800) / CELL)));
    const rows = Math.ceil(fields.length / most);
    columns = Math.ceil(fields.length / rows);
    const log = logValue.get() === "log" && data.columns.value.every((one) => one === null || one > 0);
    const y = rangeOf(data.columns.value, { log, name: page.metricName });
    const layout = layoutOf({ data, fields, columns, rows, log, y, page });
    await plot(
      figure,
      tracesOf(),
      { ...layout.layout, meta: { seq: data.seq }, uirevision: `${columns}/${log}` },
      {
        height: rows * 190 + 46,
        label: `${page.metricName} against each of ${fields.map((one) => one.name).join(", ")}`,
        onClick: (n) => Number.isInteger(n) && page.selection.toggleNumber(n),
      },
    );
    replace(legend, LEGENDS[colourBy.get()] ? scaleLegend(...LEGENDS[colourBy.get()]) : null);
    if (!listening) figure.on("plotly_selected", brush);
    listening = true;
    panel.note(
      noteOf(data, {
        more: [
          outsideNote(y.outside, "the vertical axis"),
          data.not_finite?.value ? `${plural(data.not_finite.value, "trial")} without a finite value` : "",
          page.parameters.length > MOST ? `the first ${MOST} parameters` : "",
        ],
      }),
    );
  }

  function tracesOf() {
    const colour = colours(),
      value = data.columns.value;
    const by = colourBy.get() === "none" ? null : colourBy.get() === "number" ? data.number : data.columns[colourBy.get()];
    const share = Boolean(valueAxis(page.metricName, value).tickformat);
    const tints = sequence(),
      bin = binsOf(by, tints.length);
    return fields.flatMap((field, k) => {
      const column = data.columns[field.name],
        x = placed(field, column, data.number);
      const template = [
        field.type === "category"
          ? null
          : hoverPart(field.name, "x", { tiny: field.low !== null && Math.abs(field.low) < 1e-3 && field.low !== 0 }),
        hoverPart(page.metricName, "y", { share }),
      ]
        .filter(Boolean)
        .join("<br>");
      const trace = (keep, more) => {
        const some = data.number.map((_, i) => i).filter((i) => x[i] !== null && value[i] !== null && keep(i));
        return some.length
          ? [
              dots({
                x: some.map((i) => x[i]),
                y: some.map((i) => value[i]),
                numbers: some.map((i) => data.number[i]),
                xaxis: k ? `x${k + 1}` : "x",
                yaxis: k ? `y${k + 1}` : "y",
                ...more,
              }),
            ]
          : [];
      };
      return [
        ...trace((i) => !data.matches[i], { colour: colour.quiet, opacity: 0.2 }),
        ...tints.flatMap((tint, b) =>
          trace((i) => data.matches[i] && bin(i) === b, { colour: by ? tint : colour.accent, opacity: 0.85, template }),
        ),
      ];
    });
  }

  // The box tells which of the small multiples it was drawn in by the name of its axis.
  function brush(event) {
    const key = Object.keys(event?.range ?? {}).find((one) => one.startsWith("x"));
    if (!key) return;
    const field = fields[key === "x" ? 0 : Number(key.slice(1)) - 1];
    brushed(page.selection, [
      [field, event.range[key]],
      [{ name: "value", type: "number" }, event.range[key.replace("x", "y")]],
    ]);
  }

  view.onTheme(() => data && render());
  onWidth(figure, () => data && figure.isConnected && render());
  return { refresh };
}

// A sequential scale in as many steps as it has colours.
function binsOf(by, count) {
  if (!by) return () => 0;
  const { low, high } = robustRange(by);
  return (i) =>
    by[i] === null || low === null ? 0 : Math.min(count - 1, Math.max(0, Math.floor(((by[i] - low) / (high - low || 1)) * count)));
}

// As many letters of a category as its share of a box has room for, so that labels stay level.
const lettersOf = ({ labels }, columns) => Math.max(2, Math.min(16, Math.floor(130 / columns / (labels?.length || 1))));

function layoutOf({ data, fields, columns, rows, log, y, page }) {
  const layout = { dragmode: "select", margin: { l: 8, r: 8, t: 6, b: 8 }, showlegend: false };
  const gap = 0.028,
    left = 0.0;
  const wide = (1 - left - gap * (columns - 1)) / columns,
    tall = 1 / rows;
  const room = 46 / (rows * 190);
  fields.forEach((field, k) => {
    const row = Math.floor(k / columns),
      column = k % columns,
      id = k ? k + 1 : "";
    const { axis } = axisOf(field, data.columns[field.name] ?? [], { most: lettersOf(field, columns) });
    layout[`xaxis${id}`] = {
      ...axis,
      domain: [left + column * (wide + gap), left + column * (wide + gap) + wide],
      anchor: `y${id}`,
      title: { text: safe(field.name, 28) },
      tickangle: 0,
      automargin: false,
      nticks: 4,
      fixedrange: true,
    };
    layout[`yaxis${id}`] = {
      ...valueAxis(page.metricName, data.columns.value, { log, title: column === 0 ? safe(page.metricName, 24) : "" }),
      ...(y.range ? { range: y.range } : {}),
      domain: [1 - (row + 1) * tall + room, 1 - row * tall - 0.01],
      anchor: `x${id}`,
      nticks: 5,
      fixedrange: true,
      ...(k ? { matches: "y" } : {}),
      showticklabels: column === 0,
      automargin: column === 0,
    };
  });
  return { layout };
}
