// Head of the trial page: where it stands and why, its value and rank, what it cost; what can be done with it.

import { patch, post } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { ago, duration, integer, metric, money, number as num, reasonOf, when } from "../core/format.js";
import { badge, button, confirmed, icon, menu, toast } from "../core/ui.js";
import { copies } from "./copies.js";

const ORIGINS = {
  baseline: "the defaults, as a baseline",
  sampled: "chosen by the sampler",
  enqueued: "given by hand",
  retry: "a retry",
  imported: "imported",
  portfolio: "from a portfolio of good starts",
  confirm: "confirms an earlier trial",
};

export function mount(node, page) {
  const draw = () => replace(node, crumbs(page), title(page), reason(page), h("dl", { class: "figures trial-figures" }, figures(page)));
  draw();
  page.on("trial", draw);
  page.on("context", draw);
}

const studyUrl = (page, more = "") => `/studies/${encodeURIComponent(page.studyId)}${more}`;

function crumbs(page) {
  const name = page.study().name;
  return h(
    "nav",
    { class: "crumbs", "aria-label": "Breadcrumb" },
    h("a", { href: "/" }, "Studies"),
    h("a", { href: studyUrl(page), title: name.slice(0, 500) }, h("bdi", null, name.length > 80 ? `${name.slice(0, 80)}…` : name)),
    h("a", { href: studyUrl(page, "?view=trials") }, "Trials"),
    h("span", { "aria-current": "page" }, String(page.number)),
  );
}

function title(page) {
  const { state, tags } = page.trial();
  const best = page.study().best?.trial === page.number || page.context()?.rank === 1;
  return h(
    "div",
    { class: "page-head" },
    h("h1", null, `Trial ${page.number}`),
    badge(state),
    best && h("span", { class: "best-mark" }, "★ best of the study"),
    h("span", { class: "spacer" }),
    h("div", { class: "row" }, steps(page), actions(page, state, tags)),
  );
}

function steps(page) {
  const step = (side, label, sign, key) => {
    const to = page.context()?.[side] ?? null;
    const inner = [h("span", { "aria-hidden": "true" }, sign)];
    const props = { class: "button small step", "aria-label": label, title: `${label} (${key})` };
    return to === null
      ? h("button", { ...props, disabled: true }, inner)
      : h("a", { ...props, href: page.trialUrl(to), rel: side === "next" ? "next" : "prev" }, inner);
  };
  return h("span", { class: "steps" }, step("previous", "Previous trial", "←", "["), step("next", "Next trial", "→", "]"));
}

function actions(page, state) {
  const more = h("button", { type: "button", class: "button quiet" }, "Copy", icon("down"));
  return [
    menu(more, () => copies(page)),
    h(
      "a",
      { class: "button quiet", href: `/compare?trial=${encodeURIComponent(page.studyId)}/${page.number}${rival(page)}` },
      icon("compare"),
      "Compare",
    ),
    page.open()
      ? button("Stop", () => stop(page), {
          kind: "danger",
          disabled: state === "paused",
          title: state === "paused" ? "A paused trial is the algorithm's; it can be stopped while it runs" : "It ends at its next report",
        })
      : button("Retry", () => retry(page), { title: "Try the same parameters again, as a new trial" }),
  ];
}

// Beside the best, or the baseline for the best itself.
function rival(page) {
  const other = [page.context()?.best?.trial ?? page.study().best?.trial, page.context()?.baseline?.trial].find(
    (n) => n !== undefined && n !== null && n !== page.number,
  );
  return other === undefined ? "" : `&trial=${encodeURIComponent(page.studyId)}/${other}`;
}

function reason(page) {
  const text = reasonOf(page.trial());
  return text
    ? h(
        "p",
        { class: "trial-reason", title: text.length > 400 ? text.slice(0, 2000) : null },
        h("bdi", null, text.length > 400 ? `${text.slice(0, 400)}…` : text),
      )
    : null;
}

