"""`python -m tests.browser.screenshots FOLDER [--readme]`: a picture of every page, light, dark and as wide as a phone.

To be looked at by whoever changes a page. `--readme` makes the few small ones of the README instead, in docs/images.
The data are the gallery's, in a temporary folder; HPO_TEST_GALLERY names one made before.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from tests.acceptance.processes import Server
from tests.browser import fused_study, gallery
from tests.browser.conftest import ARGUMENTS, ROOT, chromium
from tests.browser.test_pages import PAGES, settle

LOOKS = {"light": ("light", 1360), "dark": ("dark", 1360), "phone": ("light", 390)}
README = {"overview": "light", "brackets": "light", "model": "dark"}
"""Pages of the README's pictures; of the last two only the chart."""
FUSED_TRIAL = 16
"""It went through all rungs."""
IMAGES = ROOT / "docs" / "images"


def main() -> None:
    """Serve the gallery, take the pictures, stop the server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "build" / "screenshots")
    parser.add_argument("--readme", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="screenshots-") as scratch:
        data = Path(scratch) / "gallery"
        made = os.environ.get("HPO_TEST_GALLERY")
        if made:
            shutil.copytree(made, data)
        ids = gallery.stored(data) if made else gallery.fill(data)
        server = Server(data, arguments=("--no-controller",))
        try:
            server.start(ready=False)
            server.wait_ready("/healthz")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
                if given.readme:
                    _readme(browser, server.url, ids)
                else:
                    _all(browser, server.url, ids, given.folder)
                browser.close()
        finally:
            server.stop()


def _all(browser: Browser, url: str, ids: dict[str, str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    both = "&".join(f"study={ids[name]}" for name in ("digits hyperband", "digits random baseline"))
    fused = f"{url}/studies/{ids[fused_study.NAME]}"
    addresses = {name: _address(url, ids, name) for name in PAGES} | {
        "compare": f"{url}/compare?{both}",
        "fused timeline": f"{fused}?view=timeline",
        "fused about": f"{fused}?view=about",
        "fused trial": f"{fused}/trials/{FUSED_TRIAL}",
    }
    for name, address in addresses.items():
        for look, (scheme, width) in LOOKS.items():
            path = folder / f"{name.replace(' ', '-')}-{look}.png"
            _shoot(browser, address, path, scheme=scheme, width=width)
            print(path)


def _readme(browser: Browser, url: str, ids: dict[str, str]) -> None:
    for name, scheme in README.items():
        path = IMAGES / f"{name}.jpg"
        panel = "" if name == "overview" else {"model": "surrogate"}.get(name, name)
        _shoot(browser, _address(url, ids, name), path, scheme=scheme, width=1360, height=1180, panel=panel)
        print(path)


def _address(url: str, ids: dict[str, str], name: str) -> str:
    study, path = PAGES[name]
    return f"{url}/studies/{ids[study]}{path}" if study else url + path


def _shoot(
    browser: Browser, address: str, path: Path, *, scheme: str, width: int, height: int = 0, panel: str = ""
) -> None:
    """A picture of the whole page, of its first `height` pixels, or of one panel."""
    context = browser.new_context(
        viewport={"width": width, "height": height or 900},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(address)
    settle(page)
    if not height:  # what is built when it comes into sight must have been in sight
        page.set_viewport_size({"width": width, "height": min(8000, page.evaluate("document.body.scrollHeight") + 800)})
        settle(page)
    page.wait_for_function(
        """() => [...document.querySelectorAll("[data-test^=panel-] .chart, .js-plotly-plot")]
             .every((e) => !e.checkVisibility() || e.closest("[data-ready]") || e.querySelector("[data-ready]"))"""
    )
    page.wait_for_timeout(1_000)  # charts that begin when their data are there
    kind: dict[str, Any] = {"type": "jpeg", "quality": 72} if path.suffix == ".jpg" else {}
    if panel:
        page.locator(f"[data-test=panel-{panel}]").screenshot(path=path, **kind)
    else:
        page.screenshot(path=path, full_page=not height, **kind)
    context.close()


if __name__ == "__main__":
    main()
