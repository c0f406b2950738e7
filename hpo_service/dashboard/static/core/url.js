// The page's state in the URL, so that a link shows a colleague the same thing.
//
// param(name, fallback) → {get(), set(value, {push}?), on(fn) → off}
//     the fallback's type is the value's: string, number, boolean ("1"/"0") or array of strings (joined by commas).
//     What equals the fallback is left out of the URL. push: true makes an entry in the history (back undoes it).
//     fn(value) is called whenever the value changes, by set or by back/forward; not when it stays the same.

const params = new Map(); // name → {fallback, last, heard}

export function param(name, fallback = "") {
  if (!params.has(name)) params.set(name, { fallback, last: "", heard: new Set() });
  const known = params.get(name);
  known.last = write(read(name, fallback));
  return {
    get: () => read(name, fallback),
    set(value, { push = false } = {}) {
      const text = write(value ?? fallback);
      const search = new URLSearchParams(location.search);
      if (text === write(fallback)) search.delete(name);
      else search.set(name, text);
      const address = location.pathname + (search.size ? `?${search}` : "") + location.hash;
      if (address !== location.pathname + location.search + location.hash) history[push ? "pushState" : "replaceState"](null, "", address);
      tell();
    },
    on(fn) {
      known.heard.add(fn);
      return () => known.heard.delete(fn);
    },
  };
}

function tell() {
  for (const [name, known] of params) {
    const now = write(read(name, known.fallback));
    if (now === known.last) continue;
    known.last = now;
    for (const fn of [...known.heard]) fn(read(name, known.fallback));
  }
}

function read(name, fallback) {
  const text = new URLSearchParams(location.search).get(name);
  if (text === null) return Array.isArray(fallback) ? [...fallback] : fallback;
  if (Array.isArray(fallback)) return text === "" ? [] : text.split(",").map((one) => one.replaceAll("%2C", ",").replaceAll("%25", "%"));
  if (typeof fallback === "boolean") return text === "1" || text === "true";
  if (typeof fallback === "number") return Number.isFinite(Number(text)) && text !== "" ? Number(text) : fallback;
  return text;
}

function write(value) {
  if (Array.isArray(value)) return value.map((one) => String(one).replaceAll("%", "%25").replaceAll(",", "%2C")).join(",");
  if (typeof value === "boolean") return value ? "1" : "0";
  return String(value);
}

addEventListener("popstate", tell);
