// The nearest trials in the space: what a small step in the parameters did to the value.

import { h, replace } from "../core/dom.js";
import { metric, value } from "../core/format.js";
import { badge, panel } from "../core/ui.js";

export function mount(node, page) {
  const frame = panel({
    id: "neighbours",
    title: "Neighbours",
    wide: true,
    help: "The trials whose parameters are nearest to this one's, each parameter scaled to its range. Only what differs is named.",
  });
  replace(node, frame.node);
  frame.loading();
  page.on("context", () => {
    const found = page.context().neighbours;
    frame.ready();
    if (!found.length) frame.empty("No other trial yet.");
    else replace(frame.body, table(found, page));
  });
}

function table(found, page) {
  const { params, value: mine } = page.trial();
  const name = page.facts.metricName;
  const better = (one) => (typeof mine === "number" && typeof one === "number" && one !== mine ? one > mine === page.facts.maximize : null);
  const mark = (one) => {
    const is = better(one);
    return is === null
      ? null
      : h(
          "span",
          { class: is ? "better" : "worse", title: is ? "better than this trial" : "worse than this trial" },
          is ? "▲ " : "▼ ",
          h("span", { class: "visually-hidden" }, is ? "better " : "worse "),
        );
  };
  const row = (one) => {
    const names = [...new Set([...Object.keys(params), ...Object.keys(one.params)])].filter(
      (key) => JSON.stringify(params[key]) !== JSON.stringify(one.params[key]),
    );
    return h(
      "tr",
      null,
      h("th", { scope: "row", class: "num" }, h("a", { href: page.trialUrl(one.trial) }, String(one.trial))),
      h("td", null, badge(one.state)),
      h("td", { class: "num" }, mark(one.value), metric(name, one.value)),
      h("td", { class: "num" }, one.distance < 0.005 ? "0" : one.distance.toFixed(2)),
      h(
        "td",
        { class: "changes" },
        names.length
          ? names.map((key) =>
              h("span", { class: "change" }, h("bdi", { class: "quiet" }, key), " ", h("bdi", null, short(one.params[key]))),
            )
          : h("span", { class: "quiet" }, "the same parameters"),
      ),
    );
  };
  return h(
    "div",
    { class: "table-box", tabindex: "0", role: "region", "aria-label": "Neighbours" },
    h(
      "table",
      { class: "tight" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          ["Trial", "State", name, "Distance", "What differs"].map((text) =>
            h("th", { scope: "col", class: ["Trial", name, "Distance"].includes(text) ? "num" : null }, text),
          ),
        ),
      ),
      h("tbody", null, found.map(row)),
    ),
  );
}

const short = (one) => {
  const text = value(one);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
};
