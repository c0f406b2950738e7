// Keyboard shortcuts, each with its explanation; "?" opens the list.
//
// shortcut(key, what, fn) → off      key as in KeyboardEvent.key ("j", "Enter", "/"); fn(event). Ignored while typing and with Ctrl/Alt/Meta.
//     "g s" is two keys after each other. fn may return false to leave the key to the browser.

import { h } from "./dom.js";
import { dialog } from "./dialogs.js";

const known = new Map(); // key → {what, fn}
let first = "",
  at = 0;

export function shortcut(key, what, fn) {
  const entry = { what, fn };
  known.set(key, entry);
  return () => {
    if (known.get(key) === entry) known.delete(key);
  };
}

function typing(event) {
  const node = event.target;
  return (
    node instanceof Element && Boolean(node.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]"))
  );
}

function pressed(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing(event)) return;
  if (document.querySelector("dialog[open]")) return;
  const two = Date.now() - at < 1200 ? `${first} ${event.key}` : "";
  [first, at] = [event.key, Date.now()];
  const entry = known.get(two) || known.get(event.key);
  if (!entry || (event.key === "Enter" && event.target.closest?.("a, button, summary"))) return;
  if (entry.fn(event) !== false) event.preventDefault();
}

const NAMES = { ArrowDown: "↓", ArrowUp: "↑", ArrowLeft: "←", ArrowRight: "→", Escape: "Esc", " ": "Space" };
const keycap = (key) =>
  key
    .split(" ")
    .filter(Boolean)
    .map((one) => h("kbd", null, NAMES[one] || one));

export function showKeys() {
  const rows = [...known]
    .filter(([, { what }]) => what)
    .map(([key, { what }]) => [h("dt", null, key === " " ? h("kbd", null, "Space") : keycap(key)), h("dd", null, what)]);
  return dialog({ title: "Keyboard", body: h("dl", { class: "keys" }, rows), actions: [{ id: "close", label: "Close" }] });
}

addEventListener("keydown", pressed);
shortcut("?", "this list", () => {
  showKeys();
});
shortcut("g s", "go to the studies", () => location.assign("/"));
shortcut("g n", "go to a new study", () => location.assign("/new"));
shortcut("g w", "go to the workers", () => location.assign("/workers"));
