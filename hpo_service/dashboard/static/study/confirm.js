// The dialog that begins a confirmation: how many of the best, with how many new seeds.

import { ApiError, post } from "../core/api.js";
import { h } from "../core/dom.js";
import { dialog } from "../core/ui.js";

export async function confirmWinner(page) {
  const top = field("confirm-top", "Best configurations", 5, "the search's winner and those after it");
  const seeds = field("confirm-seeds", "Seeds of each", 5, "with two nothing can be told, with five most of what matters");
  const problem = h("p", { class: "field-problem", role: "alert", hidden: true });
  const body = h(
    "div",
    { class: "edit-budget" },
    h("p", { class: "quiet" }, "They are trained again with new seeds, as a study of its own. Test metrics are computed there and nowhere else."),
    h("div", { class: "edit-grid" }, top.node, seeds.node),
    problem,
  );
  const begin = () => {
    send(page, Number(top.input.value), Number(seeds.input.value), problem);
    return false; // the dialog stays until the server agreed
  };
  await dialog({
    title: "Is the winner real?",
    body,
    actions: [
      { id: "cancel", label: "Cancel" },
      { id: "begin", label: "Confirm", kind: "primary", check: begin },
    ],
  });
}

function field(id, label, value, hint) {
  const input = h("input", { id, type: "number", min: "1", max: "100", step: "1", required: true, value, "aria-describedby": `${id}-hint` });
  const node = h(
    "div",
    { class: "edit-row" },
    h("label", { for: id }, label),
    input,
    h("p", { id: `${id}-hint`, class: "quiet small" }, hint),
  );
  return { input, node };
}

async function send(page, top, seeds, problem) {
  try {
    const made = await post(page.path("/confirmations"), { top, seeds });
    location.assign(`/studies/${encodeURIComponent(made.id)}`);
  } catch (error) {
    const first = error instanceof ApiError ? error.problems[0] : null;
    problem.textContent = first ? [first.path, first.rule, first.remedy].filter(Boolean).join(": ") : error.message;
    problem.hidden = false;
  }
}
