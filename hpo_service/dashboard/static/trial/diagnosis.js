// What the curves of a trial say, in plain words. The words come from the server; here only their looks.

import { h, replace } from "../core/dom.js";
import { clip } from "../core/format.js";
import { panel } from "../core/ui.js";

const SIGNS = {
  failed: ["✕", "bad"],
  ok: ["✓", "good"],
  underfit: ["↑", "warn"],
  overfit: ["⇅", "warn"],
  undertrained: ["…", "info"],
  diverged: ["✕", "bad"],
  check_split: ["?", "warn"],
  stuck: ["=", "warn"],
  noisy: ["~", "info"],
  too_short: ["…", "info"],
};

export function mount(node, page) {
  const frame = panel({
    id: "diagnosis",
    title: "Diagnosis",
    help: "Rules of thumb read off the training and validation curves. They suggest what to look at next; they are no proof.",
  });
  replace(node, frame.node);
  frame.loading();
  page.on("problem", () => frame.problem(page.problem));
  page.on("context", () => {
    const found = [...failure(page.trial(), page.context().diagnosis), ...page.context().diagnosis];
    frame.ready();
    if (!found.length) frame.empty("There is nothing to say yet: the trial has reported too little.");
    else replace(frame.body, h("ul", { class: "diagnoses" }, found.map(one)));
  });
}

// A trial that broke off has that to say before anything about its curves.
function failure({ state, reason }, found) {
  if (state !== "failed" || found.some(({ kind }) => kind === "diverged")) return [];
  const text = found.length ? "Look there first: what follows is read off the reports until then." : "";
  return [{ kind: "failed", title: `It failed: ${clip(reason || "no reason was given", 90)}`, text }];
}

function one({ kind, title, text }) {
  const [sign, tone] = SIGNS[kind] ?? ["i", "info"];
  return h(
    "li",
    { class: ["diagnosis", tone], dataset: { kind } },
    h("span", { class: "diagnosis-sign", "aria-hidden": "true" }, sign),
    h("div", null, h("strong", null, title), h("p", null, text)),
  );
}
