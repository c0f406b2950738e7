// Notes in Markdown and tags, of a study or of a trial: shown as the server made them safe, edited as text.
//
// notesEditor({label, get: () → {text, html}, save: async (text)}) → {node, draw()} · tagsEditor({get: () → [tag], save: async (tags), href: (tag) → address|null}) → {node, draw()}

import { h, replace } from "../core/dom.js";
import { button, chip, toast } from "../core/ui.js";

const LONG = 4000; // characters of notes that are shown before "Show all"

export function notesEditor({ label, get, save, limit = 100000 }) {
  const node = h("div", { class: "notes" });
  let editing = false,
    whole = false;

  function draw() {
    if (editing) return;
    const { text, html } = get();
    const edit = button(text ? "Edit" : "Write notes", () => open(), { small: true });
    if (!text.trim()) {
      replace(
        node,
        h("p", { class: "quiet" }, "No notes yet. Markdown works here: what was tried, what came out, what is next."),
        h("div", { class: "row" }, edit),
      );
      return;
    }
    const prose = h("div", { class: ["prose", "notes-text", text.length > LONG && !whole && "folded"] });
    if (html)
      prose.innerHTML = html; // the one place: this HTML was sanitised by the server
    else prose.textContent = text;
    replace(
      node,
      prose,
      h(
        "div",
        { class: "row" },
        edit,
        text.length > LONG &&
          button(
            whole ? "Show less" : "Show all",
            () => {
              whole = !whole;
              draw();
            },
            { small: true },
          ),
      ),
    );
  }

  function open() {
    editing = true;
    const area = h("textarea", {
      rows: "10",
      "aria-label": label,
      maxlength: String(limit),
      value: get().text,
      spellcheck: "true",
      dir: "auto",
    });
    const keep = button("Save", () => store(area, keep), { kind: "primary", small: true });
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        store(area, keep);
      }
      if (event.key === "Escape" && area.value === get().text) close();
    });
    replace(
      node,
      area,
      h(
        "div",
        { class: "row" },
        keep,
        button("Cancel", close, { small: true }),
        h("span", { class: "quiet small" }, "Markdown; Ctrl+Enter saves"),
      ),
    );
    area.focus();
  }

  async function store(area, keep) {
    keep.disabled = true;
    try {
      await save(area.value);
      close();
    } catch (error) {
      keep.disabled = false;
      toast(`The notes were not saved: ${error.message}`, "bad");
    }
  }

  function close() {
    editing = false;
    draw();
    node.querySelector("button")?.focus();
  }

  draw();
  return { node, draw };
}

export function tagsEditor({ get, save, href = () => null }) {
  const node = h("div", { class: "tags-editor" });
  const input = h("input", {
    type: "text",
    maxlength: "100",
    placeholder: "Add a tag",
    "aria-label": "Add a tag",
    autocomplete: "off",
    dir: "auto",
  });
  const list = h("span", { class: "chips" });
  input.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !input.value.trim()) return;
    event.preventDefault();
    change([...get(), input.value.trim()], () => {
      input.value = "";
    });
  });
  replace(node, list, input);

  async function change(tags, done = () => {}) {
    try {
      await save([...new Set(tags)]);
      done();
    } catch (error) {
      toast(`The tags were not saved: ${error.message}`, "bad");
    }
  }

  function draw() {
    replace(
      list,
      get().map((tag) =>
        chip(tag, {
          title: tag.length > 20 ? tag : null,
          click: href(tag) ? () => location.assign(href(tag)) : null,
          remove: () => change(get().filter((one) => one !== tag)),
        }),
      ),
    );
  }
  draw();
  return { node, draw };
}
