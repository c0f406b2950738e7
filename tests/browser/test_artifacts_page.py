"""What a trial kept and printed, on the pages of a real server: pictures, downloads, and a search through all logs."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from hpo_service.artifact_files import ArtifactFiles, location_of
from hpo_service.settings import Settings
from hpo_service.store import artifacts, logs
from hpo_service.store.artifacts import ArtifactItem
from hpo_service.store.database import open_database
from tests.acceptance.processes import Server, showing
from tests.storelib import World

pytestmark = pytest.mark.browser
Opener = Callable[..., Page]
EVIL = b"\x89PNG\r\n\x1a\n<script>document.title='owned'</script>"
PAGE = b"<script>document.title='owned'</script>"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def picture(width: int, height: int) -> bytes:
    """A PNG with a gradient."""
    rows = b"".join(
        b"\0" + b"".join(bytes((x * 255 // width, y * 255 // height, 128)) for x in range(width)) for y in range(height)
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


KEPT = [
    ("confusion.png", picture(160, 120), "image/png"),
    ("plots/a wide curve with a rather long name that has to be cut somewhere.png", picture(300, 60), "image/png"),
    ("predictions.csv", b"id,label\n1,2\n" * 4000, "text/csv"),
    ("report.html", PAGE, "text/html"),
    ("broken.png", EVIL, "image/png"),
]


@dataclass
class Place:
    server: Server
    study: str
    db_url: str
    artifacts: ArtifactFiles

    def trial(self, number: int, query: str = "") -> str:
        return f"{self.server.url}/studies/{self.study}/trials/{number}{query}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("artifacts-page")
    settings = Settings(data=folder)
    db = open_database(settings.resolved_database_url)
    world = World(db, trainer={"function": "train:main"}, name="kept")
    world.start(3)
    files = ArtifactFiles(settings.resolved_artifacts)
    for number, (name, body, kind) in enumerate(KEPT):
        keep(world, files, 0, number, name, body, kind)
    for trial in (0, 1):
        lines = [f"epoch {n} loss {1 / (n + 1 + trial):.4f}" for n in range(400)]
        lines[250] = "epoch 250 loss nan: skipped <b>this</b> batch"
        logs.append_logs(db, [(world.id, trial, 1, "\n".join(lines) + "\n")])
    world.collect(world.report(0, 0, 0.5), world.report(1, 0, 0.4), world.report(2, 0, 0.3))
    db.close()
    with showing(folder) as server:
        yield Place(server, world.id, settings.resolved_database_url, files)


def keep(world: World, files: ArtifactFiles, trial: int, number: int, name: str, body: bytes, kind: str) -> None:
    ident = f"{number:032x}"
    location = location_of(world.id, trial, ident)
    files.put(location, io.BytesIO(body))
    item = ArtifactItem(
        id=ident, study_id=world.id, trial=trial, fence=1, name=name, location=location, digest="d" * 64,
        size_bytes=len(body), media_type=kind,
    )  # fmt: skip
    artifacts.add_artifacts(world.db, [item])


def test_pictures_are_shown_and_everything_is_downloaded(place: Place, open_page: Opener, tmp_path: Path) -> None:
    page = open_page(place.trial(0))
    panel = page.get_by_test_id("panel-artifacts")
    expect(panel.locator("tbody tr")).to_have_count(len(KEPT))
    expect(panel.locator("figure")).to_have_count(3)
    expect(panel.locator("figure img")).to_have_count(2)
    expect(panel.get_by_text("It cannot be shown")).to_be_visible()
    assert panel.locator("figure img").first.evaluate("i => [i.naturalWidth, i.naturalHeight]") == [160, 120]
    for name, body in (("report.html", PAGE), ("predictions.csv", KEPT[2][1])):
        with page.expect_download() as started:
            panel.get_by_role("button", name=f"Download {name}").click()
        saved = tmp_path / name
        started.value.save_as(saved)
        assert (started.value.suggested_filename, saved.read_bytes()) == (name, body)
    panel.get_by_role("button", name="Show confusion.png").click()
    expect(page.locator("dialog img")).to_be_visible()
    page.keyboard.press("Escape")
    assert "owned" not in page.title()


def test_a_file_opened_by_its_address_does_not_run(place: Place, open_page: Opener) -> None:
    page = open_page(place.trial(1))
    place_of = f"/api/v1/studies/{place.study}/trials/0/artifacts/{3:032x}"
    with page.expect_download():
        page.evaluate(f"() => {{ location.href = {place_of!r}; }}")
    assert "owned" not in page.title()


def test_a_trial_that_kept_nothing_has_no_such_panel(place: Place, open_page: Opener) -> None:
    page = open_page(place.trial(2))
    expect(page.locator("body[data-ready]")).to_be_attached()
    expect(page.get_by_test_id("panel-log")).to_be_visible()
    expect(page.get_by_test_id("panel-artifacts")).to_have_count(0)


def test_a_search_of_the_study_leads_to_the_line(place: Place, open_page: Opener) -> None:
    page = open_page(f"{place.server.url}/studies/{place.study}?view=about")
    panel = page.get_by_test_id("panel-logsearch")
    panel.evaluate("element => element.scrollIntoView()")
    panel.get_by_role("searchbox").fill("LOSS NAN")
    panel.get_by_role("button", name="Search").click()
    expect(panel.locator("li")).to_have_count(2)
    expect(panel.locator("mark").first).to_have_text("loss nan")
    expect(panel.locator("li b")).to_have_count(0)
    expect(panel).to_contain_text("2 lines; ")
    assert "logs=LOSS" in page.url
    panel.get_by_role("link", name="Trial 1").click()
    log = page.get_by_test_id("panel-log")
    expect(log.locator(".finder [role=status]")).to_have_text("1 of 1")
    assert log.locator("pre").evaluate("p => p.scrollTop") > 0
    expect(log.get_by_role("searchbox")).to_have_value("LOSS NAN")


def test_what_comes_later_is_shown_without_a_reload(place: Place, open_page: Opener) -> None:
    page = open_page(place.trial(1))
    log = page.get_by_test_id("panel-log").locator("pre")
    expect(log).to_contain_text("epoch 399")
    log.evaluate("p => { p.firstChild.mark = 'the same node'; }")
    db = open_database(place.db_url)
    try:
        logs.append_logs(db, [(place.study, 1, 1, "one more line\n")])
        expect(log).to_contain_text("one more line")
        assert log.evaluate("p => p.firstChild.mark") == "the same node"
    finally:
        db.close()
