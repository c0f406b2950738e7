// What an event of a study's log says, as a sentence and, where there is more, its lines. Builds nodes; asks nothing.
//
// tell(event, trialUrl) → {label, tone, sentence: [nodes], lines: [[nodes]], more: how many lines there would be besides}

import { h } from "../core/dom.js";
import { integer, money, number, plural, value } from "../core/format.js";
import { source, step } from "./methodwords.js";

const MOST_NAMED = 6;

export function tell(event, trialUrl) {
  const words = KINDS[event.kind];
  const link = (n) => h("a", { href: trialUrl(n) }, String(n));
  return words
    ? {
        lines: [],
        tone: "",
        more: 0,
        ...words(event.payload, { link, one: (n) => ["trial ", link(n)], many: (numbers, more = 0) => named(numbers, link, more) }),
      }
    : { label: event.kind.replaceAll("_", " "), tone: "", more: 0, sentence: ["This page does not know this kind of event."], lines: [] };
}

// `more`: how many there are beside those that were sent.
function named(numbers, link, more = 0) {
  const all = [...new Set(numbers)];
  if (all.length === 1 && !more) return ["trial ", link(all[0])];
  const shown = all.slice(0, MOST_NAMED).flatMap((n, i) => [i ? ", " : "", link(n)]);
  const rest = Math.max(0, all.length - MOST_NAMED) + more;
  return ["trials ", ...shown, rest ? ` and ${integer(rest)} more` : ""];
}

const upto = (target) => (target === null || target === undefined ? "" : ` to ${number(target)}`);
const because = (reason) => (reason ? [": ", h("bdi", null, cut(reason))] : []);
const cut = (text, most = 400) => (text.length > most ? `${text.slice(0, most)}…` : text);

const OUTCOMES = {
  reached: "reached",
  completed: "ended by itself at",
  cancelled: "was cancelled at",
  paused: "paused at",
  failed: "failed at",
  lost: "was lost at",
};
const NOW = {
  waiting: "; it will be placed again",
  stopped: "; the trial is stopped",
  failed: "; the trial has failed",
  finished: "; the trial is finished",
};

