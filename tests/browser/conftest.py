"""A real Chromium over real servers: one on the gallery's database, one that trains; nothing may go wrong unseen.

Every page that a test opens is watched: an error on its console, an exception of a script, a violation of the content
policy or a refused request that the test did not expect fails it. Chromium is Debian's; `.ci/run` installs it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, ViewportSize, expect, sync_playwright

from tests.acceptance.processes import Server, showing
from tests.browser import gallery

ROOT = Path(__file__).resolve().parents[2]
WAIT_MS = 30_000
expect.set_options(timeout=WAIT_MS)
ARGUMENTS = ("--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update")


def chromium() -> str:
    """The browser's path. Fails plainly where there is none."""
    named = os.environ.get("HPO_TEST_CHROMIUM")
    found = named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "no Chromium: install the package chromium, or name one in HPO_TEST_CHROMIUM"
    return found


@pytest.fixture(scope="module")  # Playwright holds the thread's event loop: other tests get it back
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        playwright.selectors.set_test_id_attribute("data-test")
        found = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        yield found
        found.close()


@dataclass
class Gallery:
    """A server over the gallery's studies; `ids` by name."""

    server: Server
    ids: dict[str, str]

    @property
    def url(self) -> str:
        return self.server.url

    def study(self, name: str, path: str = "") -> str:
        """The address of a study's page."""
        return f"{self.url}/studies/{self.ids[name]}{path}"


@pytest.fixture(scope="session")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    folder = tmp_path_factory.mktemp("gallery")
    made = os.environ.get("HPO_TEST_GALLERY")  # a folder made before, which saves half a minute
    if made:
        shutil.copytree(made, folder, dirs_exist_ok=True)
    ids = gallery.stored(folder) if made else gallery.fill(folder)
    with showing(folder) as server:
        yield Gallery(server, ids)


@pytest.fixture(scope="session")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that trains, on two CPUs."""
    server = Server(tmp_path_factory.mktemp("training"), environment={"HPO_RAY_CPUS": "2"})
    try:
        yield server.start()
    finally:
        server.stop()


@dataclass
class Watch:
    """What went wrong on a page; `expected` holds statuses that a test provokes, 0: a connection that breaks."""

    wrong: list[str] = field(default_factory=list)
    expected: set[int] = field(default_factory=set)

    def console(self, message: ConsoleMessage) -> None:
        driver = "GL Driver Message" in message.text or "GPU stall" in message.text
        if "preloaded" in message.text or (0 in self.expected and "net::ERR_" in message.text):
            return  # a slow machine used a file later than Chromium deems right; a connection that a test cut
        refused = any(f"status of {status}" in message.text for status in self.expected)
        if message.type in ("error", "warning") and not driver and not refused:
            self.wrong.append(f"console {message.type}: {message.text}")

    def response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.expected:
            self.wrong.append(f"{response.status} {response.url}")


Opener = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Opener]:
    """`open_page(url, width=1360, scheme="light", allow={404})`: a watched page of a fresh browser profile."""
    watches: list[Watch] = []
    contexts = []

    def open_one(url: str, *, width: int = 1360, scheme: str = "light", allow: frozenset[int] = frozenset()) -> Page:
        size: ViewportSize = {"width": width, "height": 900}
        context = browser.new_context(
            viewport=size, color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce"
        )
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page, watch = context.new_page(), Watch(expected=set(allow))
        watches.append(watch)
        page.on("console", watch.console)
        page.on("pageerror", lambda error: watch.wrong.append(f"exception: {error}"))
        page.on("response", watch.response)
        page.goto(url)
        return page

    yield open_one
    for context in contexts:
        context.close()
    wrong = [line for watch in watches for line in watch.wrong]
    assert not wrong, "\n".join(wrong)
