// What lies above the page: dialogs, toasts, menus. (ui.js exports all of this too.)
//
// dialog({title, body: node|string, actions: [{id, label, kind: "primary"|"danger"|"quiet", check() → bool?}], wide}) → Promise of the action's id, null when closed
//     a form in body: Enter presses the first primary action. check() returning false keeps the dialog open.
// confirmed(text, {title, yes, kind}?) → Promise<boolean>
// toast(text, kind = "info"|"good"|"bad"|"warn", {action: {label, run}}?)
// menu(button, items: [{label, run, hint, kind, disabled, checked}] | () → items) → the button now opens a menu (arrow keys, Escape)

import { byId, h } from "./dom.js";

export function dialog({ title, body, actions = [{ id: "close", label: "Close" }], wide = false }) {
  return new Promise((done) => {
    let answer = null;
    const close = (id, check) => {
      if (check && check() === false) return;
      answer = id;
      box.close();
    };
    const buttons = actions.map(({ id, label, kind = "quiet", check }) =>
      h(
        "button",
        {
          type: kind === "primary" || kind === "danger" ? "submit" : "button",
          class: ["button", kind],
          value: id,
          on: {
            click: (event) => {
              event.preventDefault();
              close(id, check);
            },
          },
        },
        label,
      ),
    );
    const box = h(
      "dialog",
      {
        class: ["dialog", wide && "wide"],
        "aria-labelledby": "dialog-title",
        on: {
          close: () => {
            box.remove();
            done(answer);
          },
          click: (event) => {
            if (event.target === box) box.close();
          },
        },
      },
      h(
        "form",
        { method: "dialog", class: "dialog-frame" },
        h(
          "div",
          { class: "dialog-head" },
          h("h2", { id: "dialog-title" }, title),
          h("button", { type: "button", class: "icon-button", "aria-label": "Close", on: { click: () => box.close() } }, "✕"),
        ),
        h("div", { class: "dialog-body" }, typeof body === "string" ? h("p", null, body) : body),
        h("div", { class: "dialog-actions" }, buttons),
      ),
    );
    document.body.append(box);
    box.showModal();
    (box.querySelector("[autofocus], .dialog-body :is(input, textarea, select)") || buttons.at(-1))?.focus();
  });
}

export async function confirmed(text, { title = "Are you sure?", yes = "Yes", kind = "primary" } = {}) {
  const answer = await dialog({
    title,
    body: text,
    actions: [
      { id: "no", label: "Cancel" },
      { id: "yes", label: yes, kind },
    ],
  });
  return answer === "yes";
}

const ICONS = { info: "ℹ", good: "✓", bad: "✕", warn: "!" };

export function toast(text, kind = "info", { action = null } = {}) {
  const area = byId("toasts") || document.body.appendChild(h("div", { id: "toasts", role: "status", "aria-live": "polite" }));
  const note = h(
    "div",
    { class: ["toast", kind] },
    h("span", { class: "toast-icon", "aria-hidden": "true" }, ICONS[kind] || ICONS.info),
    h("span", { class: "toast-text" }, text),
    action &&
      h(
        "button",
        {
          class: "button quiet small",
          on: {
            click: () => {
              note.remove();
              action.run();
            },
          },
        },
        action.label,
      ),
    h("button", { class: "icon-button", "aria-label": "Dismiss", on: { click: () => note.remove() } }, "✕"),
  );
  area.append(note);
  while (area.children.length > 4) area.firstChild.remove();
  setTimeout(() => note.remove(), kind === "bad" ? 12000 : 5000);
}

export function menu(button, items) {
  let open = null;
  button.setAttribute("aria-haspopup", "menu");
  button.setAttribute("aria-expanded", "false");
  const shut = (refocus) => {
    open?.remove();
    open = null;
    button.setAttribute("aria-expanded", "false");
    removeEventListener("pointerdown", outside, true);
    if (refocus) button.focus();
  };
  const outside = (event) => {
    if (open && !open.contains(event.target) && !button.contains(event.target)) shut(false);
  };
  const show = () => {
    const list = (typeof items === "function" ? items() : items).filter(Boolean);
    open = h(
      "div",
      { class: "menu", role: "menu" },
      list.map((item) => entry(item, shut)),
    );
    open.addEventListener("keydown", (event) => move(event, open, shut));
    document.body.append(open);
    place(open, button);
    button.setAttribute("aria-expanded", "true");
    addEventListener("pointerdown", outside, true);
    open.querySelector("button:not(:disabled)")?.focus();
  };
  button.addEventListener("click", () => (open ? shut(true) : show()));
  button.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && !open) {
      event.preventDefault();
      show();
    }
  });
  return button;
}

function entry({ label, run, hint = "", kind = "", disabled = false, checked = null }, shut) {
  return h(
    "button",
    {
      type: "button",
      class: ["menu-item", kind],
      role: checked === null ? "menuitem" : "menuitemcheckbox",
      tabindex: "-1",
      disabled,
      "aria-checked": checked === null ? null : String(checked),
      on: {
        click: () => {
          shut(true);
          run();
        },
      },
    },
    checked === null ? null : h("span", { class: "tick", "aria-hidden": "true" }, checked ? "✓" : ""),
    h("span", null, label),
    hint && h("span", { class: "quiet" }, hint),
  );
}

function move(event, open, shut) {
  const all = [...open.querySelectorAll("button:not(:disabled)")];
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step) all[(all.indexOf(document.activeElement) + step + all.length) % all.length]?.focus();
  else if (event.key === "Home") all[0]?.focus();
  else if (event.key === "End") all.at(-1)?.focus();
  else if (event.key === "Escape" || event.key === "Tab") shut(true);
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function place(box, button) {
  const at = button.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.left, innerWidth - box.offsetWidth - 8));
  const below = at.bottom + 4 + box.offsetHeight <= innerHeight || at.top < box.offsetHeight;
  box.style.left = `${left + scrollX}px`;
  box.style.top = `${(below ? at.bottom + 4 : at.top - box.offsetHeight - 4) + scrollY}px`;
}
