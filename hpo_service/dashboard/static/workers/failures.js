// The newest attempts that failed, with links to where they can be understood.
//
// failures() → {node, update(cluster)}

import { h, keyed, replace } from "../core/dom.js";
import { ago, seconds, when } from "../core/format.js";
import { chip, panel } from "../core/ui.js";

export function failures() {
  const frame = panel({
    id: "failures",
    title: "Recent failures",
    help: "Attempts that ended badly on any worker, newest first. A lost worker costs an attempt, not the trial: it goes on from its checkpoint.",
  });
  const list = h("ol", { class: "failures" });
  return {
    node: frame.node,
    update({ failures: items }) {
      frame.ready();
      if (!items.length) {
        frame.empty("Nothing failed lately.");
        return;
      }
      if (list.parentNode !== frame.body) replace(frame.body, list);
      keyed(list, items, { key: (one) => `${one.study}/${one.trial}/${one.fence}`, mark: (one) => JSON.stringify(one), make: entry });
      for (const node of list.querySelectorAll("[data-at]")) node.firstChild.data = ago(Number(node.dataset.at));
    },
  };
}

function entry({ study, study_name: name, trial, fence, at, worker, failure, reason }) {
  return h(
    "li",
    null,
    h(
      "div",
      { class: "row" },
      h(
        "a",
        { class: "clip", href: `/studies/${encodeURIComponent(study)}/trials/${trial}` },
        h("bdi", { title: name }, name || study),
        ` #${trial}`,
      ),
      failure ? chip(String(failure).replaceAll("_", " "), { kind: "bad" }) : null,
      h("span", { class: "spacer" }),
      h("span", { class: "quiet small", title: when(at), dataset: { at: String(seconds(at)) } }, ago(at)),
    ),
    h("p", { class: "reason" }, reason || "no reason was given"),
    h("p", { class: "quiet small" }, `attempt ${fence}`, worker ? [" on ", h("bdi", { class: "mono" }, worker)] : null),
  );
}
