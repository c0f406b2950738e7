// A bundle of code: its short digest, and when opened its files and the way to its archive. Names of files are text, whatever they hold.
//
// bundle(digest) → node

import { download, get } from "./api.js";
import { h, replace } from "./dom.js";
import { bytes, plural } from "./format.js";
import { button, copyButton } from "./ui.js";

const MOST = 500; // files that are listed; a bundle may hold thousands

export function bundle(digest) {
  const body = h("div", { class: "bundle-files" });
  const node = h(
    "details",
    { class: "bundle", dataset: { test: "bundle" } },
    h("summary", null, "Code ", h("code", { title: digest }, digest.slice(0, 12))),
    body,
  );
  node.addEventListener("toggle", () => {
    if (!node.open || body.childNodes.length) return;
    replace(body, h("p", { class: "quiet" }, "Looking up its files…"));
    get(`/bundles/${digest}`).then(
      (found) => replace(body, files(found)),
      (error) => replace(body, h("p", { class: "quiet" }, `Its files cannot be shown: ${error.message}`)),
    );
  });
  return node;
}

function files(found) {
  const shown = found.files.slice(0, MOST);
  const more = found.files.length - shown.length;
  return [
    h(
      "div",
      { class: "row" },
      h("span", { class: "quiet" }, `${plural(found.files.length, "file")}, ${bytes(found.size_bytes)}, by ${found.created_by}`),
      copyButton(found.digest, "Copy digest"),
      button("Download", () => download(`/bundles/${found.digest}/archive`, `code-${found.digest.slice(0, 12)}.zip`), { small: true, icon: "download" }),
    ),
    h(
      "ul",
      null,
      shown.map((one) => h("li", null, h("code", { title: one.sha256 }, one.name), h("span", { class: "quiet" }, ` ${bytes(one.size_bytes)}`))),
    ),
    more ? h("p", { class: "quiet" }, `and ${plural(more, "more file")}`) : null,
  ];
}
