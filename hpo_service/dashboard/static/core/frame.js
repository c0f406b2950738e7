// What stands around every page: live status, theme button, sign-in and out, keyboard help. Loaded by base.html.
//
// missing({what, id, text}) → shows "there is no such study" in place of the page (for a 404 from the API)

import { signedIn, signIn, signOut } from "./api.js";
import { byId, h, replace } from "./dom.js";
import { showKeys } from "./keys.js";
import { watch } from "./live.js";
import { choose, mode, onTheme } from "./theme.js";
import { icon, menu } from "./ui.js";

export function missing({ what = "study", id = "", text = "" } = {}) {
  document.title = "Not found · hpo-service";
  replace(
    byId("main"),
    h(
      "div",
      { class: "empty big", dataset: { test: "missing" } },
      h("p", { class: "empty-code", "aria-hidden": "true" }, "404"),
      h("h1", null, `There is no such ${what}`),
      h(
        "p",
        { class: "quiet" },
        text || "It was deleted, or its id is written differently. ",
        id && h("code", { class: "wrap" }, h("bdi", null, id)),
      ),
      h(
        "div",
        { class: "row center" },
        h("a", { class: "button primary", href: "/" }, "All studies"),
        h("a", { class: "button quiet", href: "/new" }, "New study"),
      ),
    ),
  );
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
  byId("main").hidden = true; // all that it could say is that a token is missing
  byId("sign-in-wrong").hidden = !signedIn();
  form.onsubmit = (event) => {
    event.preventDefault();
    signIn(byId("token").value);
    location.reload();
  };
  byId("token").focus();
}

addEventListener("hpo:sign-in", askForToken);
const key = byId("key");
key.hidden = !signedIn();
replace(key, icon("key"));
menu(key, [
  {
    label: "Sign out",
    run: () => {
      signOut();
      location.reload();
    },
  },
]);
byId("keys").onclick = () => showKeys();
onTheme(drawTheme);
drawTheme();
watch({ study: null, on() {} }); // every page says whether it is live, also one that shows nothing that moves
