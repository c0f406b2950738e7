// What the trial wrote: the tail of an attempt's output, followed while it runs, with a find in it.

import { get, query } from "../core/api.js";
import { h, later, replace } from "../core/dom.js";
import { save } from "../core/files.js";
import { integer } from "../core/format.js";
import { param } from "../core/url.js";
import { button, copyButton, panel, select, switcher, toast } from "../core/ui.js";
import { makeFinder } from "./find.js";

const KEPT = 1200000; // characters on the page: all that an attempt may keep
const FOLLOW_MS = 2000;
const MOST_PIECES = 200; // of one look: a log is read on from where it was

export function mount(node, page) {
  const frame = panel({ id: "log", title: "Log", wide: true });
  const pre = h("pre", { class: "log", tabindex: "0", role: "log", "aria-label": "Output of the trial", "aria-live": "off" });
  const chosen = param("attempt", 0); // 0: the newest
  const state = { text: "", next: 0, fence: 0, cut: 0, busy: false, timer: 0, following: true };
  const finder = makeFinder(pre, () => state.text);
  const sought = { text: param("find", "").get(), line: param("line", 0).get() }; // of a search through the study's logs
  const follow = switcher("Follow", true, (on) => {
    state.following = on;
    if (on) toEnd();
  });
  const attempt = h("span", null);
  if (!page.study().external) replace(node, frame.node); // external workers keep their output themselves
  replace(
    frame.tools,
    finder.node,
    attempt,
    follow,
    copyButton(() => state.text),
    button("Save", () => saveAll().catch((error) => toast(error.message, "bad")), { small: true, icon: "download" }),
  );
  pre.addEventListener("scroll", () => {
    const atEnd = pre.scrollHeight - pre.scrollTop - pre.clientHeight < 24;
    if (atEnd !== state.following && page.open()) {
      state.following = atEnd;
      follow.set(atEnd);
    }
  });

  const wanted = () => chosen.get() || page.trial().fence;
  const toEnd = () => {
    pre.scrollTop = pre.scrollHeight;
  };

  async function read() {
    if (state.busy) return;
    state.busy = true;
    try {
      if (wanted() !== state.fence) Object.assign(state, { text: "", next: 0, fence: wanted(), cut: 0 });
      for (let piece = 0; piece < MOST_PIECES; piece += 1) {
        const answer = await get(`${page.path}/log${query({ fence: state.fence || null, after: state.next })}`, { keep: false });
        state.next = answer.next;
        if (!answer.text) break;
        add(answer.text);
      }
      show();
    } catch (error) {
      frame.problem(error);
    } finally {
      state.busy = false;
      clearTimeout(state.timer);
      if (wanted() !== state.fence)
        state.timer = setTimeout(read); // another attempt was chosen meanwhile
      else if (page.open()) state.timer = setTimeout(look, FOLLOW_MS);
    }
  }

  const look = () => {
    if (!document.hidden) read();
  };

  function add(text) {
    const whole = state.text + text;
    state.cut += Math.max(0, whole.length - KEPT);
    state.text = whole.slice(-KEPT);
  }

  let shown = null;
  function show() {
    if (!state.text) {
      shown = null;
      frame.empty(
        state.fence ? (page.open() ? "Nothing was written yet." : "Nothing was written.") : "The log begins with the first attempt.",
      );
      return;
    }
    if (shown === state.text && pre.isConnected) return;
    if (!frame.node.isConnected) replace(node, frame.node);
    if (!pre.isConnected) replace(frame.body, pre);
    const grown = shown && !state.cut && pre.firstChild && state.text.startsWith(shown) ? state.text.slice(shown.length) : null;
    shown = state.text;
    if (grown === null) pre.textContent = state.text;
    else pre.firstChild.appendData(grown); // what is there stays: a selection, what was found
    if (sought.text) {
      state.following = false;
      follow.set(false);
      finder.seek(sought.text, sought.line);
      frame.node.scrollIntoView({ block: "nearest" });
      sought.text = "";
    } else finder.again();
    frame.note(state.cut ? `The last ${integer(state.text.length)} characters; ${integer(state.cut)} before them are left out here.` : "");
    if (state.following) toEnd();
  }

  function drawAttempts() {
    const fences = page
      .trial()
      .attempt_rows.map((one) => one.fence)
      .reverse();
    follow.hidden = !page.open();
    if (fences.length < 2) {
      replace(attempt);
      return;
    }
    if (attempt.contains(document.activeElement)) return;
    const newest = fences[0];
    replace(
      attempt,
      select(
        "Attempt",
        fences.map((fence) => ({ id: String(fence), label: fence === newest ? `${fence} (newest)` : String(fence) })),
        String(wanted()),
        (id) => {
          chosen.set(Number(id) === newest ? 0 : Number(id));
          read();
        },
      ),
    );
  }

  async function saveAll() {
    let text = "",
      next = 0;
    for (;;) {
      const answer = await get(`${page.path}/log${query({ fence: state.fence || null, after: next })}`, { keep: false });
      if (!answer.text) break;
      text += answer.text;
      next = answer.next;
    }
    save(text, `${page.studyId}-${page.number}-${state.fence}.log`, "text/plain");
  }

  const onTrial = later(200, () => {
    drawAttempts();
    read();
  });
  page.on("trial", onTrial);
  document.addEventListener("visibilitychange", () => {
    if (page.open()) look(); // what was written while nobody looked
  });
  drawAttempts();
  frame.loading();
  read();
}
