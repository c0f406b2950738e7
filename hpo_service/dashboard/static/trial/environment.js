// What the trial ran on and with: the recorded environments of its attempts, collapsed to a line each.

import { bundle } from "../core/code.js";
import { h, replace } from "../core/dom.js";
import { bytes } from "../core/format.js";
import { copyButton, panel } from "../core/ui.js";

export function mount(node, page) {
  const frame = panel({
    id: "environment",
    title: "Environment",
    wide: true,
    help: "Recorded when an attempt starts, so that a repetition can say what differs.",
  });
  if (!page.study().external) replace(node, frame.node); // external workers record none
  frame.loading();
  let shown = "";
  page.on("context", () => {
    const found = Object.entries(page.context().environments ?? {});
    const now = found.map(([digest]) => digest).join(" ");
    if (now === shown && shown) return;
    shown = now;
    frame.ready();
    if (!found.length) frame.empty("No attempt has begun, so nothing is recorded yet.");
    else if (replace(node, frame.node))
      replace(
        frame.body,
        found.map(([digest, document]) => one(digest, document, page)),
      );
  });
}

function one(digest, document, page) {
  const used = page
    .trial()
    .attempt_rows.filter((row) => row.environment_digest === digest)
    .map((row) => row.fence);
  const { packages, digest: _, ...rest } = document;
  return h(
    "details",
    { class: "environment" },
    h(
      "summary",
      null,
      summary(document),
      used.length ? h("span", { class: "quiet" }, ` · attempt${used.length > 1 ? "s" : ""} ${used.join(", ")}`) : null,
    ),
    h(
      "div",
      { class: "row" },
      h("span", { class: "quiet" }, "Digest "),
      h("code", null, digest.slice(0, 16)),
      copyButton(() => JSON.stringify(document, null, 2), "Copy as JSON"),
    ),
    document.code?.bundle ? bundle(document.code.bundle) : null,
    pairs(rest),
    packages
      ? h(
          "details",
          null,
          h("summary", null, `${Object.keys(packages).length} packages`),
          h(
            "pre",
            { tabindex: "0" },
            Object.entries(packages)
              .map(([name, version]) => `${name}==${version}`)
              .join("\n"),
          ),
        )
      : null,
  );
}

function summary({ python, torch, cpu, gpu, code }) {
  const parts = [
    python && `Python ${python}`,
    torch?.version && `torch ${torch.version}`,
    typeof gpu === "object" && gpu ? (gpu.name ?? gpu.names?.[0] ?? "GPU") : cpu,
    code?.bundle && `code ${String(code.bundle).slice(0, 12)}`,
    code?.commit && `commit ${String(code.commit).slice(0, 10)}`,
  ].filter(Boolean);
  return parts.join(" · ") || "Environment";
}

function pairs(document, depth = 0) {
  const entries = Object.entries(document).filter(([, one]) => one !== null && one !== undefined && one !== "");
  return h(
    "dl",
    { class: "pairs" },
    entries.map(([name, one]) => [h("dt", null, name.replaceAll("_", " ")), h("dd", null, content(name, one, depth))]),
  );
}

function content(name, one, depth) {
  if (Array.isArray(one))
    return one.every((item) => typeof item !== "object")
      ? one.join(", ").slice(0, 4000)
      : h("pre", { tabindex: "0" }, JSON.stringify(one, null, 2).slice(0, 20000));
  if (typeof one === "object")
    return depth > 1 ? h("pre", { tabindex: "0" }, JSON.stringify(one, null, 2).slice(0, 20000)) : pairs(one, depth + 1);
  if (typeof one === "number" && /_bytes$/.test(name)) return bytes(one);
  const text = String(one);
  return text.length > 300 || text.includes("\n")
    ? h(
        "details",
        null,
        h("summary", null, `${text.length.toLocaleString("en-GB")} characters`),
        h("pre", { tabindex: "0" }, text.slice(0, 200000)),
      )
    : text;
}
