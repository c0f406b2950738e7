// The colours of states as Plotly needs them: figures, not CSS variables. Asked for at each drawing, so that they follow the theme.

const LIKE = { promoted: "finished", preflight: "running" };

export const markColour = (state) =>
  getComputedStyle(document.documentElement)
    .getPropertyValue(`--mark-${LIKE[state] ?? state}`)
    .trim() || "#888";
