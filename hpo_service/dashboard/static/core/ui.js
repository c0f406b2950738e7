// The small parts of which pages are made. Dialogs, toasts and menus live in dialogs.js, the frame of charts in panel.js; both are exported here too.
//
// badge(state, {label}?) → colour, icon and word of a state (study, trial, attempt, fate) · progress({value, max, label}) → bar; label is its text for all readers
// chip(text, {remove: fn, click: fn, kind, title}?) · copyButton(text|fn, label = "Copy")
// tabs(items: [{id, label, count}], current, onChange(id)) → node with .show(id); a role=tablist (arrow keys); panels: aria-controls "tab-ID" if it exists
// segmented(items: [{id, label, title}], current, onChange(id), {label}?) → radio group with .show(id) · switcher(label, on, onChange(on)) → node with .set(on)
// select(label, items: [{id, label}], current, onChange(id)) → <label> with a <select> and .set(id) · button(label, run, {kind, icon, title, disabled, small}?)
// field(label, input, {hint}?) → labelled form row · icon(name) → svg · stateIcon(state) → svg
// also: dialog, confirmed, toast, menu, panel, emptyState, skeleton, problemBox

import { h, svg } from "./dom.js";
import { toast } from "./dialogs.js";
import { copy } from "./files.js";

export { confirmed, dialog, menu, toast } from "./dialogs.js";
export { emptyState, panel, problemBox, skeleton } from "./panel.js";

// Every state has a shape of its own, so that colour is never the only sign.
const SHAPES = {
  running: "M4.5 2.5v11l9-5.5z",
  finished: "M2.5 8.5l3.5 3.5 7.5-8",
  failed: "M3.5 3.5l9 9m0-9l-9 9",
  stopped: "M3.5 3.5h9v9h-9z",
  paused: "M5 3v10M11 3v10",
  waiting: "M8 2.5a5.5 5.5 0 1 0 .01 0M8 5v3.2l2 1.3",
  promoted: "M8 13V3M3.5 7.5L8 3l4.5 4.5",
  preflight: "M8 2.5a5.5 5.5 0 1 0 5.5 5.5",
  other: "M3 8h10",
};
const FILLED = new Set(["running", "stopped"]);
const LIKE = {
  open: "running",
  closed: "finished",
  completed: "finished",
  done: "finished",
  stopping: "stopped",
  cancelled: "stopped",
  lost: "failed",
  expired: "failed",
  pending: "waiting",
  queued: "waiting",
  idle: "waiting",
  created: "waiting",
  busy: "running",
  busted: "failed",
  draining: "paused",
  gone: "failed",
};

const stateKind = (state) => (state in SHAPES ? state : LIKE[state] || "other");

export function stateIcon(state) {
  const kind = stateKind(state);
  return svg(
    "svg",
    { viewBox: "0 0 16 16", class: ["state-icon", FILLED.has(kind) && "filled"], "aria-hidden": "true", focusable: "false" },
    svg("path", { d: SHAPES[kind] }),
  );
}

export const badge = (state, { label = state } = {}) =>
  h("span", { class: ["badge", `is-${stateKind(state)}`], dataset: { state } }, stateIcon(state), label);

export function progress({ value, max, label }) {
  const share = max > 0 ? Math.max(0, Math.min(1, value / max)) : 0;
  return h(
    "div",
    {
      class: "progress",
      role: "progressbar",
      "aria-valuemin": "0",
      "aria-valuemax": "100",
      "aria-valuenow": String(Math.round(100 * share)),
      "aria-label": label,
      title: label,
    },
    h("span", { class: share >= 1 ? "full" : null, style: `width:${(100 * share).toFixed(2)}%` }),
  );
}

export function chip(text, { remove = null, click = null, kind = "", title = null } = {}) {
  const words = h("bdi", null, text);
  const inner = click
    ? h("button", { type: "button", class: "chip-text", title, on: { click } }, words)
    : h("span", { class: "chip-text", title }, words);
  return h(
    "span",
    { class: ["chip", kind] },
    inner,
    remove && h("button", { type: "button", class: "chip-remove", "aria-label": `Remove ${text}`, on: { click: remove } }, "✕"),
  );
}

export function button(label, run, { kind = "quiet", icon: named = null, title = null, disabled = false, small = false } = {}) {
  return h(
    "button",
    { type: "button", class: ["button", kind, small && "small"], title, disabled, on: { click: run } },
    named && icon(named),
    label,
  );
}

