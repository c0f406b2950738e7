// The list of studies, live.

import { cell, dollars, element, gently, get, number, state, watch } from "./api.js";

const table = document.getElementById("studies");
const more = document.getElementById("more");
let shown = 50;

function progress(study) {
  const ended = study.counts.finished + study.counts.stopped + study.counts.failed;
  const of = study.definition?.budget?.trials;
  const text = of ? `${ended} of ${of}` : `${ended} of ${study.trials}`;
  const box = element("div");
  const bar = element("progress", "", { max: of || Math.max(study.trials, 1), "aria-label": `${text} trials ended` });
  bar.value = Math.min(ended, bar.max);
  box.append(bar, ` ${text}`);
  return box;
}

function row(study) {
  const made = element("tr");
  const name = element("th", "", { scope: "row" });
  name.append(element("a", study.name, { href: `/studies/${encodeURIComponent(study.id)}` }));
  const best = study.best ? `${number(study.best.value)} (trial ${study.best.trial})` : "–";
  made.append(name, cell(state(study.state)), cell(progress(study)), cell(best), cell(dollars(study.cost_microdollars)),
    cell(new Date(study.created_at).toLocaleString()));
  return made;
}

const draw = gently(async () => {
  const page = await get(`/studies?definition=1&limit=${Math.min(shown, 1000)}`);
  table.tBodies[0].replaceChildren(...page.items.map(row));
  table.hidden = page.items.length === 0;
  document.getElementById("empty").hidden = page.items.length > 0;
  more.hidden = !page.next_cursor || shown >= 1000;
});

more.onclick = () => { shown += 50; draw(); };
watch("/events", draw);
draw();
