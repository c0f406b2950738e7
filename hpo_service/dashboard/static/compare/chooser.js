// Dialogs to add what is compared: studies from a list, trials by number.
//
// chooseStudies(ids) → Promise of the new ids | null · addTrial(ids) → Promise of the new ids | null

import { get, query } from "../core/api.js";
import { h, later, replace } from "../core/dom.js";
import { ago, metric } from "../core/format.js";
import { badge, dialog, field, problemBox, skeleton } from "../core/ui.js";
import { MOST } from "./chosen.js";

export async function chooseStudies(ids) {
  const picked = new Set(ids);
  const list = h("div", { class: "choose-list", role: "group", "aria-label": "Studies" }, skeleton(4));
  const search = h("input", { type: "search", placeholder: "Name, tag or notes", maxlength: "200", autofocus: true });
  const count = h("p", { class: "quiet small", role: "status" });
  const say = () => {
    count.textContent = `${picked.size} of at most ${MOST} chosen`;
  };
  let asked = 0; // of two searches the later one is shown
  const load = async () => {
    const mine = ++asked;
    try {
      const { items } = await get(`/studies${query({ search: search.value.trim(), limit: 100 })}`);
      if (mine === asked)
        replace(list, items.length ? items.map((one) => row(one, picked, say)) : h("p", { class: "quiet" }, "No study matches."));
    } catch (error) {
      if (mine === asked) replace(list, problemBox(error, load));
    }
  };
  search.addEventListener("input", later(200, load));
  say();
  load();
  const answer = await dialog({
    title: "Studies to compare",
    body: h("div", { class: "stack" }, field("Search", search), list, count),
    wide: true,
    actions: [
      { id: "cancel", label: "Cancel" },
      { id: "ok", label: "Compare", kind: "primary", check: () => picked.size > 0 },
    ],
  });
  return answer === "ok" ? [...picked] : null;
}

function row(study, picked, say) {
  const box = h("input", {
    type: "checkbox",
    checked: picked.has(study.id),
    on: {
      change: () => {
        if (box.checked && picked.size >= MOST) {
          box.checked = false;
          return;
        }
        if (box.checked) picked.add(study.id);
        else picked.delete(study.id);
        say();
      },
    },
  });
  return h(
    "label",
    { class: "choose-row" },
    box,
    h("bdi", { class: "choose-name clip" }, study.name),
    badge(study.state),
    h("span", { class: "quiet small num" }, study.best ? metric(study.metric, study.best.value) : "–"),
    h("span", { class: "quiet small choose-age" }, ago(study.created_at)),
  );
}

export async function addTrial(ids) {
  const last = ids.at(-1)?.split("/")[0] || "";
  const studies = await get("/studies?limit=100").then(
    (found) => found.items,
    () => [],
  );
  const study = h(
    "select",
    { class: "wide", value: last || studies[0]?.id || "" },
    studies.map((one) => h("option", { value: one.id }, one.name.slice(0, 80))),
  );
  const number = h("input", { type: "number", min: "0", step: "1", required: true, inputmode: "numeric" });
  const valid = () => study.value && /^\d{1,9}$/.test(number.value);
  const answer = await dialog({
    title: "Add a trial",
    body: h("div", { class: "stack" }, field("Study", study), field("Number of the trial", number)),
    actions: [
      { id: "cancel", label: "Cancel" },
      { id: "ok", label: "Add", kind: "primary", check: () => Boolean(valid()) },
    ],
  });
  return answer === "ok" ? [...new Set([...ids, `${study.value}/${Number(number.value)}`])].slice(0, MOST) : null;
}