export function copyButton(text, label = "Copy") {
  const made = button(
    label,
    async () => {
      const given = typeof text === "function" ? await text() : text;
      const worked = await copy(given);
      if (!worked) return toast("The browser did not allow copying; select the text and copy it by hand.", "warn");
      made.lastChild.textContent = "Copied";
      setTimeout(() => {
        made.lastChild.textContent = label;
      }, 1500);
      return undefined;
    },
    { small: true, icon: "copy" },
  );
  return made;
}

// Arrow keys, Home and End move within a group of buttons of which one is chosen.
function roving(group, choose) {
  group.addEventListener("keydown", (event) => {
    const all = [...group.querySelectorAll("button")];
    const at = all.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    event.stopPropagation();
    const next = all[(to + all.length) % all.length];
    next.focus();
    choose(next.dataset.id);
  });
}

function chooser({ role, itemRole, mark, group, items, current, onChange }) {
  const box = h(
    "div",
    { ...group, role },
    items.map(({ id, label, title = null, count = null }) =>
      h(
        "button",
        {
          type: "button",
          role: itemRole,
          title,
          dataset: { id },
          id: role === "tablist" ? `tab-for-${id}` : null,
          "aria-controls": role === "tablist" ? `tab-${id}` : null,
          on: { click: () => pick(id) },
        },
        label,
        count === null ? null : h("span", { class: "count" }, String(count)),
      ),
    ),
  );
  box.show = (id) => {
    for (const one of box.children) {
      one.setAttribute(mark, String(one.dataset.id === String(id)));
      one.tabIndex = one.dataset.id === String(id) ? 0 : -1;
    }
    if (![...box.children].some((one) => one.tabIndex === 0) && box.firstChild) box.firstChild.tabIndex = 0;
    current = id;
  };
  const pick = (id) => {
    if (id === current) return;
    box.show(id);
    onChange(id);
  };
  roving(box, pick);
  box.show(current);
  return box;
}

export const tabs = (items, current, onChange, { label = "Views" } = {}) =>
  chooser({
    role: "tablist",
    itemRole: "tab",
    mark: "aria-selected",
    group: { class: "tabs", "aria-label": label },
    items,
    current,
    onChange,
  });

export const segmented = (items, current, onChange, { label = null } = {}) =>
  chooser({
    role: "radiogroup",
    itemRole: "radio",
    mark: "aria-checked",
    group: { class: "segmented", "aria-label": label },
    items,
    current,
    onChange,
  });

export function switcher(label, on, onChange) {
  const knob = h(
    "button",
    {
      type: "button",
      role: "switch",
      class: "switch",
      "aria-checked": String(Boolean(on)),
      on: {
        click: () => {
          knob.set(knob.getAttribute("aria-checked") !== "true");
          onChange(knob.getAttribute("aria-checked") === "true");
        },
      },
    },
    h("span", { class: "switch-track", "aria-hidden": "true" }),
    label,
  );
  knob.set = (now) => knob.setAttribute("aria-checked", String(Boolean(now)));
  return knob;
}

export function select(label, items, current, onChange) {
  const box = h(
    "select",
    { value: current, on: { change: () => onChange(box.value) } },
    items.map(({ id, label: text }) => h("option", { value: id }, text)),
  );
  const row = h("label", { class: "select" }, h("span", null, label), box);
  row.set = (id) => {
    box.value = id;
  };
  return row;
}

export function field(label, input, { hint = "" } = {}) {
  input.id ||= `field-${Math.random().toString(36).slice(2, 8)}`;
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input, hint && h("p", { class: "quiet small" }, hint));
}

const ICONS = {
  copy: "M5.5 5.5h8v8h-8zM3 10.5h-.5v-8h8V3",
  plus: "M8 3v10M3 8h10",
  search: "M7 2.5a4.5 4.5 0 1 0 .01 0M10.3 10.3l3.4 3.4",
  compare: "M2.5 12l4-5 3 2.5 4-6M2.5 8l3-2",
  sun: "M8 5.2a2.8 2.8 0 1 0 .01 0M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  moon: "M13 9.5A5.5 5.5 0 0 1 6.5 3a5.5 5.5 0 1 0 6.5 6.5",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  down: "M3.5 6l4.5 4.5L12.5 6",
  right: "M6 3.5l4.5 4.5L6 12.5",
  key: "M5.5 6.5a3 3 0 1 0 3 3L14 4M11.5 6.5l1.5 1.5",
  download: "M8 2.5v8M4.5 7.5L8 11l3.5-3.5M3 13.5h10",
};

export const icon = (named) =>
  svg(
    "svg",
    { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: ICONS[named] || ICONS.more }),
  );
