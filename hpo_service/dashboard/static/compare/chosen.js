// What is compared: studies or trials, as the address says: ?study=A&study=B or ?trial=ID/3&trial=ID/9.
//
// chosen() → {kind: "studies"|"trials"|"nothing", ids: […]} · choose(kind, ids) changes the address and tells on(fn)
// swatch(i) → svg · colourOf(i) · dashOf(i): eight colours, then the same dashed, then dotted

import { svg } from "../core/dom.js";
import { colours } from "../core/theme.js";

export const MOST = 20;
const NAMES = { studies: "study", trials: "trial" };
const DASHES = ["solid", "dash", "dot"];
const heard = new Set();

export function chosen() {
  const search = new URLSearchParams(location.search);
  const trials = [...new Set(search.getAll("trial"))].filter((one) => /^[\w-]{1,64}\/\d{1,9}$/.test(one));
  const studies = [...new Set(search.getAll("study"))].filter(Boolean);
  if (trials.length) return { kind: "trials", ids: trials.slice(0, MOST), left: Math.max(0, trials.length - MOST) };
  return { kind: studies.length ? "studies" : "nothing", ids: studies.slice(0, MOST), left: Math.max(0, studies.length - MOST) };
}

export function choose(kind, ids) {
  const search = new URLSearchParams(location.search);
  search.delete("study");
  search.delete("trial");
  for (const id of ids) search.append(NAMES[kind], id);
  history.pushState(null, "", `${location.pathname}${search.size ? `?${String(search).replaceAll("%2F", "/")}` : ""}`);
  tell();
}

export const on = (fn) => heard.add(fn);
const tell = () => {
  for (const fn of heard) fn();
};
addEventListener("popstate", tell);

export const colourOf = (i) => colours().categories[i % 8];
export const dashOf = (i) => DASHES[Math.floor(i / 8) % 3];

export function swatch(i) {
  const dash = { solid: null, dash: "5 3", dot: "1.5 3" }[dashOf(i)];
  return svg(
    "svg",
    { class: "swatch", viewBox: "0 0 22 10", "aria-hidden": "true", focusable: "false" },
    svg("line", { x1: 1, x2: 21, y1: 5, y2: 5, stroke: colourOf(i), "stroke-dasharray": dash }),
  );
}
