// The study's definition as it stands, with what identifies it; to copy or to clone.

import { bundle } from "../core/code.js";
import { h, replace } from "../core/dom.js";
import { copyButton, panel } from "../core/ui.js";
import { document as yaml } from "./yaml.js";

export function mount(node, page) {
  const clone = h("a", { class: "button quiet small", href: `/new?clone=${encodeURIComponent(page.id)}` }, "Clone into a new study");
  const frame = panel({
    id: "definition",
    title: "Definition",
    wide: true,
    tools: [copyButton(() => text(page)), clone],
    help: "What was submitted, with every default written out, and as it was changed since. The space's digest is equal for studies that search the same space.",
  });
  replace(node, frame.node);
  let version = null;
  const draw = () => {
    const study = page.study();
    if (version === study.definition_version) return;
    version = study.definition_version;
    replace(
      frame.body,
      h(
        "dl",
        { class: "definition-facts" },
        fact("Version", String(version)),
        fact("Space version", String(study.space_version)),
        fact("Space digest", h("code", { title: study.space_digest }, study.space_digest.slice(0, 16)), copyButton(study.space_digest)),
      ),
      page.definition().trainer.bundle ? bundle(page.definition().trainer.bundle) : null,
      h("pre", { class: "definition", tabindex: "0" }, text(page)),
    );
  };
  draw();
  page.on("study", draw);
}

const fact = (label, ...values) => h("div", null, h("dt", null, label), h("dd", null, values));

// As people write them: what it is and what it is for first, the knobs later. What is not named here follows in the server's order.
const ORDER = ["name", "objective", "objectives", "constraints", "space", "forbid", "algorithm", "trainer", "budget", "resources", "parallel"];
const LAST = ["tags", "notes"];
const FIRST = ["type", "name", "metric", "recipe"];

function text(page) {
  const definition = page.definition();
  const names = Object.keys(definition);
  const order = [
    ...ORDER.filter((one) => names.includes(one)),
    ...names.filter((one) => !ORDER.includes(one) && !LAST.includes(one)),
    ...LAST.filter((one) => names.includes(one)),
  ];
  return yaml(
    Object.fromEntries(
      order.filter((one) => !empty(definition[one])).map((one) => [one, one === "space" ? definition.space : arranged(definition[one])]),
    ),
  );
}

const empty = (one) => one === "" || one === null || (Array.isArray(one) && !one.length);

function arranged(one) {
  if (one === null || typeof one !== "object" || Array.isArray(one)) return one;
  const names = Object.keys(one);
  return Object.fromEntries(
    [...FIRST.filter((name) => names.includes(name)), ...names.filter((name) => !FIRST.includes(name))].map((name) => [name, one[name]]),
  );
}
