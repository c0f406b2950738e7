// What narrows and orders the list: search, states, tag, owner, sort, groups. Its state is the URL's.
//
// toolbar(state: {q, state, tag, owner, sort, group}: params of core/url.js, changed()) → {node, update(studies, shown), focus()}

import { h, later, replace } from "../core/dom.js";
import { integer } from "../core/format.js";
import { chip, icon, select, stateIcon, switcher } from "../core/ui.js";
import { counts, SORTS } from "./list.js";

const STATES = ["running", "preflight", "paused", "finished", "stopped", "failed"];

export function toolbar(state, changed) {
  const search = h("input", {
    type: "search",
    placeholder: "Search names, tags, owners",
    "aria-label": "Search studies",
    value: state.q.get(),
    dataset: { test: "search" },
    on: {
      input: later(120, () => {
        state.q.set(search.value.trim());
        changed();
      }),
      keydown: (event) => {
        if (event.key === "Escape") {
          search.value = "";
          state.q.set("");
          changed();
          search.blur();
        }
        if (event.key === "Enter") {
          // what was typed last counts before the table is walked
          state.q.set(search.value.trim());
          changed();
        }
      },
    },
  });
  const states = h("div", { class: "segmented", role: "group", "aria-label": "State" });
  const sort = select("Sort", SORTS, state.sort.get(), (id) => {
    state.sort.set(id);
    changed();
  });
  const group = switcher("group by tag", state.group.get(), (on) => {
    state.group.set(on);
    changed();
  });
  const chips = h("div", { class: "row filters", hidden: true });
  const summary = h("span", { class: "quiet small", role: "status" });

  function chipsOf() {
    const of = (param, words) =>
      param.get()
        ? chip(`${words} ${param.get()}`, {
            kind: "accent",
            remove: () => {
              param.set("", { push: true });
              changed();
            },
          })
        : null;
    return [of(state.tag, "tag"), of(state.owner, "owner")].filter(Boolean);
  }

  return {
    node: h(
      "div",
      { class: "toolbar" },
      h("div", { class: "search" }, icon("search"), search, h("kbd", { "aria-hidden": "true" }, "/")),
      states,
      h("span", { class: "spacer" }),
      sort,
      group,
      h("div", { class: "row filters-row" }, chips, summary),
    ),
    focus() {
      search.focus();
      search.select();
    },
    update(studies, shown) {
      if (document.activeElement !== search) search.value = state.q.get();
      sort.set(SORTS.some(({ id }) => id === state.sort.get()) ? state.sort.get() : SORTS[0].id);
      group.set(state.group.get());
      const found = counts(studies, (one) => one.state);
      const items = [
        ["", "all", studies.length],
        ...STATES.filter((one) => found.has(one) || state.state.get() === one).map((one) => [one, one, found.get(one) || 0]),
      ];
      const mark = JSON.stringify([items, state.state.get()]);
      if (states.dataset.mark !== mark) {
        states.dataset.mark = mark;
        const focused = states.contains(document.activeElement) ? document.activeElement.dataset.id : null;
        replace(
          states,
          items.map(([id, label, n]) =>
            h(
              "button",
              {
                type: "button",
                dataset: { id },
                "aria-pressed": String(state.state.get() === id),
                class: state.state.get() === id ? "on" : null,
                on: {
                  click: () => {
                    state.state.set(id, { push: true });
                    changed();
                  },
                },
              },
              id && stateIcon(id),
              label,
              h("span", { class: "n" }, integer(n)),
            ),
          ),
        );
        if (focused !== null) [...states.children].find((one) => one.dataset.id === focused)?.focus();
      }
      const active = chipsOf();
      replace(chips, active);
      chips.hidden = !active.length;
      summary.textContent = shown === studies.length ? "" : `${integer(shown)} of ${integer(studies.length)} studies`;
    },
  };
}
