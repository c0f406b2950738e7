// The list that completes what is being typed: opens while typing and by Ctrl+Space; arrows choose, Enter or Tab takes, Escape closes.
//
// completing(field, known) → {close()}     field: a codeField · known() → fields(schema) | null while the schema loads

import { h, replace } from "../core/dom.js";
import { outline } from "./outline.js";

const SHOWN = 60;

export function completing(field, known) {
  const { area } = field;
  const list = h("ul", { class: "complete-list", role: "listbox", id: "complete-list", "aria-label": "Completions" });
  const about = h("p", { class: "complete-about" });
  const popup = h("div", { class: "complete", hidden: true, "data-test": "completion" }, list, about);
  const told = h("p", { class: "visually-hidden", role: "status", "aria-live": "polite" });
  field.node.append(popup, told);
  let items = [],
    current = 0,
    place = null,
    taking = false;
  const open = () => !popup.hidden;

  function close() {
    popup.hidden = true;
    area.removeAttribute("aria-activedescendant");
    area.removeAttribute("aria-controls");
  }

  function look(asked) {
    const doc = outline(area.value);
    place = area.selectionStart === area.selectionEnd && known() ? doc.at(area.selectionStart) : null;
    items = place ? matching(known().suggestions(place, doc), place.word).slice(0, SHOWN) : [];
    const done = items.length === 1 && items[0].label === place.word;
    const wanted = asked || place?.word || (place?.kind === "value" && items.length) || place?.flow;
    if (!items.length || done || !wanted) {
      if (asked && !items.length) told.textContent = "No completions here.";
      return close();
    }
    return show();
  }

  function show() {
    replace(
      list,
      items.map((item, i) =>
        h(
          "li",
          {
            role: "option",
            id: `complete-${i}`,
            on: {
              pointerdown: (event) => {
                event.preventDefault();
                take(i);
              },
            },
          },
          h("span", { class: "complete-label" }, item.label),
          item.detail && h("span", { class: "complete-detail" }, item.detail),
        ),
      ),
    );
    popup.hidden = false;
    area.setAttribute("aria-controls", list.id);
    choose(0);
    put();
    told.textContent = `${items.length} ${items.length === 1 ? "completion" : "completions"}: ${items[0].label}`;
  }

  function put() {
    const at = field.caret();
    const box = area.getBoundingClientRect();
    const outer = field.node.getBoundingClientRect();
    const left = box.left - outer.left + at.left - place.word.length * at.wide - 10;
    popup.style.left = `${Math.max(0, Math.min(left, outer.width - popup.offsetWidth - 4))}px`;
    const top = box.top - outer.top + at.top + at.height + 2;
    const above = box.top + at.top - popup.offsetHeight - 4;
    const fits = outer.top + top + popup.offsetHeight < innerHeight || above < 0;
    popup.style.top = `${fits ? top : top - at.height - popup.offsetHeight - 6}px`;
  }

  function choose(i) {
    current = (i + items.length) % items.length;
    for (const [n, one] of [...list.children].entries()) one.setAttribute("aria-selected", String(n === current));
    list.children[current].scrollIntoView({ block: "nearest" });
    area.setAttribute("aria-activedescendant", `complete-${current}`);
    about.textContent = items[current].description || "";
    about.hidden = !items[current].description;
  }

  function take(i) {
    const item = items[i];
    const rest = area.value.slice(place.to);
    let text = item.insert || item.label;
    if (place.kind === "key" && /^\s*:/.test(rest)) text = item.label;
    const lineStart = area.value.lastIndexOf("\n", place.from - 1) + 1;
    const margin = " ".repeat(place.from - lineStart);
    text = text.replaceAll("\n", `\n${margin}`);
    const spaced = place.kind === "value" && area.value[place.from - 1] === ":" ? ` ${text}` : text;
    const cursor = spaced.includes("$0") ? spaced.indexOf("$0") : spaced.length;
    close();
    taking = true;
    field.insert(place.from, place.to, spaced.replace("$0", ""), cursor);
    taking = false;
    if (spaced.includes("$0") && !spaced.endsWith("$0")) look(false);
    else if (place.kind === "key" && /(: |\n +)\$0$/.test(spaced)) look(false);
  }

  field.on(() => {
    if (!taking) look(false);
  });
  area.addEventListener("blur", close);
  area.addEventListener("scroll", close);
  area.addEventListener("click", close);
  area.addEventListener(
    "keydown",
    (event) => {
      if (event.isComposing) return;
      if (event.key === " " && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        look(true);
        return;
      }
      if (!open()) return;
      const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
      if (step)
        choose(Math.max(Math.min(current + step, Math.abs(step) > 1 ? items.length - 1 : items.length), Math.abs(step) > 1 ? 0 : -1));
      else if ((event.key === "Enter" && !event.ctrlKey && !event.metaKey) || (event.key === "Tab" && !event.shiftKey)) take(current);
      else if (event.key === "Escape") close();
      else if (["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return close();
      else return;
      event.preventDefault();
      event.stopImmediatePropagation();
    },
    true,
  ); // before the field's own keys
  return { close };
}

function matching(items, word) {
  const wanted = word.toLowerCase().replace(/^["']/, "");
  const rank = ({ label }) => {
    const name = label.toLowerCase();
    if (name.startsWith(wanted)) return 0;
    if (wanted.length < 2) return 9;
    if (name.includes(wanted)) return 1;
    if (wanted.length < 3) return 9;
    return [...wanted].reduce((at, letter) => (at < 0 ? at : name.indexOf(letter, at) < 0 ? -1 : name.indexOf(letter, at) + 1), 0) < 0
      ? 9
      : 2;
  };
  return items
    .map((item) => [rank(item), item])
    .filter(([place]) => place < 9)
    .sort((a, b) => a[0] - b[0])
    .map(([, item]) => item);
}
