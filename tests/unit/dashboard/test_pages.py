"""The pages and their files: every page answers, unknown ones help, and nothing on them breaks the page policy."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from hpo_service.dashboard import assets, pages
from hpo_service.dashboard.modules import Modules
from tests.unit.dashboard.conftest import TestClient

STATIC = pages.FOLDER / "static"
TEMPLATES = sorted((pages.FOLDER / "templates").glob("*.html"))
MODULES = sorted(STATIC.rglob("*.js"))
SANITISED = {"study/notebook.js"}  # draws notes_html
HTML = {"accept": "text/html,application/xhtml+xml;q=0.9"}
PAGES = {
    "/": "studies",
    "/new": "new",
    "/compare": "compare",
    "/workers": "workers",
    "/studies/s7h2k9x": "study",
    "/studies/s7h2k9x/trials/12": "trial",
}
IMPORT = re.compile(
    r"""(?:^|[\s;}])(?:import|export)\s*(?:[\w*{}\s,$]+\s*from\s*)?["']([^"']+)["']"""
    r"""|import\(\s*["']([^"']+)["']"""
)


@pytest.mark.parametrize(("path", "name"), PAGES.items())
def test_every_page_answers(client: TestClient, path: str, name: str) -> None:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert f'data-page="{name}"' in answer.text
    assert re.search(rf'src="/static/@\w+/pages/{name}\.js"', answer.text)
    assert f'name="plotly" content="{assets.plotly_path()}"' in answer.text
    assert 'id="mount"' in answer.text or 'id="main"' in answer.text


@pytest.mark.parametrize("path", PAGES)
def test_what_a_page_names_is_served(client: TestClient, path: str) -> None:
    text = client.get(path).text
    named = re.findall(r'(?:src|href)="(/static/[^"]+)"', text)
    assert len(named) > 3
    for address in named:
        assert client.get(address).status_code == 200, address


def test_a_page_knows_what_it_shows(client: TestClient) -> None:
    assert 'data-study="s7h2k9x"' in client.get("/studies/s7h2k9x").text
    trial = client.get("/studies/s7h2k9x/trials/012").text
    assert 'data-study="s7h2k9x"' in trial
    assert 'data-trial="12"' in trial


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/studies/", "/studies/<script>", "/studies/a%20b", "/studies/x/trials/zero", "/studies/x/trials/-1",
     "/studies/x/trials/1/more", "/studies/x/" + "y" * 3000],
)  # fmt: skip
def test_unknown_pages_help(client: TestClient, path: str) -> None:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "There is no such page" in answer.text
    assert "<script>" not in answer.text
    assert len(answer.text) < 8000
    program = client.get(path, headers={"accept": "application/json"})
    assert program.status_code == 404
    assert not program.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/api/v1/nothing", "/static/nothing.js", "/api"])
def test_programs_never_get_a_page(client: TestClient, path: str) -> None:
    answer = client.get(path, headers=HTML)
    assert answer.status_code == 404
    assert not answer.headers["content-type"].startswith("text/html")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_characters="/", codec="utf-8"), max_size=80))
def test_any_study_id_is_a_page_or_a_help(client: TestClient, text: str) -> None:
    answer = client.get(f"/studies/x{quote(text, safe='')}", headers=HTML)
    assert answer.status_code == (200 if pages.STUDY_ID.fullmatch(f"x{text}") else 404)
    assert "<script>" not in answer.text


def test_plotly_is_compressed_and_kept_for_ever(client: TestClient) -> None:
    path = assets.plotly_path()
    answer = client.get(path, headers={"accept-encoding": "gzip"})
    assert answer.status_code == 200
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "javascript" in answer.headers["content-type"]
    assert int(answer.headers["content-length"]) < 2_000_000
    plain = client.get(path, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == answer.content
    assert "plotly.js" in plain.text[:300]
    assert client.get("/static/vendor/plotly-0.0.1.min.js").status_code == 404


def test_files_are_compressed_and_answered_unchanged(client: TestClient) -> None:
    path = "/static/core/dom.js"
    answer = client.get(path, headers={"accept-encoding": "gzip, br"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "accept-encoding"
    assert int(answer.headers["content-length"]) < len(answer.content)
    assert answer.content == (STATIC / "core" / "dom.js").read_bytes()
    for sent in (answer.headers["etag"], client.get(path, headers={"accept-encoding": "identity"}).headers["etag"]):
        again = client.get(path, headers={"accept-encoding": "gzip", "if-none-match": sent})
        assert again.status_code == 304
        assert again.content == b""


def test_a_build_is_kept_for_ever_and_an_older_one_is_not(client: TestClient) -> None:
    build = Modules(STATIC).build
    kept = client.get(f"/static/@{build}/core/dom.js")
    assert kept.content == (STATIC / "core" / "dom.js").read_bytes()
    assert "immutable" in kept.headers["cache-control"]
    old = client.get("/static/@0123456789ab/core/dom.js")
    assert old.content == kept.content
    assert "cache-control" not in old.headers
    assert client.get(f"/static/@{build}/../pages.py").status_code == 404


def test_a_page_names_all_its_modules_before_they_are_asked_for(client: TestClient) -> None:
    text = client.get("/").text
    named = set(re.findall(r'rel="modulepreload" href="/static/@\w+/([^"]+)"', text))
    waiting, needed = ["pages/studies.js", "core/frame.js"], set[str]()
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            path = STATIC / name
            found = [one for one, _ in IMPORT.findall(path.read_text()) if one]
            waiting += [(path.parent / one).resolve().relative_to(STATIC).as_posix() for one in found]
    assert named == needed
    assert len(named) > 8


def test_a_build_changes_with_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('import { b } from "./b.js";')
    (tmp_path / "b.js").write_text("export const b = 1;")
    before = Modules(tmp_path)
    assert before.needed("a.js") == ("a.js", "b.js")
    (tmp_path / "b.js").write_text("export const b = 22;")
    assert Modules(tmp_path).build != before.build
    assert before.needed("../a.js", "none.js") == ()


def test_a_changed_file_is_served_anew(tmp_path: Path) -> None:
    file = tmp_path / "a.js"
    file.write_text("1;" * 1000)
    app = FastAPI()
    app.mount("/", assets.StaticGzip(modules=Modules(tmp_path)))
    client = TestClient(app)
    first = client.get("/a.js", headers={"accept-encoding": "gzip"})
    file.write_text("22;" * 1000)
    second = client.get("/a.js", headers={"accept-encoding": "gzip", "if-none-match": first.headers["etag"]})
    assert second.status_code == 200
    assert second.text == "22;" * 1000


@pytest.mark.parametrize(
    ("offer", "taken"),
    [("gzip", True), ("GZIP;q=0.5, br", True), ("br", False), ("", False), ("gzip;q=0", False), ("gzip; q=0.0", False)],
)
def test_who_takes_gzip(offer: str, taken: bool) -> None:
    assert assets.takes_gzip(Headers({"accept-encoding": offer})) is taken


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_keep_the_page_policy(path: Path) -> None:
    text = path.read_text()
    for script in re.findall(r"<script\b[^>]*>", text):
        assert "src=" in script, f"{path.name}: an inline script would not run"
    assert not re.search(r"<[^>]+\son[a-z]+\s*=", text), f"{path.name}: an on… attribute would not run"
    assert "javascript:" not in text
    assert "|safe" not in text.replace(" ", "")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_every_template_extends_the_frame_and_has_a_module(path: Path) -> None:
    text = path.read_text()
    if path.name == "base.html":
        return
    assert text.startswith('{% extends "base.html" %}')
    found = re.search(r"{% block script %}(.*?){% endblock %}", text)
    assert found is not None
    assert (STATIC / found[1]).is_file()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(STATIC)))
def test_modules_import_what_exists_and_draw_only_text(path: Path) -> None:
    text = path.read_text()
    for one, other in IMPORT.findall(text):
        name = one or other
        assert name.startswith("."), f"{name}: modules come from this server, beside each other"
        assert (path.parent / name).resolve().is_file(), name
    code = re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)
    wrong = r"\.outerHTML\s*=|insertAdjacentHTML|document\.write|\beval\(|new Function\("
    assert not re.search(wrong, code)
    allowed = 1 if path.relative_to(STATIC).as_posix() in SANITISED else 0
    assert code.count(".innerHTML") == allowed, "only what the server sanitised is HTML"
    assert len(text.splitlines()) <= 400


@pytest.mark.parametrize("path", [*MODULES, *STATIC.rglob("*.css")], ids=lambda path: str(path.relative_to(STATIC)))
def test_files_load_nothing_foreign(path: Path) -> None:
    text = re.sub(r"http://www\.w3\.org/\S+", "", path.read_text())
    assert not re.search(r"(?:src|href|import|url)\s*[=(:]?\s*[\"'(]*(?:https?:)?//[a-z]", text)


def test_compressed_files_are_the_files(client: TestClient) -> None:
    with client.stream("GET", "/static/app.css", headers={"accept-encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert gzip.decompress(raw) == (STATIC / "app.css").read_bytes()
