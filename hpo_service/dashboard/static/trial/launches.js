// Who trained together with the trial: one disclosure per fused attempt, its lanes asked for when it is opened.
//
// launches(page) → {of(attempt rows, newest first) → nodes}

import { get, query } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { duration, integer, money, percent, plural } from "../core/format.js";
import { badge, problemBox } from "../core/ui.js";

const MOST = 8; // attempts whose launches are offered
const OUTCOMES = { reached: "finished", completed: "finished", cancelled: "stopped", paused: "paused", failed: "failed", lost: "failed" };

export function launches(page) {
  const known = new Map(); // fence → {node, state}: what is open stays open when the attempts are drawn again

  function of(rows) {
    return rows
      .filter((one) => one.width > 1 && one.launch)
      .slice(0, MOST)
      .map((one) => {
        const found = known.get(one.fence);
        if (found) {
          if (found.state !== one.state && found.node.open) fill(found, one);
          return found.node;
        }
        return fresh(one);
      });
  }

  function fresh(attempt) {
    const body = h("div", { class: "launch-body" });
    const node = h(
      "details",
      { class: "launch", dataset: { test: `launch-${attempt.fence}` } },
      h(
        "summary",
        null,
        `Who trained with it in attempt ${attempt.fence}`,
        h("span", { class: "quiet" }, ` · ${attempt.method}, lane ${attempt.lane + 1} of ${attempt.width}`),
      ),
      body,
    );
    const entry = { node, body, state: null };
    known.set(attempt.fence, entry);
    node.addEventListener("toggle", () => node.open && entry.state !== attempt.state && fill(entry, attempt));
    return node;
  }

  async function fill(entry, attempt) {
    entry.state = attempt.state;
    try {
      replace(entry.body, ...told(await get(`${page.path}/launch${query({ fence: attempt.fence })}`), attempt, page));
    } catch (error) {
      entry.state = null;
      replace(entry.body, problemBox(error));
    }
  }

  return { of };
}

function told(launch, attempt, page) {
  return [
    h("p", { class: "quiet" }, shares(launch, attempt)),
    h(
      "ul",
      { class: "lanes" },
      launch.lanes.map((one) =>
        h(
          "li",
          { class: one.trial === page.number && "own", title: `lane ${one.lane + 1}, attempt ${one.fence}` },
          h("a", { href: page.trialUrl(one.trial), "aria-current": one.trial === page.number ? "page" : null }, `trial ${one.trial}`),
          one.state === "open" ? badge("running") : badge(OUTCOMES[one.outcome] ?? "other", { label: one.outcome ?? "closed" }),
        ),
      ),
    ),
  ];
}

// What the lanes are, and what share of the worker's time this one was charged.
function shares(launch, attempt) {
  const clones = launch.width - launch.lanes.length;
  const took =
    launch.seconds === null ? "It is not over yet." : `It took ${duration(launch.seconds)} of ${launch.worker_id ?? "its worker"}.`;
  const share = launch.cost_microdollars
    ? `: this trial's share is ${percent(attempt.cost_microdollars / launch.cost_microdollars, 0)}, ${money(attempt.cost_microdollars)} of ${money(launch.cost_microdollars)}`
    : ", next to nothing here";
  const cost = attempt.state === "open" ? "" : ` Each epoch is charged in equal parts to the lanes that trained in it${share}.`;
  const filled = clones > 0 ? ` ${plural(clones, "lane")} more ${clones === 1 ? "was a clone" : "were clones"}, to fill the width.` : "";
  return `${plural(launch.lanes.length, "trial")} in ${integer(launch.width)} lanes of one program.${filled} ${took}${cost}`;
}
