// What runs where: nodes, their workers, and the trials on them.
//
// running() → {node, update(cluster)}

import { h, keyed, replace } from "../core/dom.js";
import { bytes, duration, integer, percent, plural, seconds } from "../core/format.js";
import { badge, panel, progress } from "../core/ui.js";

const COLUMNS = [
  ["Worker", ""],
  ["State", ""],
  ["Runs", ""],
  ["Utilisation", ""],
  ["For", "num"],
];

export function running() {
  const frame = panel({
    id: "workers",
    title: "What runs where",
    help: "A worker is a warm process that trains; several trials may train together on one. Utilisation is the share of the last minutes in which it trained.",
  });
  const body = h("tbody");
  const table = h(
    "div",
    { class: "table-box" },
    h(
      "table",
      { class: "workers tight", "aria-label": "Workers", dataset: { test: "workers-table" } },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          COLUMNS.map(([label, kind]) => h("th", { scope: "col", class: kind || null }, label)),
        ),
      ),
      body,
    ),
  );
  return {
    node: frame.node,
    update(cluster) {
      frame.ready();
      if (!cluster.workers.length) {
        frame.empty(nobody(cluster));
        return;
      }
      if (table.parentNode !== frame.body) replace(frame.body, table);
      keyed(body, rows(cluster), {
        key: (one) => one.key,
        mark: (one) => one.mark,
        make: (one) => (one.worker ? workerRow(one.worker) : nodeRow(one.node)),
      });
      for (const node of body.querySelectorAll("[data-at]")) node.firstChild.data = lasting(Number(node.dataset.at));
      frame.note("");
    },
  };
}

function nobody(cluster) {
  const waiting = cluster.studies.reduce((n, one) => n + (one.waiting || 0), 0);
  return h(
    "div",
    { class: "empty" },
    h("p", { class: "empty-title" }, "No worker is up"),
    h(
      "p",
      { class: "quiet" },
      waiting
        ? `${plural(waiting, "trial")} ${waiting === 1 ? "waits" : "wait"} for one. Workers come when the controller reaches Ray: hpo doctor says what is missing.`
        : "Workers come when a study needs them and leave when they were idle for a while. Studies with external workers are trained elsewhere and need none.",
    ),
  );
}

function rows(cluster) {
  const nodes = new Map(cluster.nodes.map((node) => [node.node, node]));
  for (const worker of cluster.workers) if (!nodes.has(worker.node)) nodes.set(worker.node, { node: worker.node, gpus: [] });
  return [...nodes.values()].flatMap((node) => {
    const workers = cluster.workers
      .filter((one) => one.node === node.node)
      .sort((a, b) => a.id.localeCompare(b.id, "en", { numeric: true }));
    return [
      {
        key: `node ${node.node}`,
        mark: JSON.stringify(node),
        node: { busy: workers.filter((one) => one.running?.length).length, workers: workers.length, ...node },
      },
      ...workers.map((worker) => ({
        key: `worker ${worker.id}`,
        mark: JSON.stringify({ ...worker, detail: 0, utilisation: Math.round(100 * (worker.utilisation ?? 0)) }),
        worker,
      })),
    ];
  });
}

const lasting = (at) => duration(Math.max(0, Math.round(Date.now() / 1000 - at)));

function nodeRow(node) {
  const alike = new Map();
  for (const one of node.gpus || []) alike.set(gpu(one), (alike.get(gpu(one)) || 0) + 1);
  const gpus = alike.size
    ? [...alike].map(([name, n]) => (n > 1 ? `${n} × ${name}` : name))
    : [node.gpu ? plural(node.gpu, "GPU") : "no GPU"];
  const facts = [
    `${integer(node.busy)} of ${plural(node.workers, "worker")} busy`,
    node.cpu ? `${integer(node.cpu)} CPU` : null,
    ...gpus,
  ].filter(Boolean);
  return h(
    "tr",
    { class: "node" },
    h(
      "th",
      { scope: "rowgroup", colspan: String(COLUMNS.length) },
      h("div", { class: "node-line" }, h("bdi", { class: "mono" }, node.node), h("span", { class: "quiet small" }, facts.join(" · "))),
    ),
  );
}

function gpu(one) {
  const memory = one.memory_bytes || one.gpu_memory_bytes;
  return [one.name || one.device || "GPU", memory ? bytes(memory) : null].filter(Boolean).join(" ");
}

function workerRow(worker) {
  const trials = worker.running || [];
  return h(
    "tr",
    null,
    h(
      "th",
      { scope: "row" },
      h("bdi", { class: "mono clip", title: worker.id }, worker.id.replace(/^worker-/, "")),
      worker.device ? h("span", { class: "quiet small" }, ` ${worker.device}`) : null,
    ),
    h("td", null, badge(worker.state)),
    h("td", null, trials.length ? h("ul", { class: "runs" }, runs(trials)) : h("span", { class: "quiet" }, "nothing")),
    h(
      "td",
      { class: "use" },
      Number.isFinite(worker.utilisation)
        ? h(
            "div",
            { class: "meter" },
            progress({ value: worker.utilisation, max: 1, label: `${percent(worker.utilisation, 0)} of the time training` }),
            h("span", { class: "small" }, percent(worker.utilisation, 0)),
          )
        : "–",
    ),
    h("td", { class: "num quiet small", title: `${worker.state} since` }, since(worker.seen_at)),
  );
}

const since = (at) => h("span", { dataset: { at: String(seconds(at)) } }, lasting(seconds(at)));

// Of trials that train together the first few are named: a launch may have hundreds of lanes.
const NAMED = 4;

function runs(trials) {
  const shown = trials.length > NAMED + 1 ? trials.slice(0, NAMED) : trials;
  const more = trials.length - shown.length;
  return [...shown.map(run), more ? h("li", { class: "quiet small" }, `and ${integer(more)} more in the same launch or behind it`) : null];
}

function run({ study, study_name: name, trial, since: from }) {
  return h(
    "li",
    null,
    h(
      "a",
      { href: `/studies/${encodeURIComponent(study)}/trials/${trial}` },
      h("bdi", { class: "clip", title: name }, name || study),
      h("span", null, ` #${trial}`),
    ),
    from ? h("span", { class: "quiet small" }, since(from)) : null,
  );
}
