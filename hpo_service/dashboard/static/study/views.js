// Which panels each view of a study holds, and in which order. Data only; panels.js mounts them.
// plots: draws with Plotly, which is then loaded at once · unfiltered: the filter means nothing there

const chart = (id, title, options = {}) => ({ kind: "chart", id, title, ...options });
const part = (id, title, options = {}) => ({ kind: "part", id, title, wide: true, ...options });

export const VIEWS = [
  {
    id: "overview",
    label: "Overview",
    plots: true,
    holds: (page) => [
      ...(page.definition().confirms ? [part("confirmation", "Is the winner real?")] : []),
      chart("progress", "Best so far"),
      chart("curves", "Learning curves"),
      chart("parallel", "Parallel coordinates", { wide: true }),
      part("table", "Trials", { options: { compact: true } }),
    ],
  },
  { id: "brackets", label: "Brackets", holds: () => [chart("brackets", "Brackets and rungs", { wide: true })] },
  {
    id: "parameters",
    label: "Parameters",
    plots: true,
    holds: (page) => [
      chart("importance", "Importance"),
      chart("distribution", "Distribution of values"),
      chart("slices", "Slices", { wide: true }),
      chart("contour", "Two parameters"),
      chart("sensitivity", "Around the baseline"),
      ...(page.objectives.length > 1 ? [chart("pareto", "Pareto front", { wide: true })] : []),
    ],
  },
  { id: "model", label: "Model", plots: true, holds: () => [chart("surrogate", "What the sampler believes", { wide: true })] },
  { id: "timeline", label: "Timeline", holds: () => [chart("timeline", "Attempts by worker", { wide: true })] },
  { id: "trials", label: "Trials", holds: () => [part("table", "Trials")] },
  {
    id: "about",
    label: "About",
    unfiltered: true,
    holds: (page) => [
      part("notes", "Notes and tags", { wide: false }),
      part("definition", "Definition", { wide: false }),
      part("methods", "How trials are trained"),
      part("events", "Event log"),
      ...(page.study().external ? [] : [part("logsearch", "Logs")]), // external workers keep their output themselves
    ],
  },
];

// Brackets are for algorithms with rungs, the model for those that fit one; an address may name them all the same.
export const offered = (page, current) =>
  VIEWS.filter(({ id }) => id === current || ((id !== "brackets" || page.hasRungs) && (id !== "model" || page.hasModel)));
