// The bracket view: which trials entered each rung, which went on and why the others did not; as a picture and as a table. Asks for /brackets.
// The picture itself is drawn by brackets-picture.js; one listener serves all its marks.

import { h, replace } from "../core/dom.js";
import { integer, metric as metricText, number, plural } from "../core/format.js";
import { button, emptyState, segmented } from "../core/ui.js";
import { param } from "../core/url.js";
import { draw, funnel } from "./brackets-picture.js";
import { FATES, legendOf, levelText, matching, stage } from "./common.js";

export const info = {
  id: "brackets",
  title: "Brackets and rungs",
  help:
    "A bracket starts many trials with little training and lets the best go on. Each column is a rung: a level of training where trials are compared. " +
    "Each mark is a trial at its value there; a line leads those that went on to the next rung. The dashed line is the worst value that still went on. " +
    "Hover or use the arrow keys to read why; click or press Enter to select a trial everywhere.",
};

const chosen = param("br", "");
const scale = param("br.y", "value");
const COUNTS = ["entered", "promoted", "stopped", "failed", "running", "waiting", "paused", "finished"];

export function mount(panel, page) {
  const overview = h("div", { class: "bracket-cards", role: "radiogroup", "aria-label": "Bracket" });
  const picture = h("div", { class: "bracket-box" });
  const card = h("div", { class: "bracket-card-hover", hidden: true, "aria-hidden": "true" });
  const legend = h("div", null);
  const table = h("div", { class: "table-box bracket-table" });
  const view = stage(panel, overview, h("div", { class: "bracket-frame" }, picture, card), legend, table);
  let data = null,
    matches = null,
    seen = new Map(),
    asked = 0;

  replace(
    panel.tools,
    segmented(
      [
        { id: "value", label: "value", title: "Marks stand at their value" },
        { id: "log", label: "log", title: "Values on a logarithmic axis" },
        { id: "rank", label: "place", title: "Marks stand at their place among those shown: no value can ruin it" },
      ],
      scale.get(),
      (id) => scale.set(id),
      { label: "Vertical axis" },
    ),
  );

  const all = () => (data ? [...data.brackets, ...(data.planned ?? [])] : []);
  const current = () => all().find((one) => String(one.bracket) === chosen.get()) ?? liveliest(data?.brackets ?? []) ?? all()[0];
  const options = () => ({
    scale: scale.get(),
    maximize: data.direction === "maximize",
    metric: data.metric,
    resource: page.resourceName,
    width: picture.clientWidth || 720,
    matches,
    chosen: new Set(page.selection.numbers()),
  });

  async function refresh() {
    data = await page.get("/brackets", { filter: null });
    if (!all().length) return panel.empty(nothing(page));
    await match();
    render();
    return undefined;
  }

  async function match() {
    const mine = ++asked;
    const bracket = current();
    const found = await matching(
      page,
      bracket.rungs.flatMap((rung) => rung.trials?.number ?? []),
    );
    if (mine === asked) matches = found;
  }

  function render() {
    view.show();
    const bracket = current();
    const focused = document.activeElement?.closest?.(".mark");
    const where = focused && picture.contains(focused) ? { ...focused.dataset } : null;
    const before = seen.get(bracket.bracket) ?? null;
    const drawn = draw(picture, bracket, { ...options(), seen: before });
    seen.set(bracket.bracket, drawn.keys);
    if (where) focusMark(picture.querySelector(`.mark[data-number="${where.number}"][data-rung="${where.rung}"]`));
    cards(bracket);
    replace(legend, legendOf(Object.keys(FATES).filter((name) => bracket.rungs.some((rung) => rung.trials?.fate.includes(name)))));
    replace(table, tableOf(all().length > 6 ? [bracket] : all(), bracket, { metric: data.metric, resource: page.resourceName }));
    panel.note(noteOf(bracket, drawn.outside));
    panel.node.dataset.ready = String(data.seq);
  }

  function cards(bracket) {
    const list = all();
    overview.hidden = list.length < 2;
    const most = Math.max(1, ...list.flatMap((one) => one.rungs.map((rung) => rung.size ?? rung.entered ?? 0)));
    const had = overview.contains(document.activeElement);
    replace(
      overview,
      list.map((one) => cardOf(one, one === bracket, { most, data, choose })),
    );
    if (had) overview.querySelector("[aria-checked=true]")?.focus({ preventScroll: true });
    const on = overview.querySelector("[aria-checked=true]");
    if (on) overview.scrollLeft = Math.max(0, on.offsetLeft - overview.clientWidth / 2);
  }

  async function choose(id) {
    chosen.set(String(id));
    await match().catch(() => {
      matches = null;
    });
    render();
  }

  function noteOf(bracket, outside) {
    const parts = [];
    const whole = all().length;
    if ((data.shown ?? whole) < (data.of ?? whole)) parts.push(`showing ${integer(data.shown)} of ${integer(data.of)} brackets`);
    const cut = bracket.rungs.filter((rung) => rung.trials && (rung.shown ?? 0) < (rung.of ?? 0));
    if (cut.length)
      parts.push(
        `showing ${cut.map((rung) => `${integer(rung.shown)} of ${integer(rung.of)}`).join(", ")} trials per rung: the best, those that went on, then an even spread`,
      );
    if (outside) parts.push(`${plural(outside, "value")} beyond the axis: drawn at its edge with an arrow`);
    if (matches) parts.push(`${plural(matches.size, "trial")} here ${matches.size === 1 ? "matches" : "match"} the filter`);
    return parts.join("; ");
  }

  const markAt = (event) => event.target.closest?.(".mark");
  function tell(mark) {
    picture.querySelectorAll(".on-path").forEach((one) => one.classList.remove("on-path"));
    card.hidden = !mark;
    if (!mark) return;
    const { number: n, rung } = mark.dataset;
    picture.querySelectorAll(`[data-number="${n}"]`).forEach((one) => one.classList.add("on-path"));
    replace(card, cardText(current(), Number(rung), Number(n), options()));
    place(card, mark);
  }

  picture.addEventListener("pointerover", (event) => {
    const mark = markAt(event);
    tell(mark);
    page.hover(mark ? Number(mark.dataset.number) : null);
  });
  picture.addEventListener("pointerleave", () => {
    tell(null);
    page.hover(null);
  });
  picture.addEventListener("focusin", (event) => tell(markAt(event)));
  picture.addEventListener("focusout", () => tell(null));
  picture.addEventListener("click", (event) => {
    const mark = markAt(event);
    if (mark) page.selection.toggleNumber(Number(mark.dataset.number));
  });
  picture.addEventListener("keydown", (event) => {
    const mark = markAt(event);
    if (!mark) return;
    if (event.key === "Escape") tell(null);
    if (event.key === "Enter" || event.key === " ") page.selection.toggleNumber(Number(mark.dataset.number));
    else if (!focusMark(neighbour(picture, mark, event.key))) return;
    event.preventDefault();
    event.stopPropagation();
  });
  page.on("hover", (n) =>
    picture
      .querySelectorAll(".mark, .went-on")
      .forEach((one) => one.classList.toggle("pointed", n !== null && one.dataset.number === String(n))),
  );
  scale.on(() => {
    if (data) render();
  });
  chosen.on(() => {
    if (data && all().length) render();
  });
  view.onTheme(() => data && render());
  let width = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (!data || !contentRect.width || Math.abs(contentRect.width - width) < 4) return;
    width = contentRect.width;
    if (picture.firstChild) requestAnimationFrame(render);
  }).observe(picture);
  return { refresh };
}

