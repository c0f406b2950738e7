// What can be done with the selected rows of the trial table: compare, tag, retry, stop, export. Shown only while something is selected.
//
// mountActions(page, {picked: {get(), set(numbers)}, rowOf(n), columns(), show(column), reload()}) → {node, draw()}
// exportMenu(page, {columns(), rows(), sort()}) → button

import { download, get, patch, post, query } from "../core/api.js";
import { h, replace } from "../core/dom.js";
import { save } from "../core/files.js";
import { plural } from "../core/format.js";
import { button, chip, confirmed, dialog, field, icon, menu, toast } from "../core/ui.js";
import { csv } from "./csv.js";

const MOST_COMPARED = 20;
const MOST_EXPORTED = 20000;
const PAGE = 1000;
const ENDED = ["finished", "stopped", "failed"];
const STOPPABLE = ["running", "waiting"];

export function mountActions(page, table) {
  const node = h("div", {
    class: "row-actions",
    role: "region",
    "aria-label": "Selected trials",
    hidden: true,
    dataset: { test: "row-actions" },
  });
  const numbers = () => table.picked.get();

  // Of rows on other pages nothing is known here: the server says what cannot be done with them.
  const fitting = (states) =>
    numbers().filter((n) => {
      const row = table.rowOf(n);
      return !row || states.includes(row.state);
    });

  function draw() {
    const chosen = numbers();
    const [again, stoppable] = [fitting(ENDED), fitting(STOPPABLE)];
    node.hidden = chosen.length === 0;
    if (node.hidden) return replace(node);
    const many = chosen.length > MOST_COMPARED;
    return replace(
      node,
      h("strong", { "aria-live": "polite" }, `${plural(chosen.length, "trial")} selected`),
      button("Compare", () => location.assign(compareUrl(page, chosen)), {
        kind: "primary",
        small: true,
        icon: "compare",
        disabled: many || chosen.length < 2,
        title: many ? `At most ${MOST_COMPARED} trials are compared at once` : chosen.length < 2 ? "Select two or more" : null,
      }),
      button("Show only these", () => page.selection.term("number", ":", chosen), { small: true }),
      page.mayEdit() && [
        button("Tag …", () => tagDialog(page, chosen, table), { small: true }),
        button("Retry", () => retry(page, again, table), {
          small: true,
          disabled: !again.length,
          title: again.length ? "Those that have ended, again as new trials with the same parameters" : "None of them has ended",
        }),
        button("Stop", () => stop(page, stoppable, table), {
          small: true,
          disabled: !stoppable.length,
          title: stoppable.length ? "Those that run end at their next report" : "None of them is running",
        }),
      ],
      button("CSV", () => exportPicked(page, chosen, table), {
        small: true,
        icon: "download",
        title: "These rows, with the columns that are shown",
      }),
      button("Clear", () => table.picked.set([]), { small: true }),
    );
  }

  draw();
  return { node, draw };
}

const compareUrl = (page, numbers) => `/compare${query({ trial: numbers.map((n) => `${page.id}/${n}`) })}`;

async function retry(page, numbers, table) {
  const words = numbers.length === 1 ? `trial ${numbers[0]}` : plural(numbers.length, "trial");
  if (
    !(await confirmed(`Try ${words} again? Each becomes a new trial with the same parameters; the old one stays as it is.`, {
      title: "Retry",
      yes: "Retry",
    }))
  )
    return;
  await acting(async () => {
    const { trials } = await post(`${page.path()}/retry`, { trials: numbers });
    toast(
      trials.length === 1 ? `Trial ${trials[0]} waits to be started.` : `Trials ${trials[0]} to ${trials.at(-1)} wait to be started.`,
      "good",
    );
    page.reload();
    table.reload();
  });
}

async function stop(page, numbers, table) {
  const words = numbers.length === 1 ? `trial ${numbers[0]}` : `these ${plural(numbers.length, "trial")}`;
  if (
    !(await confirmed(`Stop ${words}? A running trial ends at its next report and keeps its values; the study goes on without it.`, {
      title: "Stop",
      yes: "Stop",
      kind: "danger",
    }))
  )
    return;
  await acting(async () => {
    const answers = await Promise.allSettled(numbers.map((n) => post(`${page.path()}/trials/${n}/stop`, {})));
    const refused = answers.filter((one) => one.status === "rejected");
    const done = answers.length - refused.length;
    if (done) toast(done === 1 ? "One trial is being stopped." : `${done} trials are being stopped.`, "good");
    if (refused.length) toast(refused[0].reason.message + (refused.length > 1 ? ` (and ${refused.length - 1} more)` : ""), "warn");
    page.reload();
    table.reload();
  });
}

