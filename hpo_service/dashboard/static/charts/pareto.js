// Several objectives: the trials that no other trial beats in all of them (/pareto); two chosen objectives as a plane, or all of them side by side.

import { h, replace } from "../core/dom.js";
import { isShare, metric as metricText, plural } from "../core/format.js";
import { plot, robustRange } from "../core/plot.js";
import { colours } from "../core/theme.js";
import { emptyState, segmented } from "../core/ui.js";
import { param } from "../core/url.js";
import { axisPair, brushed, dots, hoverPart, matching, noteOf, outsideNote, safe, stage, valueAxis } from "./common.js";

export const info = {
  id: "pareto",
  title: "Pareto front",
  help:
    "With several objectives there is no single best trial, but a front: trials that cannot be improved in one objective without losing in another. Everything off the front is beaten by some trial on it in every respect. " +
    "Choose the point on the front whose price you are willing to pay.",
};

const xName = param("pa.x", "");
const yName = param("pa.y", "");
const form = param("pa.as", "plane");
const FRONT = 1000; // of so many trials on the front is asked whether they match the filter

export function mount(panel, page) {
  const figure = h("div", { class: "dots-figure" });
  const view = stage(panel, figure);
  const names = page.objectives.map((one) => one.metric);
  const { x, y, choosers } = axisPair({ names, x: xName, y: yName });
  const forms = segmented(
    [
      { id: "plane", label: "plane" },
      { id: "parallel", label: "parallel" },
    ],
    form.get(),
    (id) => form.set(id),
    { label: "Draw as" },
  );
  let data = null,
    matches = null;
  const redraw = () => {
    forms.show(form.get());
    for (const one of choosers) {
      one.fill(names);
      one.node.hidden = form.get() === "parallel";
    }
    if (data) render();
  };
  replace(
    panel.tools,
    choosers.map((one) => one.node),
    names.length > 2 ? forms : null,
  );
  for (const one of [xName, yName, form]) one.on(redraw);

  async function refresh() {
    if (names.length < 2) return panel.empty("This study has one objective; the best trial needs no front.");
    data = await page.get("/pareto", {});
    if (!data.front.number.length && !data.infeasible)
      return panel.empty(
        emptyState({
          title: "No front yet",
          text: `A trial stands on it once it is through and has a finite value for ${names.join(" and ")}.`,
        }),
      );
    matches = await matching(page, data.front.number.slice(0, FRONT));
    view.show();
    for (const one of choosers) one.node.hidden = form.get() === "parallel" && names.length > 2;
    await render();
    return undefined;
  }

  const direction = (name) => data.objectives.find((one) => one.metric === name)?.direction ?? "minimize";
  const column = (part, name) => part.values[data.objectives.findIndex((one) => one.metric === name)] ?? [];
  async function render() {
    if (form.get() === "parallel" && names.length > 2) return parallel();
    const [px, py] = [column(data.points, x()), column(data.points, y())];
    const [fx, fy] = [column(data.front, x()), column(data.front, y())];
    const [rx, ry] = [robustRange([...px, ...fx]), robustRange([...py, ...fy])];
    const order = fx.map((_, i) => i).sort((a, b) => fx[a] - fx[b]);
    const title = (name) => `${safe(name, 28)} (${direction(name) === "maximize" ? "higher" : "lower"} is better)`;
    const layout = {
      xaxis: { ...valueAxis(x(), px, { title: title(x()) }), ...(rx.range ? { range: rx.range } : {}) },
      yaxis: { ...valueAxis(y(), py, { title: title(y()) }), ...(ry.range ? { range: ry.range } : {}) },
      meta: { seq: data.seq },
      uirevision: `${x()}/${y()}`,
      showlegend: true,
    };
    await plot(
      figure,
      planeTraces({
        data,
        px,
        py,
        fx: order.map((i) => fx[i]),
        fy: order.map((i) => fy[i]),
        on: order.map((i) => data.front.number[i]),
        names: [x(), y()],
        matches,
      }),
      layout,
      {
        height: 420,
        label: `${plural(data.front.number.length, "trial")} on the Pareto front of ${names.join(" and ")}`,
        onClick: (n) => Number.isInteger(n) && page.selection.toggleNumber(n),
        onSelect: (box) =>
          box &&
          brushed(page.selection, [
            [{ name: x() }, box.x],
            [{ name: y() }, box.y],
          ]),
      },
    );
    return panel.note(
      noteOf(data, {
        noun: "trials that came to their end",
        more: [
          `${plural(data.front.size ?? data.front.number.length, "trial")} on the front`,
          data.infeasible ? `${data.infeasible} not known to keep all constraints` : "",
          data.note,
          outsideNote(rx.outside + ry.outside, "the axes"),
        ],
      }),
    );
  }

  // Each objective an axis of its own, better at the top; a trial is one line over all of them.
  async function parallel() {
    const axes = data.objectives.map(({ metric, direction: to }) => {
      const values = [column(data.points, metric), column(data.front, metric)];
      const { range, outside } = robustRange(values.flat()),
        [lo, hi] = range ?? [Math.min(...values.flat()), Math.max(...values.flat()) + 1e-9];
      const flip = to !== "maximize";
      const at = (v) => {
        const share = Math.min(1, Math.max(0, (v - lo) / (hi - lo || 1)));
        return flip ? 1 - share : share;
      };
      return { metric, outside, values, at, top: flip ? lo : hi, bottom: flip ? hi : lo };
    });
    const outside = axes.reduce((sum, one) => sum + one.outside, 0);
    await plot(figure, parallelTraces(data, axes, matches), parallelLayout(axes, data.seq), {
      height: 420,
      label: `All objectives side by side; ${plural(data.front.number.length, "trial")} on the front`,
      onClick: (n) => Number.isInteger(n) && page.selection.toggleNumber(n),
    });
    panel.note(
      noteOf(data, {
        noun: "trials that came to their end",
        more: [
          `${plural(data.front.size ?? data.front.number.length, "trial")} on the front`,
          "better is further up",
          data.note,
          outside ? `${outside} values drawn at the end of an axis` : "",
        ],
      }),
    );
  }
  view.onTheme(() => data && render());
  return { refresh };
}

