// Find in a long text: marks every place with the browser's highlights, goes from one to the next.
//
// makeFinder(pre, text()) → {node, again(), seek(what, line)}      again() after the text has changed; seek: as if typed, from that line on

import { h, later, replace } from "../core/dom.js";
import { button } from "../core/ui.js";

const MOST = 5000;

export function makeFinder(pre, text) {
  const input = h("input", {
    type: "search",
    placeholder: "Find",
    "aria-label": "Find in the log",
    class: "find",
    autocomplete: "off",
    spellcheck: "false",
  });
  const count = h("span", { class: "quiet small", role: "status" });
  let places = [],
    at = 0;
  const node = h(
    "span",
    { class: "finder" },
    input,
    count,
    button("↑", () => go(-1), { small: true, title: "Previous place" }),
    button("↓", () => go(1), { small: true, title: "Next place" }),
  );
  node.querySelectorAll("button").forEach((one) => one.setAttribute("aria-label", one.title));

  function again() {
    const wanted = input.value.toLowerCase();
    places = [];
    const whole = wanted ? text().toLowerCase() : "";
    for (let from = whole.indexOf(wanted); wanted && from >= 0 && places.length < MOST; from = whole.indexOf(wanted, from + wanted.length))
      places.push(from);
    at = Math.min(at, Math.max(0, places.length - 1));
    node.classList.toggle("searching", Boolean(wanted));
    mark();
  }

  function range(from) {
    const made = new Range();
    made.setStart(pre.firstChild, from);
    made.setEnd(pre.firstChild, from + input.value.length);
    return made;
  }

  function mark() {
    replace(count, input.value ? (places.length ? `${at + 1} of ${places.length}${places.length === MOST ? "+" : ""}` : "not found") : "");
    if (!globalThis.CSS?.highlights) return;
    CSS.highlights.delete("found");
    CSS.highlights.delete("found-here");
    if (!places.length || !pre.firstChild || text().toLowerCase().length !== pre.firstChild.length) return; // a letter whose small form is longer shifts all places
    CSS.highlights.set("found", new Highlight(...places.map(range)));
    CSS.highlights.set("found-here", new Highlight(range(places[at])));
  }

  function go(by) {
    if (!places.length) return;
    at = (at + by + places.length) % places.length;
    mark();
    const box = range(places[at]).getBoundingClientRect();
    const frame = pre.getBoundingClientRect();
    if (box.top < frame.top || box.bottom > frame.bottom) pre.scrollTop += box.top - frame.top - frame.height / 2;
  }

  input.addEventListener(
    "input",
    later(120, () => {
      at = 0;
      again();
      if (places.length) go(0);
    }),
  );
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      go(event.shiftKey ? -1 : 1);
    }
  });
  function seek(what, line) {
    input.value = what;
    again();
    let start = 0;
    for (let passed = 1; passed < line && start >= 0; passed += 1) start = text().indexOf("\n", start) + 1 || -1;
    at = Math.max(
      0,
      places.findIndex((from) => from >= start),
    );
    mark();
    go(0);
  }

  return { node, again, seek };
}