function figures(page) {
  const trial = page.trial();
  const { metricName, objectives } = page.facts;
  const figure = (label, value, sub = null) =>
    h("div", { class: "figure" }, h("dt", null, label), h("dd", null, value, sub && h("div", { class: "sub" }, sub)));
  const others = objectives
    .slice(1)
    .map((one) =>
      figure(one.metric, metric(one.metric, trial.values[one.metric]), one.direction === "maximize" ? "more is better" : "less is better"),
    );
  return [
    figure(metricName, metric(metricName, trial.value), rank(page)),
    ...others,
    ...page.facts.constraints.map((one) => bounded(one, trial, figure)),
    figure(page.facts.resourceName.replace(/^./, (first) => first.toUpperCase()), num(trial.resource), reach(trial, page.open())),
    trial.bracket === null ? null : figure("Bracket", integer(trial.bracket), trial.rung === null ? null : `rung ${trial.rung}`),
    figure("Origin", trial.origin, origin(page, trial)),
    figure(
      "Time",
      duration(trial.seconds),
      trial.ended_at
        ? `ended ${ago(trial.ended_at)}`
        : trial.started_at
          ? `began ${ago(trial.started_at)}`
          : `created ${ago(trial.created_at)}`,
    ),
    figure(
      "Cost",
      money(trial.cost_microdollars),
      `${trial.attempts === 1 ? "1 attempt" : `${trial.attempts} attempts`}${trial.losses ? `, ${trial.losses} lost` : ""}`,
    ),
  ];
}

function bounded({ metric: name, sign, bound }, trial, figure) {
  const by = trial.violations[name] ?? null;
  const most = `${sign} ${metric(name, bound)}`;
  const words = by === null ? `${most}: not known` : by > 0 ? `breaks ${most} by ${metric(name, by)}` : `keeps ${most}`;
  const mark = h("span", { class: by > 0 ? "breaks" : by === null ? "quiet" : "kept" }, words);
  return figure(name, metric(name, trial.values[name] ?? null), mark);
}

function rank(page) {
  const around = page.context();
  if (!around || around.rank === null || around.rank === undefined) return null;
  return `rank ${integer(around.rank)} of ${integer(around.ranked)}`;
}

function reach({ target, horizon, resource }, open) {
  if (open && target !== null && target > resource) return `on its way to ${num(target)}`;
  return horizon !== null && horizon > resource ? `of ${num(horizon)} at most` : null;
}

function origin(page, { origin: from, retry_of: again, parent, parent_resource: at, started_at: began }) {
  const link = (n) => h("a", { href: page.trialUrl(n) }, `trial ${n}`);
  const retries = page.context()?.retries ?? [];
  const parts = [
    again !== null
      ? ["of ", link(again)]
      : parent !== null
        ? ["goes on from ", link(parent), at === null ? "" : ` at ${num(at)}`]
        : [ORIGINS[from] ?? ""],
  ];
  if (retries.length) parts.push(["; tried again as ", retries.slice(0, 3).flatMap((n, i) => [i ? ", " : "", link(n)])]);
  return h("span", { title: began ? `started ${when(began)}` : null }, parts);
}

async function retry(page) {
  if (
    !(await confirmed(`Trial ${page.number} stays as it is; a new trial gets the same parameters and comes before new ones.`, {
      title: "Try it again?",
      yes: "Retry",
    }))
  )
    return;
  await acting(async () => {
    const {
      trials: [made],
    } = await post(`${page.studyPath}/retry`, { trials: [page.number] });
    toast(`Trial ${made} waits to be started.`, "good", { action: { label: "Open it", run: () => location.assign(page.trialUrl(made)) } });
    await page.reload();
  });
}

async function stop(page) {
  if (
    !(await confirmed("It ends at its next report and keeps its values; the study goes on without it.", {
      title: `Stop trial ${page.number}?`,
      yes: "Stop the trial",
      kind: "danger",
    }))
  )
    return;
  await acting(async () => {
    await post(`${page.path}/stop`);
    toast("It is being stopped.", "good");
    await page.reload();
  });
}

export async function annotate(page, changes) {
  await patch(page.path, changes);
  await page.reload();
}

async function acting(work) {
  try {
    await work();
  } catch (error) {
    toast(error.message, "bad");
  }
}
