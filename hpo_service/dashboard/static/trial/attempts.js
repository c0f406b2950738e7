// The trial's attempts: where each was placed, how far it came, what it took and why it ended.

import { h, replace } from "../core/dom.js";
import { bytes, duration, money, NONE, number, percent, when } from "../core/format.js";
import { badge, copyButton, emptyState, panel } from "../core/ui.js";
import { launches } from "./launches.js";

export function mount(node, page) {
  const frame = panel({
    id: "attempts",
    title: "Attempts",
    wide: true,
    help: "An attempt is one placement of the trial on a worker, from one resource level to a target. What comes under an older number (fence) than the newest is refused. Fused attempts were trained together, as lanes of one program: each costs its share of the time.",
  });
  replace(node, frame.node);
  const together = launches(page);
  const draw = () => {
    const rows = [...page.trial().attempt_rows].reverse();
    if (!rows.length) return frame.empty(emptyState({ title: "Not started yet", text: "The trial waits for a free place." }));
    frame.ready();
    return replace(
      frame.body,
      table(rows, page),
      together.of(rows),
      rows
        .filter((one) => one.traceback)
        .slice(0, 5)
        .map((one, i) => traceback(one, i === 0 && page.trial().state === "failed")),
    );
  };
  draw();
  page.on("trial", draw);
}

const OUTCOMES = { reached: "finished", completed: "finished", cancelled: "stopped", paused: "paused", failed: "failed", lost: "failed" };

function table(rows, page) {
  const memory = rows.some((one) => one.peak_memory_bytes || one.gpu_peak_memory_bytes);
  const wide = rows.some((one) => one.width > 1);
  const head = [
    "#",
    "Outcome",
    "From – to",
    "Worker",
    "Device",
    wide && "Trained",
    "Time",
    memory && "Memory",
    "Cost",
    "Began",
    "Why it ended",
  ].filter(Boolean);
  return h(
    "div",
    { class: "table-box", tabindex: "0", role: "region", "aria-label": "Attempts" },
    h(
      "table",
      { class: "tight attempts" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          head.map((text) =>
            h("th", { scope: "col", class: ["#", "From – to", "Time", "Memory", "Cost"].includes(text) ? "num" : null }, text),
          ),
        ),
      ),
      h(
        "tbody",
        null,
        rows.map((one) => row(one, { memory, wide, page })),
      ),
    ),
  );
}

function row(one, { memory, wide }) {
  const open = one.state === "open";
  const worker = one.client_id ?? one.worker_id;
  const device = [one.device, one.node && one.node !== one.device ? one.node : null].filter(Boolean).join(" on ");
  return h(
    "tr",
    null,
    h("th", { scope: "row", class: "num" }, String(one.fence)),
    h("td", null, open ? badge("running") : badge(OUTCOMES[one.outcome] ?? "other", { label: one.outcome ?? "closed" })),
    h(
      "td",
      { class: "num span" },
      `${number(one.from_resource)} – ${number(one.resource)}`,
      open && one.target !== null ? h("span", { class: "quiet" }, ` of ${number(one.target)}`) : null,
      one.resumed_from !== null && one.resumed_from < one.from_resource
        ? h(
            "span",
            { class: "quiet", title: "Trained again from there: no later checkpoint could be read" },
            ` (again from ${number(one.resumed_from)})`,
          )
        : null,
    ),
    h("td", { class: "name" }, worker ? h("bdi", { title: worker.slice(0, 500) }, worker.slice(0, 60)) : NONE),
    h("td", { class: "name" }, device ? device.slice(0, 60) : NONE),
    wide &&
      h(
        "td",
        { class: "nowrap" },
        one.width > 1 ? [one.method, h("span", { class: "quiet" }, `, lane ${one.lane + 1} of ${one.width}`)] : one.method,
      ),
    h("td", { class: "num" }, duration(open ? null : one.seconds)),
    memory && h("td", { class: "num" }, memoryOf(one)),
    h("td", { class: "num" }, open ? NONE : money(one.cost_microdollars)),
    h("td", { class: "when" }, when(one.started_at ?? one.opened_at)),
    h("td", { class: "why" }, why(one)),
  );
}

function memoryOf(one) {
  const main = bytes(one.peak_memory_bytes);
  if (!one.gpu_peak_memory_bytes) return main;
  return [
    main,
    h(
      "div",
      { class: "quiet" },
      `GPU ${bytes(one.gpu_peak_memory_bytes)}${one.gpu_utilisation === null ? "" : `, ${percent(one.gpu_utilisation, 0)} busy`}`,
    ),
  ];
}

function why(one) {
  const text =
    one.reason || (one.state === "open" ? "" : ({ reached: "reached its target", completed: "ended by itself" }[one.outcome] ?? ""));
  if (!text) return NONE;
  return text.length > 140
    ? h("details", null, h("summary", null, h("bdi", null, `${text.slice(0, 120)}…`)), h("div", { class: "wrap" }, text.slice(0, 10000)))
    : h("bdi", null, text);
}

function traceback({ fence, failure, traceback: text }, open) {
  return h(
    "details",
    { class: "traceback", open },
    h("summary", null, `Traceback of attempt ${fence}`, failure && h("span", { class: "quiet" }, ` · ${failure.replaceAll("_", " ")}`)),
    h("div", { class: "code-frame" }, copyButton(text), h("pre", { tabindex: "0" }, text.slice(-50000))),
  );
}
