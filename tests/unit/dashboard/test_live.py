"""Live notices in a real browser: one connection for all tabs, resumed where it broke, and what the page says of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, Route, sync_playwright

from hpo_service.dashboard import pages
from tests.browser.conftest import ARGUMENTS, chromium

pytestmark = pytest.mark.browser
ORIGIN = "http://localhost:9"  # a secure origin, as far as browsers go: others have no locks
FRAME = """<!doctype html><title>t</title><span id="live"><span class="live-text"></span></span>
<div id="banner" hidden></div>"""
WATCH = """async (study) => { const live = await import("/static/core/live.js"); window.told = []; window.statuses = [];
    live.watch({ study, on: (seq, id) => told.push([seq, id]), status: (one) => statuses.push(one.state) }); }"""
WITHOUT = "delete Navigator.prototype.locks;"
WAIT_MS = 8000


class Stream:
    """What /events answers, and who asked."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.seq = 0
        self.status = 200

    def answer(self, route: Route) -> None:
        """One notice, and the end of the stream: so that each answer is followed by another connection."""
        self.asked.append(route.request.headers.get("last-event-id"))
        if self.status == 0:
            route.abort()
            return
        self.seq += 1
        body = f': connected\n\nid: a:{self.seq}\nevent: notice\ndata: {{"study":"a","seq":{self.seq}}}\n\n'
        route.fulfill(status=self.status, body=body, content_type="text/event-stream")


def _file(route: Route) -> None:
    path = Path(route.request.url.removeprefix(f"{ORIGIN}/").split("?")[0])
    if path.suffix:
        route.fulfill(path=pages.FOLDER / path, content_type="text/javascript")
    else:
        route.fulfill(body=FRAME, content_type="text/html")


@pytest.fixture(scope="module")
def contexts() -> Iterator[Callable[[], BrowserContext]]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        yield browser.new_context
        browser.close()


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def context(contexts: Callable[[], BrowserContext], stream: Stream) -> Iterator[BrowserContext]:
    found = contexts()
    found.route("**/*", _file)
    found.route("**/api/v1/events", stream.answer)
    yield found
    found.close()


def watching(context: BrowserContext, study: str | None = "a") -> Page:
    page = context.new_page()
    page.goto(f"{ORIGIN}/")
    page.evaluate(WATCH, study)
    return page


def heard(page: Page, least: int) -> list[int]:
    """The sequence numbers told so far, once `least` were."""
    page.wait_for_function("least => told.filter(([seq]) => seq !== null).length >= least", arg=least, timeout=WAIT_MS)
    return [seq for seq, _ in page.evaluate("told") if seq is not None]


def test_a_broken_stream_goes_on_where_it_was(context: BrowserContext, stream: Stream) -> None:
    page = watching(context)
    told = heard(page, 3)
    assert told == sorted(told)
    assert stream.asked[:3] == [None, "a:1", "a:2"]
    assert page.evaluate("told[0]") == [None, "a"], "connected: whatever was missed before is to be asked for"
    assert {"connecting", "live", "lost"} <= set(page.evaluate("statuses"))


def test_other_tabs_share_one_connection_and_take_it_over(context: BrowserContext, stream: Stream) -> None:
    first = watching(context)
    heard(first, 1)
    second = watching(context)
    heard(second, 1)
    asked: list[str] = []
    second.on("request", lambda request: asked.append(request.url))
    before = len(heard(second, 1))
    heard(second, before + 1)
    assert asked == [], "the first tab reads for both"
    first.close()
    last = max(heard(second, before + 2))
    second.wait_for_timeout(50)
    heard(second, len(second.evaluate("told.filter(([seq]) => seq !== null)")) + 1)
    assert any(url.endswith("/events") for url in asked), "the tab that is left reads by itself"
    assert stream.asked[-1] is not None
    assert int(stream.asked[-1].split(":")[1]) >= last


def test_a_page_hears_of_its_study_only(context: BrowserContext, stream: Stream) -> None:
    other = watching(context, "b")
    every = watching(context, None)
    heard(every, 2)
    assert [seq for seq, _ in other.evaluate("told") if seq is not None] == []


def test_a_lost_connection_shows_itself_and_recovers(context: BrowserContext, stream: Stream) -> None:
    page = watching(context)
    heard(page, 1)
    stream.status = 0
    banner = page.locator("#banner")
    banner.wait_for(state="visible", timeout=WAIT_MS)
    assert re.fullmatch(r"connection lost, trying again (in \d+ s|now)", page.locator("#live").inner_text())
    assert "lost" in banner.inner_text()
    told = len(heard(page, 1))
    stream.status = 200
    page.get_by_role("button", name="Try now").click()
    heard(page, told + 1)
    banner.wait_for(state="hidden", timeout=WAIT_MS)


def test_without_a_right_to_see_it_does_not_knock_again(context: BrowserContext, stream: Stream) -> None:
    stream.status = 401
    page = watching(context)
    page.wait_for_function("statuses.includes('off')", timeout=WAIT_MS)
    page.wait_for_timeout(1500)
    assert len(stream.asked) == 1
    assert page.locator("#live").inner_text() == "not connected"


def test_browsers_without_locks_read_for_themselves(context: BrowserContext, stream: Stream) -> None:
    context.add_init_script(WITHOUT)
    page = watching(context)
    assert page.evaluate("navigator.locks === undefined")
    told = heard(page, 2)
    assert told == sorted(told)