const running = (bracket) => bracket.rungs.some((rung) => rung.running > 0);
const liveliest = (brackets) => brackets.findLast(running) ?? brackets[0];

function cardOf(bracket, on, { most, data, choose }) {
  const { rungs } = bracket;
  const begun = rungs.some((rung) => rung.entered > 0);
  const best = rungs.map((rung) => rung.best).filter(Number.isFinite);
  const top = rungs.findLast((rung) => Number.isFinite(rung.best));
  const words = begun
    ? `${plural(rungs[0].entered, "trial")}${running(bracket) ? ", running" : ""}`
    : `${plural(rungs[0]?.size ?? 0, "trial")} planned`;
  return h(
    "button",
    {
      type: "button",
      role: "radio",
      class: ["bracket-card", !begun && "ghost", running(bracket) && "running"],
      "aria-checked": String(on),
      tabindex: on ? "0" : "-1",
      dataset: { bracket: bracket.bracket },
      on: { click: () => choose(bracket.bracket), keydown: (event) => roam(event) },
    },
    funnel(bracket, most),
    h(
      "span",
      { class: "bracket-card-text" },
      h("strong", null, `Bracket ${bracket.bracket}`, bracket.label ? h("span", { class: "quiet" }, ` ${bracket.label}`) : null),
      h("span", { class: "quiet" }, words),
      h("span", null, best.length ? metricText(data.metric, top.best) : " "),
    ),
  );
}

