// A trial's parameters as YAML, Python or a command, for the clipboard.
//
// copies(page) → items of a menu · yaml(params) · python(params)

import { copy } from "../core/files.js";
import { toast } from "../core/ui.js";
import { document as asYaml, number, scalar } from "../study/yaml.js";

export const yaml = (params) => asYaml(params).trimEnd();

const pythonValue = (one) => {
  if (one === null) return "None";
  if (one === true) return "True";
  if (one === false) return "False";
  if (typeof one === "number") return number(one);
  return Array.isArray(one) ? `[${one.map(pythonValue).join(", ")}]` : JSON.stringify(one);
};
export const python = (params) =>
  `params = {\n${Object.entries(params)
    .map(([name, one]) => `    ${JSON.stringify(name)}: ${pythonValue(one)},`)
    .join("\n")}\n}`;

const shell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
const command = (study, params) =>
  `hpo enqueue ${shell(study)} ${Object.entries(params)
    .map(([name, one]) => shell(`${name}=${scalar(one)}`))
    .join(" ")}`;

export function copies(page) {
  const { params } = page.trial();
  const sdk = `study = hpo.Client(${JSON.stringify(location.origin)}).study(${JSON.stringify(page.studyId)})\ntrial = study.trial(${page.number})`;
  const item = (label, hint, text) => ({ label, hint, run: () => offer(text) });
  return [
    item("Parameters as YAML", "", yaml(params)),
    item("Parameters as Python", "", python(params)),
    item("Parameters as JSON", "", JSON.stringify(params, null, 2)),
    item("Command that tries them again", "hpo enqueue", command(page.studyId, params)),
    item("Command for its log", "hpo logs", `hpo logs ${page.studyId}/${page.number}`),
    item("Python that opens it", "SDK", sdk),
  ];
}

async function offer(text) {
  const worked = await copy(text);
  toast(worked ? "Copied." : "The browser did not allow copying.", worked ? "good" : "warn");
}
