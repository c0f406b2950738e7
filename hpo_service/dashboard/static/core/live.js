// Live notices: one connection for all tabs of this browser, resumed where it broke; and what the header says about it.
//
// watch({study: id|null, on(seq, studyId), status(fn)}) → off
//     on(seq, studyId) whenever a watched study moved. seq null: connected, now or before watch() was called, something may have been missed;
//     ask for what changed since.
//     status({state: "connecting"|"live"|"lost"|"off", retryAt: ms|null}) is optional. study null: every study that the reader may see.
//
// The tab that holds the lock reads /events and tells the others by BroadcastChannel. Where the browser has no locks (plain http), each visible
// tab reads for itself and hidden ones let go, for a browser opens only six connections to one host.

import { headers, tokenMark } from "./api.js";
import { byId, h, replace } from "./dom.js";

const SILENCE_MS = 40000; // the server says "still here" every 15 s
const FIRST_PAUSE_MS = 500,
  LAST_PAUSE_MS = 15000;
const name = `hpo-live:${tokenMark()}`;
const channel = "BroadcastChannel" in window ? new BroadcastChannel(name) : null;
const watchers = new Set();
let status = { state: "connecting", retryAt: null };
let last = null; // id of the newest notice
let started = false,
  leading = false;
let wake = () => {};

export function watch({ study = null, on, status: heard = null }) {
  const watcher = { study, on, heard };
  watchers.add(watcher);
  heard?.(status);
  start();
  if (status.state === "live") queueMicrotask(() => watchers.has(watcher) && on(null, study));
  return () => watchers.delete(watcher);
}

function start() {
  if (started) return;
  started = true;
  setInterval(show, 1000);
  addEventListener("online", () => wake());
  if (!navigator.locks || !channel) return alone();
  channel.onmessage = ({ data }) => receive(data);
  channel.postMessage({ kind: "hello" });
  navigator.locks.request(name, async () => {
    leading = true;
    await lead(() => true);
  });
  return undefined;
}

async function alone() {
  leading = true;
  let running = false;
  const look = async () => {
    wake();
    if (running || document.hidden) return;
    running = true;
    await lead(() => !document.hidden);
    if (status.state !== "off") become({ state: "connecting", retryAt: null }); // so that being back is told
    running = false;
  };
  document.addEventListener("visibilitychange", look);
  look();
}

function receive(data) {
  if (data.kind === "hello") {
    if (leading) channel.postMessage({ kind: "status", status });
    return;
  }
  if (data.kind === "again") {
    if (leading) wake();
    return;
  }
  if (leading) return;
  if (data.kind === "status") become(data.status);
  if (data.kind === "notice") tell(data.id, data.notice);
}

function say(next) {
  become(next);
  channel?.postMessage({ kind: "status", status });
}

function become(next) {
  const back = next.state === "live" && status.state !== "live";
  status = next;
  for (const one of [...watchers]) {
    one.heard?.(status);
    if (back) one.on(null, one.study);
  }
  show();
}

function tell(id, notice) {
  if (id) last = id;
  for (const one of [...watchers]) if (one.study === null || one.study === notice.study) one.on(notice.seq, notice.study);
}

async function lead(wanted) {
  let pause = FIRST_PAUSE_MS;
  while (wanted()) {
    const stop = new AbortController();
    try {
      wake = () => {
        if (!wanted()) stop.abort();
      };
      const answer = await fetch("/api/v1/events", { signal: stop.signal, headers: headers(last ? { "Last-Event-ID": last } : {}) });
      if (answer.status === 401 || answer.status === 403) return say({ state: "off", retryAt: null });
      if (!answer.ok) throw new Error(String(answer.status));
      pause = FIRST_PAUSE_MS;
      await follow(answer.body, stop);
    } catch {
      /* the connection broke: try again below */
    }
    stop.abort();
    if (!wanted()) break;
    say({ state: "lost", retryAt: Date.now() + pause });
    await new Promise((done) => {
      wake = done;
      setTimeout(done, pause);
    });
    pause = Math.min(pause * 2, LAST_PAUSE_MS);
  }
  return undefined;
}

async function follow(body, stop) {
  let heardAt = Date.now();
  const guard = setInterval(() => {
    if (Date.now() - heardAt > SILENCE_MS) stop.abort();
  }, 5000);
  const lift = stop.signal;
  lift.addEventListener("abort", () => clearInterval(guard));
  try {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heardAt = Date.now();
      if (status.state !== "live") say({ state: "live", retryAt: null });
      const blocks = (text + value).split("\n\n");
      text = blocks.pop();
      for (const block of blocks) one(block);
    }
  } finally {
    clearInterval(guard);
  }
}

function one(block) {
  const event = {};
  for (const line of block.split("\n")) {
    const at = line.indexOf(": ");
    if (at > 0) event[line.slice(0, at)] = line.slice(at + 2);
  }
  if (!event.data) return;
  const notice = JSON.parse(event.data);
  tell(event.id, notice);
  channel?.postMessage({ kind: "notice", id: event.id, notice });
}

// What the header and the banner say.

const WORDS = { connecting: "connecting …", live: "live", off: "not connected" };
let shownState = "";

function show() {
  const place = byId("live");
  if (!place) return;
  const left = status.retryAt ? Math.max(0, Math.ceil((status.retryAt - Date.now()) / 1000)) : 0;
  const text = status.state === "lost" ? `connection lost, trying again ${left ? `in ${left} s` : "now"}` : WORDS[status.state];
  if (place.dataset.state !== status.state) place.dataset.state = status.state;
  const words = place.querySelector(".live-text") || place;
  if (words.textContent !== text) words.textContent = text;
  if (shownState === status.state) return;
  shownState = status.state;
  banner();
}

// A blip of a second or two (a server restarted) is no news: the banner waits, the header does not.
let patience = 0;

function banner() {
  clearTimeout(patience);
  const place = byId("banner");
  if (!place) return;
  if (status.state !== "lost") {
    place.hidden = true;
    return;
  }
  patience = setTimeout(() => {
    replace(
      place,
      h("span", null, "The connection to the server is lost. What you see stays as it was; the page catches up by itself."),
      h(
        "button",
        { type: "button", class: "button quiet small", on: { click: () => (leading ? wake() : channel?.postMessage({ kind: "again" })) } },
        "Try now",
      ),
    );
    place.hidden = false;
  }, 1500);
}