function roam(event) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  event.stopPropagation();
  const cards = [...event.currentTarget.parentNode.children];
  const next = cards[(cards.indexOf(event.currentTarget) + step + cards.length) % cards.length];
  next.focus();
  next.click();
}

function focusMark(mark) {
  if (!mark) return false;
  mark.parentNode.querySelectorAll("[tabindex='0']").forEach((one) => one.setAttribute("tabindex", "-1"));
  mark.setAttribute("tabindex", "0");
  mark.focus({ preventScroll: true });
  return true;
}

// Up and down: the next trial of the rung; left and right: the same trial at the rung beside it, else the first mark there.
function neighbour(picture, mark, key) {
  const { rung, number: n } = mark.dataset;
  const column = (r) => [...picture.querySelectorAll(`.mark[data-rung="${r}"]`)];
  const here = column(rung);
  if (key === "ArrowDown" || key === "ArrowUp") return here[here.indexOf(mark) + (key === "ArrowDown" ? 1 : -1)];
  if (key === "Home") return here[0];
  if (key === "End") return here.at(-1);
  const side = { ArrowRight: 1, ArrowLeft: -1 }[key];
  if (!side) return null;
  const beside = column(Number(rung) + side);
  return beside.find((one) => one.dataset.number === n) ?? beside[0];
}

function place(card, mark) {
  const frame = card.parentNode.getBoundingClientRect(),
    at = mark.getBoundingClientRect();
  const wide = card.offsetWidth,
    tall = card.offsetHeight;
  const right = at.right - frame.left + 8;
  card.style.left = `${Math.max(0, right + wide > frame.width ? at.left - frame.left - wide - 8 : right)}px`;
  card.style.top = `${Math.max(0, Math.min(at.top - frame.top - tall / 2, frame.height - tall))}px`;
}

function cardText(bracket, rungIndex, n, { metric, resource }) {
  const rung = bracket.rungs.find((one) => one.rung === rungIndex);
  const i = rung.trials.number.indexOf(n);
  const [value, fate, reason] = [rung.trials.value[i], rung.trials.fate[i], rung.trials.reason[i]];
  return [
    h("div", { class: "bracket-hover-head" }, h("strong", null, `Trial ${n}`), legendOf([fate])),
    h("p", null, `${Number.isFinite(value) ? metricText(metric, value) : "no finite value"} at ${levelText(resource, rung.resource)}`),
    reason ? h("p", { class: "quiet" }, reason) : null,
  ];
}

function tableOf(brackets, current, { metric, resource }) {
  const heads = [
    "Rung",
    resource[0].toUpperCase() + resource.slice(1),
    "Planned",
    ...COUNTS.map((name) => name[0].toUpperCase() + name.slice(1)),
    "Threshold",
    "Best",
  ];
  return h(
    "table",
    { class: "tight" },
    h("caption", { class: "visually-hidden" }, "Every rung in figures"),
    h(
      "thead",
      null,
      h(
        "tr",
        null,
        heads.map((text) => h("th", { scope: "col", class: "num" }, text)),
      ),
    ),
    brackets.map((bracket) =>
      h(
        "tbody",
        { class: bracket === current ? "current" : null },
        brackets.length > 1 &&
          h(
            "tr",
            { class: "group" },
            h(
              "th",
              { scope: "rowgroup", colspan: heads.length },
              `Bracket ${bracket.bracket}${bracket.label ? ` (${bracket.label})` : ""}`,
            ),
          ),
        bracket.rungs.map((rung) =>
          h(
            "tr",
            { class: rung.entered ? null : "ghost" },
            h("th", { scope: "row", class: "num" }, integer(rung.rung)),
            [
              number(rung.resource),
              integer(rung.size),
              ...COUNTS.map((name) => (rung[name] ? integer(rung[name]) : rung.entered ? "0" : "–")),
              metricText(metric, rung.threshold),
              metricText(metric, rung.best),
            ].map((text) => h("td", { class: ["num", text === "0" && "quiet"] }, text)),
          ),
        ),
      ),
    ),
  );
}

function nothing(page) {
  return page.hasRungs
    ? emptyState({
        title: "No trial has entered a bracket yet",
        text: "Each trial appears here with its first comparison; who goes on and why is then drawn from left to right.",
        actions: [button("See the trials", () => page.show("trials"))],
      })
    : emptyState({
        title: "This study has no brackets",
        text: "Its algorithm trains every trial to the end. Choose asha, pasha, successive_halving, hyperband or bohb to stop the poor ones early.",
      });
}
