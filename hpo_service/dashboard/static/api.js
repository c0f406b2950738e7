// The public REST API as the pages use it: requests, live notices, the token form. Draws nothing of its own.

const KEY = "hpo-token";
const token = () => sessionStorage.getItem(KEY) || "";

export function headers(more = {}) {
  return token() ? { ...more, Authorization: `Bearer ${token()}` } : more;
}

export async function get(path) {
  const answer = await fetch(`/api/v1${path}`, { headers: headers({ Accept: "application/json" }) });
  const body = await answer.json().catch(() => ({}));
  if (answer.status === 401) askForToken();
  if (!answer.ok) throw new Error(body.detail || `the server answered ${answer.status}`);
  say("");
  return body;
}

export function say(text) {
  const problem = document.getElementById("problem");
  problem.textContent = text;
  problem.hidden = !text;
}

function askForToken() {
  const form = document.getElementById("sign-in");
  form.hidden = false;
  form.onsubmit = (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, document.getElementById("token").value.trim());
    location.reload();
  };
}

// Calls `heard(notice)` for each notice, and with null whenever it is connected; connects again, from where it was, for as long as the page is open.
export async function watch(path, heard) {
  const live = document.getElementById("live");
  let last = null;
  for (let pause = 500; ; pause = Math.min(pause * 2, 15000)) {
    try {
      const answer = await fetch(`/api/v1${path}`, { headers: headers(last ? { "Last-Event-ID": last } : {}) });
      if (answer.status === 401 || answer.status === 404) { live.textContent = "not connected"; return; }
      if (!answer.ok) throw new Error(String(answer.status));
      live.textContent = "live";
      heard(null); // whatever moved before the connection stood
      pause = 500;
      for await (const event of events(answer.body)) {
        if (event.id) last = event.id;
        if (event.data) heard(JSON.parse(event.data));
      }
    } catch { /* the connection broke: try again below */ }
    live.textContent = "connection lost, trying again …";
    await new Promise((done) => setTimeout(done, pause));
  }
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const event = {};
      for (const line of block.split("\n")) {
        const at = line.indexOf(": ");
        if (at > 0) event[line.slice(0, at)] = line.slice(at + 2);
      }
      yield event;
    }
  }
}

// Runs `work` now and after each call, never twice at the same time, and not more often than every `least` ms.
export function gently(work, least = 400) {
  let wanted = false, running = false;
  return async function run() {
    wanted = true;
    if (running) return;
    running = true;
    while (wanted) {
      wanted = false;
      await work().catch((error) => say(error.message));
      await new Promise((done) => setTimeout(done, least));
    }
    running = false;
  };
}

export function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

export function cell(content, attributes = {}) {
  const made = element("td", typeof content === "string" ? content : "", attributes);
  if (typeof content !== "string") made.append(content);
  return made;
}

export const number = (value) => {
  if (typeof value !== "number") return value ?? "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(3).replace(/\.?0+e/, "e").replace("e+", "e");
  return String(Number(value.toPrecision(size >= 1e4 ? 7 : 4)));
};
export const dollars = (micro) => `$${(micro / 1e6).toFixed(micro < 1e6 ? 4 : 2)}`;
export const state = (name) => element("span", name, { class: `state ${name}` });
export const parameters = (params) => Object.entries(params).map(([name, value]) => `${name}=${number(value)}`).join(", ");
