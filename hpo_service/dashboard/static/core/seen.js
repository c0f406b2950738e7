// What is asked again after a change, but only while it is in sight, and no more often than the server's pace.

// `state` has `last` (when it was asked), `timer` and `stale` (whether something changed since); `act` asks.
export function whileSeen(node, page, state, act) {
  const seen = () => node.offsetParent !== null && !document.hidden;
  function soon() {
    if (state.timer || !state.stale || !seen()) return;
    state.timer = setTimeout(
      () => {
        state.timer = 0;
        if (seen()) act();
      },
      Math.max(0, state.last + page.pace() - Date.now()),
    );
  }
  page.on("changes", () => {
    state.stale = true;
    soon();
  });
  document.addEventListener("visibilitychange", soon);
  new IntersectionObserver(soon).observe(node);
}
