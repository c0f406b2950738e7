// Notes and tags of a study, on its page.

import { patch } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { panel } from "../core/ui.js";
import { notesEditor, tagsEditor } from "./notebook.js";

export function mount(node, page) {
  const frame = panel({ id: "notes", title: "Notes and tags", wide: true });
  replace(node, frame.node);
  let html = page.study().notes_html ?? "",
    of = page.study().notes;
  const change = async (changes) => {
    await patch(page.path(), changes);
    await fresh();
    page.reload();
  };
  // The answers about changes carry the notes' text; the safe HTML comes with the study itself.
  async function fresh() {
    const row = await page.get("", { filter: null });
    [html, of] = [row.notes_html ?? "", row.notes];
    Object.assign(page.study(), { notes: row.notes, notes_html: row.notes_html, tags: row.tags });
    notes.draw();
    tags.draw();
  }
  const notes = notesEditor({ label: "Notes of the study", get: () => ({ text: of, html }), save: (text) => change({ notes: text }) });
  const tags = tagsEditor({
    get: () => page.study().tags,
    save: (next) => change({ tags: next }),
    href: (tag) => `/?tag=${encodeURIComponent(tag)}`,
  });
  replace(frame.body, tags.node, h("div", { class: "gap" }), notes.node);
  page.on("study", () => {
    tags.draw();
    if (page.study().notes !== of) fresh().catch(() => {});
  });
}
