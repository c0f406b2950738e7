"""`/bundles`: uploading, deduplicating, who may, and studies that name what is not there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hpo_service.bundles.building import from_files
from hpo_service.settings import Settings
from hpo_service.storage import bundle_path
from tests.unit.api.support import DEFINITION

BUNDLE = from_files({"train.py": b"def main(trial): ...\n", "data/x.csv": b"1,2\n"})
OCTETS = {"Content-Type": "application/octet-stream"}
ROUTE = "/api/v1/bundles"
NAMING = {**DEFINITION, "trainer": {"function": "train:main", "bundle": BUNDLE.digest}}


def upload(client: Any, data: bytes = BUNDLE.archive, **more: Any) -> Any:
    return client.post(ROUTE, content=data, **{"headers": OCTETS, **more})


def test_an_upload_is_stored_and_told(client: Any, settings: Settings) -> None:
    answer = upload(client)
    assert answer.status_code == 201
    found = answer.json()
    assert found["digest"] == BUNDLE.digest
    assert found["size_bytes"] == BUNDLE.size
    assert [f["name"] for f in found["files"]] == ["data/x.csv", "train.py"]
    assert (settings.resolved_storage / bundle_path(BUNDLE.digest)).read_bytes() == BUNDLE.archive
    assert client.get(f"{ROUTE}/{BUNDLE.digest}").json() == found
    archive = client.get(f"{ROUTE}/{BUNDLE.digest}/archive")
    assert hashlib.sha256(archive.content).hexdigest() == BUNDLE.digest
    assert archive.headers["content-type"] == "application/zip"


def test_the_same_again_is_told_so(client: Any) -> None:
    assert client.head(f"{ROUTE}/{BUNDLE.digest}").status_code == 404
    assert [upload(client).status_code for _ in range(2)] == [201, 200]
    assert client.head(f"{ROUTE}/{BUNDLE.digest}").status_code == 200
    assert client.head(f"{ROUTE}/{BUNDLE.digest}", params={"project": "other"}).status_code == 404


def test_a_key_is_taken_and_not_needed(client: Any) -> None:
    headers = {**OCTETS, "Idempotency-Key": "k"}
    assert [upload(client, headers=headers).status_code for _ in range(2)] == [201, 200]


def test_an_archive_that_was_lost_is_uploaded_again(client: Any, settings: Settings) -> None:
    upload(client)
    path = settings.resolved_storage / bundle_path(BUNDLE.digest)
    path.unlink()
    assert client.head(f"{ROUTE}/{BUNDLE.digest}").status_code == 404
    assert client.post("/api/v1/studies", json=NAMING).status_code == 422
    assert upload(client).status_code == 201
    assert path.is_file()


def test_what_is_evil_is_refused_and_leaves_nothing(client: Any, settings: Settings) -> None:
    answer = upload(client, BUNDLE.archive[:-30])
    assert answer.status_code == 422
    assert "zip archive" in answer.json()["detail"]
    assert not list(settings.resolved_storage.rglob("*.*"))


def test_more_than_the_limit_is_refused_before_it_is_read(open_client: Any, bearer: Callable[..., Any]) -> None:
    headers = {**OCTETS, **bearer("editor", may_submit_code=True)}

    def endless() -> Any:
        for _ in range(60):
            yield b"x" * 2**20

    answer = upload(open_client, endless(), headers=headers)
    assert answer.status_code == 413
    assert "HPO_MAX_BUNDLE_BYTES" in answer.json()["detail"]


def test_another_type_is_refused(client: Any) -> None:
    answer = upload(client, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "header.Content-Type"


@pytest.mark.parametrize(
    ("role", "code", "status"), [("editor", True, 201), ("editor", False, 403), ("viewer", True, 403)]
)
def test_uploading_needs_the_permission(
    open_client: Any, bearer: Callable[..., Any], role: str, code: bool, status: int
) -> None:
    headers = {**OCTETS, **bearer(role, may_submit_code=code)}
    assert upload(open_client, headers=headers).status_code == status
    assert upload(open_client).status_code == 401


def test_projects_do_not_see_each_others_code(open_client: Any, bearer: Callable[..., Any]) -> None:
    mine, theirs = bearer("editor", "mine", may_submit_code=True), bearer("editor", "theirs", may_submit_code=True)
    assert upload(open_client, headers={**OCTETS, **mine}).status_code == 403, "its project is the default one"
    assert upload(open_client, headers={**OCTETS, **mine}, params={"project": "mine"}).status_code == 201
    place = f"{ROUTE}/{BUNDLE.digest}"
    assert open_client.get(place, headers=mine).status_code == 200
    for route in (place, f"{place}/archive", f"{place}?project=mine"):
        assert open_client.get(route, headers=theirs).status_code == 404
    naming = {**NAMING, "project": "theirs"}
    assert open_client.post("/api/v1/studies", json=naming, headers=theirs).status_code == 422
    again = upload(open_client, headers={**OCTETS, **theirs}, params={"project": "theirs"})
    assert again.status_code == 201
    assert open_client.post("/api/v1/studies", json=naming, headers=theirs).status_code == 201


@pytest.mark.parametrize("route", ["/api/v1/studies", "/api/v1/studies/validate"])
def test_a_study_with_unknown_code_is_refused_with_a_remedy(client: Any, route: str) -> None:
    answer = client.post(route, json=NAMING)
    assert answer.status_code == 422
    (problem,) = answer.json()["errors"]
    assert problem["path"] == "trainer.bundle"
    assert "hpo submit FILE --code FOLDER" in problem["remedy"]
    upload(client)
    assert client.post(route, json=NAMING).status_code in (200, 201)


def test_packages_are_refused_unless_the_administrator_allows_them(client: Any) -> None:
    wanting = {**DEFINITION, "trainer": {"function": "train:main", "pip": ["timm==1.0.15"]}}
    answer = client.post("/api/v1/studies", json=wanting)
    assert answer.status_code == 422
    (problem,) = answer.json()["errors"]
    assert problem["path"] == "trainer.pip"
    assert "HPO_ALLOW_PIP" in problem["remedy"]


def test_allowed_packages_are_no_options(client: Any, settings: Settings) -> None:
    client.app.state.shared.settings = settings.model_copy(update={"allow_pip": True})
    wanting = {**DEFINITION, "trainer": {"function": "train:main", "pip": ["timm", "--index-url=http://evil"]}}
    answer = client.post("/api/v1/studies", json=wanting)
    (problem,) = answer.json()["errors"]
    assert problem["path"] == "trainer.pip.1"
    wanting["trainer"]["pip"].pop()
    assert client.post("/api/v1/studies", json=wanting).status_code == 201


def test_an_odd_digest_is_refused(client: Any) -> None:
    assert client.get(f"{ROUTE}/..%2F..%2Fetc").status_code in (404, 422)
    assert client.get(f"{ROUTE}/{'A' * 64}").status_code == 422


def test_names_of_files_are_told_as_they_are(client: Any, tmp_path: Path) -> None:
    odd = from_files({"<img src=x onerror=alert(1)>.py": b"", "ünï.py": b""})
    assert [f["name"] for f in upload(client, odd.archive).json()["files"]] == sorted(odd.manifest)
