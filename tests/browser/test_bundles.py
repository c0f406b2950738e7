"""Code that a study brought, on its pages: the short digest, the files by name, the archive to download."""

from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest
from playwright.sync_api import expect

from hpo_service.bundles.building import from_files
from tests.browser.conftest import Gallery, Opener

pytestmark = [pytest.mark.browser]
EVIL = "<img src=x onerror=alert(1)>.py"
BUNDLE = from_files({"train.py": b"def main(trial): ...\n", EVIL: b""})
STUDY = {
    "name": "brought",
    "objective": {"metric": "val_loss", "direction": "minimize"},
    "space": {"x": {"type": "uniform", "low": 0.0, "high": 1.0}},
    "algorithm": {"name": "random"},
    "trainer": {"function": "train:main", "bundle": BUNDLE.digest},
    "budget": {"trials": 3},
}


@pytest.fixture(scope="module")
def study(shown: Gallery) -> str:
    with httpx.Client(base_url=f"{shown.url}/api/v1") as client:
        octets = {"Content-Type": "application/octet-stream"}
        client.post("/bundles", content=BUNDLE.archive, headers=octets).raise_for_status()
        return str(client.post("/studies", json=STUDY).raise_for_status().json()["id"])


def test_a_study_shows_its_code_as_text_and_gives_it_out(
    shown: Gallery, study: str, open_page: Opener, tmp_path: Path
) -> None:
    page = open_page(f"{shown.url}/studies/{study}?view=about")
    code = page.get_by_test_id("panel-definition").get_by_test_id("bundle")
    expect(code).to_contain_text(f"Code {BUNDLE.digest[:12]}")
    code.locator("summary").click()
    expect(code).to_contain_text("2 files")
    expect(code.get_by_text(EVIL)).to_be_visible()
    assert code.locator("img").count() == 0
    with page.expect_download() as waiting:
        code.get_by_role("button", name="Download").click()
    waiting.value.save_as(tmp_path / "code.zip")
    assert ZipFile(tmp_path / "code.zip").namelist() == ["hpo-bundle", f"own-code/{EVIL}", "own-code/train.py"]


def test_the_editor_shows_the_code_that_a_definition_names(shown: Gallery, study: str, open_page: Opener) -> None:
    page = open_page(f"{shown.url}/new?clone={study}")
    preview = page.get_by_test_id("preview")
    expect(preview.get_by_test_id("bundle")).to_contain_text(BUNDLE.digest[:12])
