// What a server without studies shows: how a study is written, ready to be submitted from here.
//
// firstStudy(done(study)) → node

import { get, post } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { button, copyButton, problemBox, segmented } from "../core/ui.js";

const YAML = `# Hyperband over a network that reads handwritten digits.
name: digits-hyperband
objective: {metric: val_accuracy, direction: maximize}
space:
  lr: {type: loguniform, low: 1.0e-6, high: 1.0e-1}
  batch_size: {type: power_of_two, low: 16, high: 256}
  optimizer: {type: choice, values: [momentum, adam]}
algorithm: {name: hyperband, max_resource: 27, eta: 3}
trainer: {recipe: image_classifier, params: {data: digits, model: mlp, hidden_units: 128}}
budget: {trials: 49}
`;
const OWN = {
  name: "digits",
  title: "Handwritten digits",
  description: "A small network, 49 trials, a minute or so on one machine.",
  yaml: YAML,
};
const STEPS = [
  ["Say what to search", "A definition names the metric, the space, the algorithm and the budget."],
  ["Submit it", "Workers train; poor trials stop early; everything is stored."],
  ["Watch and understand", "This page and the study's own follow live, and tell why."],
];

export function firstStudy(done) {
  const code = h("code");
  const about = h("p", { class: "quiet" });
  const choice = h("div", { hidden: true });
  const trouble = h("div", { class: "trouble" });
  let templates = [OWN],
    chosen = OWN;

  function choose(name) {
    chosen = templates.find((one) => one.name === name) || templates[0];
    code.textContent = chosen.yaml;
    about.textContent = chosen.description || "";
    about.hidden = chosen.yaml.startsWith("#"); // it says so itself
    replace(trouble);
  }

  async function submit() {
    send.disabled = true;
    replace(trouble);
    try {
      done(await post("/studies", chosen.yaml, { type: "application/yaml" }));
    } catch (error) {
      replace(trouble, problemBox(error));
    }
    send.disabled = false;
  }

  const send = button("Submit this study", submit, { kind: "primary" });
  choose(OWN.name);
  get("/templates")
    .then(({ items }) => {
      if (!items?.length) return;
      templates = items;
      choice.hidden = false;
      replace(
        choice,
        segmented(
          items.map((one) => ({ id: one.name, label: one.title || one.name })),
          items[0].name,
          choose,
          { label: "Template" },
        ),
      );
      choose(items[0].name);
    })
    .catch(() => {
      /* the server offers no templates: ours does */
    });
  return h(
    "div",
    { class: "first", dataset: { test: "empty" } },
    h(
      "div",
      { class: "first-words" },
      h("h2", null, "Your first study"),
      h(
        "p",
        { class: "quiet" },
        "A study searches for good hyperparameters: it chooses configurations, trains them, and stops the poor ones early.",
      ),
      h(
        "ol",
        { class: "steps" },
        STEPS.map(([title, text]) => h("li", null, h("strong", null, title), h("span", { class: "quiet" }, text))),
      ),
      h(
        "p",
        { class: "quiet small" },
        "From a terminal: ",
        h("code", null, "hpo submit study.yaml"),
        ". From Python: ",
        h("code", null, "hpo_service.Client().create_study(…)"),
        ".",
      ),
    ),
    h(
      "div",
      { class: "first-code card" },
      choice,
      about,
      h("pre", { tabindex: "0", "aria-label": "The definition" }, code),
      trouble,
      h(
        "div",
        { class: "row" },
        send,
        h("a", { class: "button quiet", href: "/new" }, "Write your own"),
        h("span", { class: "spacer" }),
        copyButton(() => chosen.yaml),
      ),
    ),
  );
}
