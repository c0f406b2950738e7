// Notes and tags of a trial, on its page.

import { h, replace } from "../core/dom.js";
import { quoted } from "../core/selection.js";
import { panel } from "../core/ui.js";
import { notesEditor, tagsEditor } from "../study/notebook.js";
import { annotate } from "./head.js";

export function mount(node, page) {
  const frame = panel({ id: "notes", title: "Notes and tags" });
  replace(node, frame.node);
  const notes = notesEditor({
    label: "Notes of the trial",
    get: () => ({ text: page.trial().notes, html: page.trial().notes_html }),
    save: (text) => annotate(page, { notes: text }),
  });
  const filter = (tag) => `/studies/${encodeURIComponent(page.studyId)}?view=trials&filter=${encodeURIComponent(`tag:${quoted(tag)}`)}`;
  const tags = tagsEditor({
    get: () => page.trial().tags,
    save: (next) => annotate(page, { tags: next }),
    href: (tag) => (tag.includes('"') && tag.includes("'") ? null : filter(tag)),
  });
  replace(frame.body, tags.node, h("div", { class: "gap" }), notes.node);
  page.on("trial", () => {
    notes.draw();
    tags.draw();
  });
}