async function tagDialog(page, numbers, table) {
  const rows = await Promise.all(numbers.map((n) => table.rowOf(n) ?? get(`${page.path()}/trials/${n}`))).catch((error) => {
    toast(error.message, "bad");
    return null;
  });
  if (!rows) return;
  const counts = new Map();
  for (const row of rows) for (const tag of row.tags) counts.set(tag, (counts.get(tag) ?? 0) + 1);
  const dropped = new Set();
  const input = h("input", {
    type: "text",
    maxlength: "100",
    autocomplete: "off",
    autofocus: true,
    placeholder: "for example: good start",
  });
  const present = h("div", { class: "chips" });
  const draw = () =>
    replace(
      present,
      [...counts]
        .filter(([tag]) => !dropped.has(tag))
        .map(([tag, n]) =>
          chip(n < rows.length ? `${tag} (${n})` : tag, {
            remove: () => {
              dropped.add(tag);
              draw();
            },
          }),
        ),
    );
  draw();
  const body = h(
    "div",
    null,
    counts.size ? h("div", { class: "field" }, h("span", { class: "quiet" }, "Tags they have"), present) : null,
    field("Add a tag", input),
  );
  if (
    (await dialog({
      title: numbers.length === 1 ? `Tags of trial ${numbers[0]}` : `Tags of ${plural(numbers.length, "trial")}`,
      body,
      actions: [
        { id: "no", label: "Cancel" },
        { id: "yes", label: "Save", kind: "primary" },
      ],
    })) !== "yes"
  )
    return;
  const added = input.value.trim();
  await acting(async () => {
    for (const row of rows) {
      const kept = row.tags.filter((tag) => !dropped.has(tag));
      const tags = added && !kept.includes(added) ? [...kept, added] : kept;
      if (tags.join("\n") !== row.tags.join("\n")) await patch(`${page.path()}/trials/${row.number}`, { tags });
    }
    table.show("tags");
    table.reload();
  });
}

async function exportPicked(page, numbers, table) {
  await acting(async () => {
    const rows = await Promise.all(numbers.map((n) => table.rowOf(n) ?? get(`${page.path()}/trials/${n}`)));
    save(csv(rows, table.columns()), `${page.id}-selected.csv`, "text/csv");
  });
}

export function exportMenu(page, table) {
  const made = h("button", { type: "button", class: "button quiet small" }, icon("download"), "Export");
  const whole = (format) => acting(() => download(`${page.path()}/export${query({ format })}`, `${page.id}.${format}`));
  return menu(made, () => [
    {
      label: "These rows as CSV",
      hint: "columns as shown",
      run: () => save(csv(table.rows(), table.columns()), `${page.id}-page.csv`, "text/csv"),
    },
    page.filter
      ? {
          label: "All that match, as CSV",
          hint: `at most ${MOST_EXPORTED.toLocaleString("en-GB")}`,
          run: () => acting(() => exportMatching(page, table)),
        }
      : null,
    { label: "The whole study as CSV", run: () => whole("csv") },
    { label: "The whole study as JSON", run: () => whole("json") },
    { label: "The whole study as Parquet", run: () => whole("parquet") },
  ]);
}

async function exportMatching(page, table) {
  const rows = [];
  let cursor = null;
  do {
    const answer = await page.get("/trials", { sort: table.sort(), stats: table.stats(), limit: PAGE, cursor });
    rows.push(...answer.items);
    cursor = answer.next_cursor;
  } while (cursor && rows.length < MOST_EXPORTED);
  save(csv(rows, table.columns()), `${page.id}-matching.csv`, "text/csv");
  if (cursor) toast(`The first ${rows.length.toLocaleString("en-GB")} were saved; export the whole study for all.`, "warn");
}

async function acting(work) {
  try {
    await work();
  } catch (error) {
    toast(error.remedy ? `${error.message}; ${error.remedy}` : error.message, "bad");
  }
}
