// Which parameters matter: bars from /importance, by PED-ANOVA or fANOVA. A bar's name opens that parameter against the others in the contour.

import { h, replace } from "../core/dom.js";
import { integer, percent, plural } from "../core/format.js";
import { emptyState, segmented } from "../core/ui.js";
import { param } from "../core/url.js";
import { stage } from "./common.js";

export const info = {
  id: "importance",
  title: "Importance",
  help:
    "How much of the difference between good and other trials each parameter explains; the bars sum to 100 %. PED-ANOVA compares where the best tenth of the trials lies with where all of them lie: " +
    "fast, and about what makes trials good. fANOVA fits a forest to all values and splits its variance: about what moves the value anywhere. A parameter that was hardly varied cannot matter here.",
};

const METHODS = [
  { id: "ped_anova", label: "PED-ANOVA", title: "What sets the best trials apart" },
  { id: "fanova", label: "fANOVA", title: "What moves the value anywhere" },
];
const method = param("im", "ped_anova");

export function mount(panel, page) {
  const list = h("ol", { class: "bars" });
  const view = stage(panel, list);
  const choice = segmented(
    METHODS,
    method.get(),
    (id) => {
      method.set(id);
      page.refresh(panel);
    },
    { label: "Method" },
  );
  replace(panel.tools, choice);
  method.on((id) => {
    choice.show(id);
    page.refresh(panel);
  });

  // fANOVA grows its forest on the side; the page asks again until it stands.
  let timer = 0;
  function growing(data) {
    if (!data.parameters.length)
      panel.empty(
        emptyState({
          title: "Computing fANOVA …",
          text: "A forest is fitted to the trials; the bars appear by themselves in a few seconds.",
        }),
      );
    panel.node.setAttribute("aria-busy", "true");
    clearTimeout(timer);
    timer = setTimeout(() => page.refresh(panel), 1200);
  }

  async function refresh() {
    const data = await page.get("/importance", { method: method.get() });
    panel.node.dataset.ready = String(data.seq);
    if (data.computing) return growing(data);
    if (!data.parameters.length)
      return panel.empty(
        emptyState({
          title: "Not enough to tell yet",
          text: data.note || "Importance shows once some trials with different parameters have ended with a value.",
        }),
      );
    view.show();
    const most = Math.max(...data.parameters.map((one) => one.importance), 1e-9);
    list.setAttribute("aria-label", `Importance of parameters for ${data.metric}`);
    replace(
      list,
      data.parameters.map((one, i) => bar(one, most, { page, second: data.parameters[i ? 0 : 1]?.name })),
    );
    panel.note(
      [
        `from ${integer(data.trials_used)} of ${plural(data.of, "trial")}${data.chosen ? `: ${data.chosen}` : ""}`,
        page.filter ? "only those that match the filter" : "",
        data.note,
      ]
        .filter(Boolean)
        .join("; "),
    );
    return undefined;
  }
  return { refresh };
}

function bar({ name, importance }, most, { page, second }) {
  const axis = [param("co.x", ""), param("co.y", "")];
  const open = () => {
    axis[0].set(name);
    if (second) axis[1].set(second);
    document.getElementById("panel-contour")?.scrollIntoView({ block: "nearest", behavior: "smooth" });
  };
  const known = page.parameters.some((one) => one.name === name);
  return h(
    "li",
    { class: "bar" },
    h(
      "button",
      { type: "button", class: "bar-name", title: known && second ? `${name}: show it with ${second}` : name, on: { click: open } },
      h("bdi", null, name),
    ),
    h(
      "span",
      { class: "bar-track", "aria-hidden": "true" },
      h("span", { class: "bar-fill", style: `width:${((100 * Math.max(0, importance)) / most).toFixed(1)}%` }),
    ),
    h("span", { class: "bar-value num" }, percent(importance, importance < 0.1 ? 1 : 0)),
  );
}
