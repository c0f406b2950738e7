// The page of workers: asks for the cluster whenever something moved, and every few seconds while somebody looks.

import { get } from "../core/api.js";
import { byId, h, replace } from "../core/dom.js";
import { integer, percent, plural } from "../core/format.js";
import { watch } from "../core/live.js";
import { problemBox, skeleton } from "../core/ui.js";
import { failures } from "../workers/failures.js";
import { running } from "../workers/running.js";
import { shares } from "../workers/shares.js";

const LEAST_MS = 1500,
  OFTEN_MS = 5000;
const parts = [running(), shares(), failures()];
const figures = h("dl", { class: "figures" });
const trouble = h("div");
const whole = h("div", { class: "cluster" }, parts[0].node, h("div", { class: "stack" }, parts[1].node, parts[2].node));
let busy = false,
  wanted = false,
  drawn = false;

function draw(cluster) {
  const busyWorkers = cluster.workers.filter((one) => one.running?.length).length;
  const used = cluster.workers.map((one) => one.utilisation).filter(Number.isFinite);
  const gpus = cluster.nodes.reduce((n, one) => n + (one.gpus?.length || one.gpu || 0), 0);
  const cpus = cluster.nodes.reduce((n, one) => n + (one.cpu || 0), 0);
  replace(
    figures,
    figure("Nodes", integer(cluster.nodes.length), gpus ? plural(gpus, "GPU") : cpus ? `${integer(cpus)} CPU` : ""),
    figure("Busy workers", `${integer(busyWorkers)} of ${integer(cluster.workers.length)}`, ""),
    figure("Utilisation", used.length ? percent(used.reduce((a, b) => a + b, 0) / used.length, 0) : "–", ""),
    figure("Trials running", integer(cluster.studies.reduce((n, one) => n + one.open, 0)), ""),
    figure("Trials waiting", integer(cluster.studies.reduce((n, one) => n + (one.waiting || 0), 0)), ""),
  );
  for (const part of parts) part.update(cluster);
}

const figure = (label, number, sub) =>
  h("div", { class: "figure" }, h("dt", null, label), h("dd", null, number, sub && h("span", { class: "sub" }, ` ${sub}`)));

async function refresh() {
  wanted = true;
  if (busy) return;
  busy = true;
  while (wanted) {
    wanted = false;
    try {
      const cluster = await get("/cluster");
      if (!drawn) replace(byId("place"), whole);
      drawn = true;
      replace(trouble);
      draw(cluster);
    } catch (error) {
      if (!drawn) replace(byId("place"));
      if (error.status !== 0 || !drawn) replace(trouble, problemBox(error, refresh));
    }
    await new Promise((done) => setTimeout(done, document.hidden ? 4 * LEAST_MS : LEAST_MS));
  }
  busy = false;
}

replace(
  byId("mount"),
  h("div", { class: "page-head" }, h("h1", null, "Workers"), figures),
  trouble,
  h("div", { id: "place" }, h("div", { class: "card" }, skeleton(6))),
);
watch({ study: null, on: () => refresh() });
setInterval(() => {
  if (!document.hidden) refresh();
}, OFTEN_MS);
refresh();