function planeTraces({ data, px, py, fx, fy, on, names, matches }) {
  const colour = colours();
  const front = new Set(data.front.number);
  const text = (n, a, b) => `Trial ${n}<br>${safe(names[0])} ${metricText(names[0], a)}<br>${safe(names[1])} ${metricText(names[1], b)}`;
  const drawn = data.points.number.map((_, i) => i).filter((i) => px[i] !== null && py[i] !== null);
  const broken = drawn.filter((i) => !data.points.feasible[i]);
  const cloud = (wanted, more) => {
    const some = drawn.filter(
      (i) => data.points.feasible[i] && !front.has(data.points.number[i]) && Boolean(data.points.matches[i]) === wanted,
    );
    return dots({
      x: some.map((i) => px[i]),
      y: some.map((i) => py[i]),
      numbers: some.map((i) => data.points.number[i]),
      colour: colour.quiet,
      size: 6,
      showlegend: false,
      ...more,
    });
  };
  return [
    cloud(false, { opacity: 0.18 }),
    cloud(true, { opacity: 0.7, template: names.map((name, k) => hoverPart(name, k ? "y" : "x", { share: isShare(name) })).join("<br>") }),
    { type: "scatter", mode: "markers", name: "other trials", x: [null], y: [null], marker: { color: colour.quiet, size: 7 } },
    ...(broken.length
      ? [
          {
            type: "scatter",
            mode: "markers",
            name: "do not keep all constraints",
            x: broken.map((i) => px[i]),
            y: broken.map((i) => py[i]),
            customdata: broken.map((i) => data.points.number[i]),
            marker: {
              symbol: "circle-open",
              size: 7,
              color: colour.quiet,
              line: { width: 1.2 },
              opacity: broken.map((i) => (data.points.matches[i] ? 0.8 : 0.25)),
            },
            text: broken.map((i) => text(data.points.number[i], px[i], py[i])),
            hovertemplate: "%{text}<br>does not keep all constraints<extra></extra>",
          },
        ]
      : []),
    {
      type: "scatter",
      mode: data.objectives.length === 2 ? "lines+markers" : "markers",
      name: "Pareto front",
      x: fx,
      y: fy,
      customdata: on,
      line: { shape: "hv", color: colour.accent, width: 1.5 },
      marker: {
        color: colour.accent,
        size: 10,
        symbol: "diamond",
        opacity: on.map((n) => (matches && !matches.has(n) ? 0.25 : 1)),
        line: { color: colour.panel, width: 1.5 },
      },
      text: on.map((n, i) => text(n, fx[i], fy[i])),
      hovertemplate: "%{text}<br>on the front<extra></extra>",
    },
  ];
}

// All lines of one kind are one trace, with gaps between them.
function parallelTraces({ front, points }, axes, matches) {
  const colour = colours(),
    on = new Set(front.number);
  const lines = (numbers, part, keep, line, more) => {
    const some = numbers.map((_, i) => i).filter(keep);
    const spread = (each) => some.flatMap((i) => [...axes.map((axis, k) => each(axis, k, i)), null]);
    return {
      type: "scatter",
      mode: "lines",
      x: spread((_, k) => k),
      y: spread((axis, __, i) => axis.at(axis.values[part][i])),
      customdata: spread((_, __, i) => numbers[i]),
      line,
      hoverinfo: "skip",
      ...more,
      ...(more?.mode
        ? {
            text: spread((axis, _, i) => `Trial ${numbers[i]}<br>${safe(axis.metric)} ${metricText(axis.metric, axis.values[part][i])}`),
            hoverinfo: "text",
          }
        : {}),
    };
  };
  return [
    lines(points.number, 0, (i) => !on.has(points.number[i]), { color: colour.line, width: 1 }, { name: "other trials" }),
    lines(
      points.number,
      0,
      (i) => matches !== null && points.matches[i] && !on.has(points.number[i]),
      { color: colour.quiet, width: 1 },
      { name: "matching the filter", visible: matches !== null },
    ),
    lines(
      front.number,
      1,
      () => true,
      { color: colour.accent, width: 2 },
      { name: "Pareto front", mode: "lines+markers", marker: { symbol: "diamond", size: 8, color: colour.accent } },
    ),
  ];
}

function parallelLayout(axes, seq) {
  const colour = colours();
  const figure = (axis, k, y, text, anchor) => ({
    x: k,
    y,
    text,
    showarrow: false,
    yanchor: anchor,
    bgcolor: colour.panel,
    font: { color: colour.quiet, size: 11 },
  });
  return {
    meta: { seq },
    uirevision: "parallel",
    showlegend: true,
    margin: { l: 30, r: 30, t: 30, b: 10 },
    yaxis: { visible: false, range: [-0.09, 1.09], fixedrange: true },
    xaxis: {
      range: [-0.25, axes.length - 0.75],
      tickvals: axes.map((_, k) => k),
      ticktext: axes.map((axis) => safe(axis.metric, 20)),
      showgrid: true,
      gridcolor: colour.quiet,
      zeroline: false,
      fixedrange: true,
    },
    annotations: axes.flatMap((axis, k) => [
      figure(axis, k, 1.02, metricText(axis.metric, axis.top), "bottom"),
      figure(axis, k, -0.02, metricText(axis.metric, axis.bottom), "top"),
    ]),
  };
}
