// Runs before the first paint, as a classic script: a reader who chose dark must not see a white flash.
try {
  const theme = localStorage.getItem("hpo-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  /* storage is closed to us: the system's theme holds */
}
