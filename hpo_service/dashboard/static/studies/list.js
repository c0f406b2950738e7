// Which studies the list shows, in which order, in which groups. Pure: no page, no server.
//
// visible(studies, {q, state, tag, owner}) · sorted(studies, sort) · grouped(studies, on) → [{tag|null, studies}] · SORTS: [{id, label}]
// share(study) → how much of its nearest budget is used, 0..1, or null · nearest(study) → that row of its budget, or null
// counts(studies, of) → Map(value → how many), most first

export const SORTS = [
  { id: "-created", label: "newest first" },
  { id: "created", label: "oldest first" },
  { id: "name", label: "name" },
  { id: "state", label: "state" },
  { id: "-progress", label: "progress" },
  { id: "-trials", label: "trials" },
  { id: "best", label: "best value" },
  { id: "-cost", label: "cost" },
];
const STATES = ["running", "preflight", "paused", "failed", "stopped", "finished"];
const words = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

export function visible(studies, { q = "", state = "", tag = "", owner = "" }) {
  const wanted = q.toLowerCase().split(/\s+/).filter(Boolean);
  return studies.filter(
    (one) =>
      (!state || one.state === state) &&
      (!owner || one.created_by === owner) &&
      (!tag || one.tags.includes(tag)) &&
      wanted.every((word) => text(one).includes(word)),
  );
}

const known = new WeakMap();

function text(study) {
  if (!known.has(study))
    known.set(
      study,
      [study.name, study.id, study.project, study.created_by, study.metric, study.notes, ...study.tags].join("\n").toLowerCase(),
    );
  return known.get(study);
}

export function nearest(study) {
  const rows = (study.budget || []).filter((row) => row.limit > 0 && row.used !== null && row.used !== undefined && row.name !== "target");
  return rows.reduce((most, row) => (!most || row.used / row.limit > most.used / most.limit ? row : most), null);
}

export function share(study) {
  const row = nearest(study);
  return row ? Math.min(1, row.used / row.limit) : null;
}

const KEYS = {
  created: (one) => Date.parse(one.created_at),
  name: null,
  state: (one) => STATES.indexOf(one.state),
  progress: (one) => share(one) ?? -1,
  trials: (one) => one.trials,
  cost: (one) => one.cost_microdollars,
  best: null,
};

export function sorted(studies, sort) {
  const down = sort.startsWith("-");
  const name = down ? sort.slice(1) : sort;
  const newer = (a, b) => (a.created_at < b.created_at ? 1 : a.created_at > b.created_at ? -1 : 0);
  const by =
    { name: (a, b) => words.compare(a.name, b.name), best }[name] ||
    ((a, b) => KEYS[name in KEYS ? name : "created"](a) - KEYS[name in KEYS ? name : "created"](b));
  return [...studies].sort((a, b) => (down ? by(b, a) : by(a, b)) || newer(a, b));
}

// Values compare within one metric only; the better one comes first whichever way the metric goes.
function best(a, b) {
  const known = Number(b.best?.value != null) - Number(a.best?.value != null);
  if (known || a.best?.value == null) return known;
  return (
    words.compare(a.metric || "", b.metric || "") ||
    (a.direction === "maximize" ? b.best.value - a.best.value : a.best.value - b.best.value)
  );
}

export function grouped(studies, on) {
  if (!on) return [{ tag: null, studies }];
  const groups = new Map();
  for (const one of studies) for (const tag of one.tags.length ? one.tags : [""]) groups.set(tag, [...(groups.get(tag) || []), one]);
  return [...groups].sort(([a], [b]) => Number(!a) - Number(!b) || words.compare(a, b)).map(([tag, those]) => ({ tag, studies: those }));
}

export function counts(studies, of) {
  const found = new Map();
  for (const one of studies) for (const value of [of(one)].flat()) found.set(value, (found.get(value) || 0) + 1);
  return new Map([...found].sort((a, b) => b[1] - a[1]));
}
