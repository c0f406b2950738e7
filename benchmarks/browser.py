"""The study page in headless Chromium, as a child process: when its parts are painted, how long drawing takes, what is
loaded.

Needs playwright and Chromium (HPO_TEST_CHROMIUM, or one on the path). Answers `{"missing": …}` where one is not there.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

from benchmarks import children

ARGUMENTS = ("--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update")
TALL = {"width": 1360, "height": 2200}  # so that nothing of the overview waits until it is scrolled to
CHARTS = ("progress", "curves", "parallel")
COLUMNS = (
    "state", "value", "resource", "param.lr", "param.batch_size", "param.optimizer", "param.momentum", "param.dropout",
    "param.weight_decay", "param.layers", "metric.val_loss", "seconds",
)  # fmt: skip
WAIT_MS = 60_000

SEEN = """
(() => {
  const seen = (window.__seen = {});
  const one = (selector) => () => document.querySelector(selector) !== null;
  const drawn = (id) => `[data-test="panel-${id}"] .panel-body [data-ready]`;
  const tests = {
    header: one('[data-test="study-header"]'), rows: one('[data-test="trials-table"] tbody tr'),
    progress: one(drawn("progress")), curves: one(drawn("curves")), parallel: one(drawn("parallel")),
  };
  const look = () => {
    for (const [name, is] of Object.entries(tests)) {
      if (name in seen || !is()) continue;
      seen[name] = null;
      requestAnimationFrame(() => setTimeout(() => { seen[name] = performance.now(); }));
    }
  };
  const options = { subtree: true, childList: true, attributes: true, attributeFilter: ["data-ready"] };
  new MutationObserver(look).observe(document, options);
})();
"""
PAINTED = "names => names.every((name) => window.__seen[name] > 0)"
FACTS = """
() => {
  const loads = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
  const data = loads.filter(({ name }) => name.includes("/api/v1/"));
  const ended = (part) => data.find(({ name }) => name.includes(part))?.responseEnd ?? null;
  const sum = (list) => list.reduce((total, { transferSize }) => total + transferSize, 0);
  return { seen: window.__seen, bytes: sum(loads), data_bytes: sum(data), requests: loads.length,
    sample_at: ended("/sample"), trials_at: ended("/trials?") };
}
"""


def answer(url: str, study: str, times: int, cold: bool) -> dict[str, Any]:
    """The first visit after the server's start where `cold`, then `times` visits of each kind by new browsers'
    profiles (`first`) and by profiles that have the program already (`again`), and what drawing alone takes."""
    chromium = os.environ.get("HPO_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return {"missing": "playwright is not installed"}
    if chromium is None:
        return {"missing": "there is no Chromium on the path"}
    page = f"{url}/studies/{study}"
    table = f"{page}?view=trials"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        try:
            _visit(browser.new_context(), f"{url}/workers", ())  # the browser's own first page is not the service's
            found: dict[str, Any] = {"version": browser.version}
            if cold:
                found["cold"] = _fresh(browser, page, ("header", "rows", *CHARTS))[0]
            found["overview"] = [_fresh(browser, page, ("header", "rows", *CHARTS), again=True) for _ in range(times)]
            found["trials"] = [_fresh(browser, table, ("header", "rows"), again=True) for _ in range(times)]
            found["parallel"] = [_parallel(browser, page) for _ in range(times)]
            many = f"{table}&rows=500&cols={','.join(COLUMNS)}"
            found["table"] = [_table(browser, many) for _ in range(times)]
        finally:
            browser.close()
    return found


def _fresh(browser: Any, url: str, wanted: tuple[str, ...], *, again: bool = False) -> list[dict[str, Any]]:
    """A new profile's visit, and a second one by the same profile where `again`."""
    context = browser.new_context(viewport=TALL)
    try:
        return [_visit(context, url, wanted) for _ in range(2 if again else 1)]
    finally:
        context.close()


def _visit(context: Any, url: str, wanted: tuple[str, ...]) -> dict[str, Any]:
    """Milliseconds from navigation until each of the wanted was painted, and what was loaded until then."""
    page = context.new_page()
    try:
        page.add_init_script(SEEN)
        page.goto(url, wait_until="commit" if wanted else "load")
        page.wait_for_function(PAINTED, arg=list(wanted), timeout=WAIT_MS)
        facts: dict[str, Any] = page.evaluate(FACTS)
        return facts
    finally:
        page.close()


def _parallel(browser: Any, url: str) -> float:
    """Milliseconds from the last byte of 5,000 trials until their lines are painted, no other chart being drawn."""
    context = browser.new_context(viewport=TALL)
    try:
        for other in ("progress", "curves"):
            context.route(f"**/{other}?*", lambda route: route.abort())
            context.route(f"**/{other}", lambda route: route.abort())
        facts = _visit(context, url, ("parallel",))
        return float(facts["seen"]["parallel"] - facts["sample_at"])
    finally:
        context.close()


def _table(browser: Any, url: str) -> float:
    """Milliseconds from the last byte of 500 trials until the table with all its cells is painted."""
    context = browser.new_context(viewport=TALL)
    try:
        facts = _visit(context, url, ("rows",))
        return float(facts["seen"]["rows"] - facts["trials_at"])
    finally:
        context.close()


if __name__ == "__main__":
    children.serve(answer)
