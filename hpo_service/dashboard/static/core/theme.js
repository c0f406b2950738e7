// Light and dark: follows the system until the reader chooses; the choice is kept in this browser.
//
// mode() → "light" | "dark" as shown now · choose("light"|"dark"|"system") · toggle() · onTheme(fn) → off
// colours() → {ink, quiet, line, paper, panel, accent, good, bad, warn, categories: […8 Okabe–Ito], scale: [[0, "#.."], …] viridis}

const KEY = "hpo-theme";
const heard = new Set();
const system = matchMedia("(prefers-color-scheme: dark)");
let known = null;

const chosen = () => localStorage.getItem(KEY) || "system";
export const mode = () => (chosen() === "system" ? (system.matches ? "dark" : "light") : chosen());

export function choose(which) {
  if (which === "system") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, which);
  apply();
}

export const toggle = () => choose(mode() === "dark" ? "light" : "dark");

export function onTheme(fn) {
  heard.add(fn);
  return () => heard.delete(fn);
}

const SCALE = ["#440154", "#482878", "#3e4a89", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6dcd59", "#b4de2c", "#fde725"];
const LIGHT = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58300", "#3a9bd0", "#7a6a00", "#4d4d4d"];
const DARK = ["#56b4e9", "#e8833a", "#2fc49a", "#e0a0c4", "#e6b422", "#8ac9f0", "#f0e442", "#c4c4c4"];

export function colours() {
  if (known) return known;
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(`--${name}`).trim();
  known = {
    ink: of("ink"),
    quiet: of("quiet"),
    line: of("line"),
    paper: of("paper"),
    panel: of("panel"),
    accent: of("accent"),
    good: of("good"),
    bad: of("bad"),
    warn: of("warn"),
    categories: mode() === "dark" ? DARK : LIGHT,
    scale: SCALE.map((colour, i) => [i / (SCALE.length - 1), colour]),
  };
  return known;
}

function apply() {
  if (chosen() === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen();
  known = null;
  for (const fn of [...heard]) fn(mode());
}

system.addEventListener("change", () => {
  if (chosen() === "system") apply();
});
addEventListener("storage", (event) => {
  if (event.key === KEY) apply();
});
