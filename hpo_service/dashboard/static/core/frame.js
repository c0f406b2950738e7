// What stands around every page: theme button, sign-in, keyboard help. Loaded by base.html.
//
// missing({what, id, text}) → shows "there is no such study" in place of the page (for a 404 from the API)

import { signIn } from "./api.js";
import { byId, h, replace } from "./dom.js";
import { showKeys } from "./keys.js";
import { choose, mode, onTheme } from "./theme.js";
import { icon } from "./ui.js";

export function missing({ what = "study", id = "", text = "" } = {}) {
  document.title = "Not found · hpo-service";
  replace(byId("main"), h("div", { class: "empty big", dataset: { test: "missing" } }, h("p", { class: "empty-code", "aria-hidden": "true" }, "404"),
    h("h1", null, `There is no such ${what}`),
    h("p", { class: "quiet" }, text || "It was deleted, or its id is written differently. ", id && h("code", { class: "wrap" }, h("bdi", null, id))),
    h("div", { class: "row center" }, h("a", { class: "button primary", href: "/" }, "All studies"), h("a", { class: "button quiet", href: "/new" }, "New study"))));
}

function drawTheme() {
  const other = mode() === "dark" ? "light" : "dark";
  const button = byId("theme");
  replace(button, icon(other === "dark" ? "moon" : "sun"));
  button.setAttribute("aria-label", `Switch to ${other}`);
  button.title = `Switch to ${other}`;
  button.onclick = () => choose(other);
}

function askForToken() {
  const form = byId("sign-in");
  if (!form.hidden) return;
  form.hidden = false;
  form.onsubmit = (event) => {
    event.preventDefault();
    signIn(byId("token").value);
    location.reload();
  };
  byId("token").focus();
}

addEventListener("hpo:sign-in", askForToken);
byId("keys").onclick = () => showKeys();
onTheme(drawTheme);
drawTheme();
