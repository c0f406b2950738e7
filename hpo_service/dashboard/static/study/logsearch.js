// A search through everything that the study's trials printed: lines with their places, page by page.

import { h, replace } from "../core/dom.js";
import { integer, plural } from "../core/format.js";
import { param } from "../core/url.js";
import { button, panel } from "../core/ui.js";

const PAGE = 50;
const LOOKS = 20; // answers in a row without a line before the reader is asked whether to go on

export function mount(node, page) {
  const chosen = param("logs", "");
  const input = h("input", {
    type: "search",
    class: "find",
    placeholder: "Search all logs",
    "aria-label": "Search the logs of all trials",
    autocomplete: "off",
    spellcheck: "false",
    maxlength: "200",
  });
  const form = h(
    "form",
    {
      class: "finder",
      role: "search",
      on: {
        submit: (event) => {
          event.preventDefault();
          chosen.set(input.value);
          begin();
        },
      },
    },
    input,
    h("button", { type: "submit", class: "button quiet small" }, "Search"),
  );
  const frame = panel({
    id: "logsearch",
    title: "Logs",
    wide: true,
    tools: [form],
    help: "Looks through what every attempt printed, line by line, whatever the case of the letters.",
  });
  const list = h("ol", { class: "found-lines" });
  const more = button("Search on", () => go(), { small: true });
  const state = { text: "", cursor: null, searched: 0, found: 0, asked: 0 };
  replace(node, frame.node);

  function begin() {
    Object.assign(state, { text: input.value, cursor: null, searched: 0, found: 0, asked: state.asked + 1 });
    replace(list);
    if (!state.text.trim()) {
      frame.note("");
      frame.empty("Type a word, such as nan or Traceback.");
      return;
    }
    replace(frame.body, list, h("div", { class: "row center" }, more));
    go();
  }

  async function go() {
    const mine = state.asked;
    more.hidden = true;
    frame.note("Searching…");
    try {
      for (let look = 0; look < LOOKS; look += 1) {
        const answer = await page.get("/logs", { filter: null, search: state.text, cursor: state.cursor, limit: PAGE });
        if (mine !== state.asked) return;
        state.cursor = answer.next_cursor;
        state.searched += answer.searched;
        state.found += answer.items.length;
        list.append(...answer.items.map(entry));
        if (answer.items.length || !state.cursor) break;
      }
      frame.ready();
      more.hidden = !state.cursor;
      const through = `${integer(state.searched)} characters looked through`;
      frame.note(`${state.found ? plural(state.found, "line") : "No line"}${state.cursor ? " so far" : ""}; ${through}.`);
    } catch (error) {
      if (mine === state.asked) frame.problem(error);
    }
  }

  const entry = (one) =>
    h(
      "li",
      null,
      h(
        "a",
        {
          href: `/studies/${encodeURIComponent(page.id)}/trials/${one.trial}?${new URLSearchParams({ attempt: one.fence, find: state.text, line: one.line })}`,
        },
        `Trial ${one.trial}`,
      ),
      h("span", { class: "quiet" }, one.fence > 1 ? `attempt ${one.fence}, line ${integer(one.line)}` : `line ${integer(one.line)}`),
      h("code", null, marked(one.text, state.text)),
    );

  input.value = chosen.get();
  chosen.on((text) => {
    if (text === input.value) return;
    input.value = text;
    begin();
  });
  begin();
}

// The line with the places of `text` marked. Where a letter's small form is longer, places would shift: then none is.
function marked(line, text) {
  const small = line.toLowerCase();
  const wanted = text.toLowerCase();
  if (small.length !== line.length || !wanted) return [line];
  const parts = [];
  let from = 0;
  for (let at = small.indexOf(wanted); at >= 0; at = small.indexOf(wanted, from)) {
    parts.push(line.slice(from, at), h("mark", null, line.slice(at, at + wanted.length)));
    from = at + wanted.length;
  }
  return [...parts, line.slice(from)];
}
