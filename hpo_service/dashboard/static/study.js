// One study: what it is, its best trial, its trials, live.

import { cell, dollars, element, gently, get, number, parameters, state, watch } from "./api.js";

const id = encodeURIComponent(document.body.dataset.study);
const body = document.getElementById("trials").tBodies[0];
const more = document.getElementById("more");
let sort = "number";
let shown = 50;

function drawStudy(study) {
  document.title = `${study.name} · hpo-service`;
  document.getElementById("name").textContent = study.name;
  const counts = Object.entries(study.counts).filter(([, n]) => n).map(([name, n]) => `${n} ${name}`).join(", ");
  document.getElementById("summary").replaceChildren(
    state(study.state), ` ${study.ending_reason || study.reason} · ${counts || "no trials yet"} · ${number(study.resource)} resource · ${dollars(study.cost_microdollars)}`);
  document.getElementById("no-best").hidden = Boolean(study.best);
  const best = study.best ? { trial: study.best.trial, value: study.best.value, resource: study.best.resource, ...study.best.params } : {};
  document.getElementById("best").replaceChildren(
    ...Object.entries(best).flatMap(([name, value]) => [element("dt", name), element("dd", String(number(value)))]));
}

function row(trial) {
  const made = element("tr");
  made.append(element("th", String(trial.number), { scope: "row" }), cell(state(trial.state)), cell(String(number(trial.value))),
    cell(String(number(trial.resource))), cell(parameters(trial.params), { class: "wide" }), cell(trial.reason, { class: "wide" }));
  return made;
}

const draw = gently(async () => {
  const [study, page] = await Promise.all([
    get(`/studies/${id}`), get(`/studies/${id}/trials?sort=${encodeURIComponent(sort)}&limit=${Math.min(shown, 1000)}`)]);
  drawStudy(study);
  body.replaceChildren(...page.items.map(row));
  document.getElementById("shown").textContent = `Showing ${page.items.length} of ${study.trials}`;
  more.hidden = !page.next_cursor || shown >= 1000;
});

for (const head of document.querySelectorAll("th[data-sort]")) {
  head.querySelector("button").onclick = () => {
    const name = head.dataset.sort;
    sort = sort === name ? `-${name}` : name;
    for (const other of document.querySelectorAll("th[data-sort]")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sort === name ? "ascending" : "descending");
    draw();
  };
}
more.onclick = () => { shown += 50; draw(); };
watch(`/studies/${id}/events`, draw);
draw();
