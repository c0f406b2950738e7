// The files that the trial kept: pictures shown, everything else to be downloaded. Nothing of a file is ever run or rendered here but a PNG or JPEG.

import { blob, download, get, query } from "../core/api.js";
import { h, later, replace } from "../core/dom.js";
import { bytes, plural, when } from "../core/format.js";
import { button, dialog, panel, toast } from "../core/ui.js";

const PAGE = 100;
const SHOWN_AT_ONCE = 8; // pictures that are fetched unasked

export function mount(node, page) {
  const frame = panel({
    id: "artifacts",
    title: "Artifacts",
    wide: true,
    help: "Files that the training code kept with trial.artifact(path). They are kept as long as the study. Only PNG and JPEG pictures are shown here; everything else is downloaded.",
  });
  const pictures = h("div", { class: "pictures" });
  const rows = h("tbody");
  const more = button("Show more", () => read(), { small: true });
  const known = new Set();
  const state = { cursor: null, whole: false, busy: false, fetched: 0 };
  const place = (one, path = "") => `${page.path}/artifacts/${encodeURIComponent(one.id)}${path}`;

  async function read() {
    if (state.busy) return;
    state.busy = true;
    try {
      // A list that was read to its end is read again from there: what came since comes behind it.
      const answer = await get(`${page.path}/artifacts${query({ cursor: state.cursor, limit: PAGE })}`, { keep: false });
      const found = answer.items.filter((one) => !known.has(one.id));
      found.forEach((one) => known.add(one.id));
      if (answer.next_cursor) state.cursor = answer.next_cursor;
      state.whole = !answer.next_cursor;
      if (known.size) show(found);
    } catch (error) {
      if (!frame.node.isConnected) replace(node, frame.node);
      frame.problem(error);
    } finally {
      state.busy = false;
    }
  }

  function show(found) {
    if (!frame.node.isConnected) replace(node, frame.node);
    frame.ready();
    if (!rows.isConnected) replace(frame.body, pictures, table(rows), h("div", { class: "row center" }, more));
    rows.append(...found.map(row));
    pictures.append(...found.filter((one) => one.preview).map(picture));
    pictures.hidden = !pictures.childElementCount;
    more.hidden = state.whole;
    frame.note(state.whole ? "" : `The first ${plural(known.size, "file")}.`);
  }

  const row = (one) =>
    h(
      "tr",
      null,
      h("th", { scope: "row", class: "name" }, h("bdi", { title: one.name }, one.name)),
      h("td", { class: "num" }, bytes(one.size_bytes)),
      h("td", { class: "num spare" }, String(one.fence)),
      h("td", { class: "when spare" }, when(one.at)),
      h("td", null, save(one)),
    );

  const save = (one) => {
    const made = button("Download", () => download(place(one), fileName(one)).catch((error) => toast(error.message, "bad")), {
      small: true,
      icon: "download",
    });
    made.setAttribute("aria-label", `Download ${one.name}`);
    return made;
  };

  function picture(one) {
    const frameOfOne = h(
      "button",
      { type: "button", class: "picture-button", "aria-label": `Show ${one.name}`, on: { click: () => enlarge(one) } },
      h("span", { class: "quiet small" }, "Show"),
    );
    if (state.fetched < SHOWN_AT_ONCE) {
      state.fetched += 1;
      fill(one, frameOfOne);
    }
    return h("figure", { class: "picture" }, frameOfOne, h("figcaption", null, h("bdi", { title: one.name }, one.name)));
  }

  async function fill(one, into) {
    try {
      replace(into, await image(one));
    } catch {
      replace(into, h("span", { class: "quiet small" }, "It cannot be shown; download it."));
    }
  }

  const drawn = new Map(); // id → address of its bytes
  async function image(one) {
    if (!drawn.has(one.id)) drawn.set(one.id, await address(await blob(place(one, "/preview"))));
    const made = h("img", { src: drawn.get(one.id), alt: one.name });
    await made.decode(); // a file that only begins like a picture is refused here
    return made;
  }

  async function enlarge(one) {
    const into = h("div", { class: "picture-large" }, h("span", { class: "quiet" }, "Loading…"));
    fill(one, into);
    await dialog({ title: one.name, body: into, wide: true });
  }

  page.on("trial", later(300, read));
  read();
}

const table = (rows) =>
  h(
    "div",
    { class: "table-box", tabindex: "0", role: "region", "aria-label": "Artifacts" },
    h(
      "table",
      { class: "tight artifacts" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          ["Name", "Size", "Attempt", "Kept"].map((text) =>
            h("th", { scope: "col", class: [["Size", "Attempt"].includes(text) && "num", ["Attempt", "Kept"].includes(text) && "spare"] }, text),
          ),
          h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "Download")),
        ),
      ),
      rows,
    ),
  );

const fileName = (one) => one.name.split(/[/\\]/).pop().trim() || one.id;

// As data, which the pages' policy allows for pictures, and which holds nothing open.
function address(found) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => failed(reader.error);
    reader.readAsDataURL(found);
  });
}