const KINDS = {
  study_created: ({ chosen }) => ({
    label: "created",
    sentence: chosen ? ["The study was created. ", h("bdi", null, "auto"), " picks ", h("bdi", null, chosen.text), "."] : ["The study was created."],
  }),

  warm_started: ({ sources, portfolio }) => ({
    label: "begins from",
    sentence: sources.length
      ? [
          `It begins from ${plural(sources.length, "past study", "past studies")}`,
          portfolio.length ? `; ${plural(portfolio.length, "configuration")} of theirs ${portfolio.length === 1 ? "is" : "are"} tried first.` : ".",
        ]
      : ["It begins from nothing: no past study of the project has the same objective and enough parameters in common."],
    lines: [
      ...sources.map(({ study, name, trials, shared }) => [
        h("a", { href: `/studies/${study}`, dir: "auto" }, cut(name, 100)),
        `: ${plural(trials, "result")}, sharing `,
        h("bdi", null, cut(shared.join(", "), 200)),
      ]),
      ...portfolio.map((params) => ["tried first: ", h("bdi", null, cut(parameters(params)))]),
    ],
  }),

  definition_changed: ({ changed, space_version: version, reason }) => ({
    label: "changed",
    sentence: [
      "The definition was changed: ",
      h("bdi", null, cut(changed.join(", "))),
      changed.some((path) => path === "space" || path === "forbid") ? ` (space version ${version})` : "",
      ...(reason ? because(reason) : ["."]),
    ],
  }),

  study_state_changed: ({ state, reason }) => ({
    label: state,
    tone: state === "failed" ? "bad" : "state",
    sentence: [`The study is ${state}`, ...because(reason)],
  }),

  ending_declared: ({ reason }) => ({
    label: "budget",
    sentence: reason ? ["Nothing more is started", ...because(reason)] : ["There is budget again; the study goes on."],
  }),

  trials_enqueued: ({ trials, trials_more: more = 0 }, { link, many }) => {
    const retries = trials.filter((one) => one.retry_of !== null);
    if (retries.length)
      return {
        label: "retry",
        sentence:
          retries.length === 1
            ? ["Trial ", link(retries[0].retry_of), " is tried again as ", ...many([retries[0].trial]), "."]
            : [
                `${plural(retries.length + more, "trial")} are tried again, as `,
                ...many(
                  retries.map((one) => one.trial),
                  more,
                ),
                ".",
              ],
        lines: retries.length > 1 ? retries.map((one) => ["trial ", link(one.retry_of), " again as trial ", link(one.trial)]) : [],
      };
    return {
      label: "enqueued",
      sentence: [
        trials.length === 1
          ? "A configuration was given by hand: "
          : `${integer(trials.length + more)} configurations were given by hand: `,
        ...many(
          trials.map((one) => one.trial),
          more,
        ),
        ".",
      ],
      lines: trials.map((one) => ["trial ", link(one.trial), ": ", h("bdi", null, cut(parameters(one.params)))]),
      more,
    };
  },

  trials_imported: ({ trials, trials_more: more = 0 }, { link, many }) => ({
    label: "imported",
    sentence: [
      `${plural(trials.length + more, "trial")} that ended elsewhere ${trials.length + more === 1 ? "was" : "were"} brought in: `,
      ...many(
        trials.map((one) => one.trial),
        more,
      ),
      ".",
    ],
    lines: trials.map((one) => [
      "trial ",
      link(one.trial),
      `: ${one.state}`,
      ...because(one.reason),
      " ",
      h("bdi", null, cut(parameters(one.params))),
    ]),
    more,
  }),

  methods_chosen: ({ choices, choices_more: more = 0, choices_counts: counts = null }) => {
    const line = ({ structure, method, width, reason, source: from, measured }) => [
      h("bdi", null, cut(parameters(structure) || "every trial", 200)),
      method === "fused" ? `: fused, up to ${integer(width)} lanes` : ": plain",
      times(measured, width),
      ` (${source(from)})`,
      ...because(reason),
    ];
    const fused = counts ? (counts.fused ?? 0) : choices.filter((one) => one.method === "fused").length;
    return {
      label: "method",
      tone: "accent",
      sentence:
        choices.length === 1
          ? ["Trials of ", ...line(choices[0])]
          : [
              `How trials of ${plural(choices.length + more, "structure")} are trained was chosen: `,
              `${integer(fused)} fused, ${integer(choices.length + more - fused)} plain`,
            ],
      lines: choices.length === 1 ? [] : choices.map(line),
      more,
    };
  },

  decided: ({ proposals, algorithm, proposals_more: more = 0, proposals_counts: counts = {} }, { link, many }) => {
    const of = (kind) => proposals.filter((one) => one.kind === kind);
    const size = (kind) => counts[kind] ?? of(kind).length;
    const unnamed = (kind) =>
      of(kind).length
        ? many(
            of(kind).map((one) => one.trial),
            size(kind) - of(kind).length,
          )
        : [plural(size(kind), "trial")];
    const parts = [
      ["start", "started"],
      ["continue", "promoted or continued"],
      ["stop", "stopped early"],
      ["finish", "finished"],
    ]
      .filter(([kind]) => size(kind))
      .map(([kind, verb]) => [...unnamed(kind), ` ${verb}`]);
    const sentence = proposals.length === 1 ? [proposal(proposals[0], link)] : parts.flatMap((part, i) => [i ? "; " : "", ...part]);
    return {
      label: algorithm === "user" ? "by hand" : "decision",
      tone: "accent",
      sentence: capital(sentence),
      lines: proposals.length === 1 ? [] : proposals.map((one) => proposal(one, link)),
      more,
    };
  },

  attempts_reopened: ({ attempts, attempts_more: more = 0 }, { link, many }) => ({
    label: "placed again",
    sentence: capital([
      ...many(
        attempts.map((one) => one.trial),
        more,
      ),
      attempts.length === 1 ? " was interrupted and is placed again" : " were interrupted and are placed again",
    ]),
    lines: attempts.map((one) => [
      "trial ",
      link(one.trial),
      `, attempt ${one.fence}, from ${number(one.from_resource)}${upto(one.target)}`,
      one.worker ? [" by ", h("bdi", null, cut(one.worker, 80))] : "",
    ]),
    more,
  }),

  reported: ({ reports }, { link, many }) => ({
    label: "reports",
    sentence: [`${plural(reports.length, "report")} of `, ...many(reports.map((row) => row[0]))],
    lines: reports
      .slice(0, 200)
      .map(([trial, , , resource, values]) => [
        "trial ",
        link(trial),
        ` at ${number(resource)}: ${values.map((one) => value(one)).join(", ")}`,
      ]),
  }),

  attempts_ended: ({ attempts, attempts_more: more = 0, attempts_counts: counts = null }, { link, many }) => {
    const bad = counts ? (counts.failed ?? 0) : attempts.filter(([, , , state]) => state === "failed").length;
    const line = ([trial, fence, outcome, state, resource, reason, cost]) => [
      "trial ",
      link(trial),
      `, attempt ${fence}, ${OUTCOMES[outcome] ?? `${outcome} at`} ${number(resource)}${NOW[state] ?? ""}`,
      cost ? ` (${money(cost)})` : "",
      ...because(reason === outcome ? "" : reason),
    ];
    if (attempts.length === 1) return { label: "attempt", tone: bad ? "bad" : "", sentence: capital(line(attempts[0])) };
    return {
      label: "attempts",
      tone: bad ? "bad" : "",
      sentence: [
        `${integer(attempts.length + more)} attempts ended: `,
        ...many(
          attempts.map(([trial]) => trial),
          more,
        ),
        bad ? `; ${integer(bad)} failed` : "",
      ],
      lines: attempts.map(line),
      more,
    };
  },
};

// What a step of the optimiser takes, plainly and in the lanes that were chosen.
function times(measured, width) {
  const { plain, fused } = step(measured, width);
  if (plain === null) return "";
  return fused === null ? `; ${plain} a step` : `; ${plain} a step plainly, ${fused} fused`;
}

function proposal({ kind, trial, target, reason, parent }, link) {
  const verb = { start: "starts", continue: "goes on", stop: "stops", finish: "is finished" }[kind] ?? kind;
  return [
    "trial ",
    link(trial),
    ` ${verb}${kind === "start" || kind === "continue" ? upto(target) : ""}`,
    parent !== undefined && parent !== null ? [" from trial ", link(parent)] : "",
    ...because(reason),
  ];
}

const parameters = (params) =>
  Object.entries(params)
    .map(([name, one]) => `${name}=${value(one)}`)
    .join(", ");

function capital(nodes) {
  const flat = nodes.flat(Infinity).filter((one) => one !== "");
  return typeof flat[0] === "string" ? [flat[0].charAt(0).toUpperCase() + flat[0].slice(1), ...flat.slice(1)] : flat;
}
