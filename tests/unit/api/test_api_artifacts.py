"""Artifacts over REST: uploads of external workers, lists, downloads that no browser runs, and previews of pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from hpo_service import server
from hpo_service.api.app import create_app
from hpo_service.api.routes.artifacts import PREVIEW_BYTES, disposition
from hpo_service.settings import Settings
from hpo_service.store.database import Database
from tests.unit.api.support import DEFINITION, check

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 30
HTML = b"<script>alert(1)</script>"


def asked(client: TestClient, study: str) -> tuple[str, int]:
    """The address of a trial's artifacts, and the fence of its attempt."""
    answer = client.post(f"/api/v1/studies/{study}/ask", json={"client_id": "c1", "n": 1})
    (trial,) = answer.json()["trials"]
    return f"/api/v1/studies/{study}/trials/{trial['trial']}/artifacts", trial["fence"]


def upload(
    client: TestClient, place: str, body: Any, *, fence: int, name: str, headers: dict[str, str] | None = None
) -> Any:
    return client.post(place, params={"fence": fence, "name": name}, content=body, headers=headers)


def test_what_is_uploaded_comes_back_as_a_download(client: TestClient, study: str, settings: Settings) -> None:
    place, fence = asked(client, study)
    big = bytes(range(256)) * 8192  # far more than a body that is parsed may have
    kept = upload(client, place, iter([big[:100], big[100:]]), fence=fence, name="../../run/model.bin")
    assert kept.status_code == 201, kept.text
    one = kept.json()
    assert (one["name"], one["size_bytes"], one["preview"]) == ("../../run/model.bin", len(big), False)
    assert one["digest"] == hashlib.sha256(big).hexdigest()
    got = client.get(f"{place}/{one['id']}")
    assert got.content == big
    assert got.headers["content-disposition"].startswith('attachment; filename="model.bin"')
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["etag"] == f'"{one["digest"]}"'
    listed = client.get(place).json()
    assert listed == {"items": [one], "next_cursor": None, "total": None}
    files = [path for path in Path(settings.resolved_artifacts).rglob("*") if path.is_file()]
    assert [path.name for path in files] == [one["id"]]


def test_a_page_that_was_uploaded_never_runs_here(client: TestClient, study: str) -> None:
    place, fence = asked(client, study)
    one = upload(client, place, HTML, fence=fence, name="report.html", headers={"Content-Type": "text/html"}).json()
    assert one["media_type"] == "text/html"
    got = client.get(f"{place}/{one['id']}")
    assert got.headers["content-disposition"].startswith("attachment")
    assert got.headers["content-type"] == "application/octet-stream"
    assert "sandbox" in got.headers["content-security-policy"]
    assert "script-src" not in got.headers["content-security-policy"]
    assert got.headers["x-content-type-options"] == "nosniff"
    check(client.get(f"{place}/{one['id']}/preview"), 404)


@pytest.mark.parametrize(
    ("name", "body", "kind"),
    [
        ("a.png", PNG, "image/png"),
        ("a.html", b"\xff\xd8\xff\xe0" + HTML, "image/jpeg"),
        ("a.png", HTML, None),
        ("a.svg", b"<svg onload='alert(1)'/>", None),
        ("a.png", PNG + b"\0" * PREVIEW_BYTES, None),
        ("empty", b"", None),
    ],
)
def test_a_preview_is_a_picture_by_its_bytes(
    client: TestClient, study: str, name: str, body: bytes, kind: str | None
) -> None:
    place, fence = asked(client, study)
    one = upload(client, place, body, fence=fence, name=name).json()
    assert one["preview"] is (kind is not None)
    shown = client.get(f"{place}/{one['id']}/preview")
    if kind is None:
        check(shown, 404)
        return
    assert (shown.content, shown.headers["content-type"]) == (body, kind)
    assert "sandbox" in shown.headers["content-security-policy"]


def test_the_same_key_is_the_same_artifact(client: TestClient, study: str) -> None:
    place, fence = asked(client, study)
    key = {"Idempotency-Key": "k1"}
    first, second = (upload(client, place, b"x", fence=fence, name="a", headers=key).json() for _ in range(2))
    assert first == second
    upload(client, place, b"x", fence=fence, name="a", headers={"Idempotency-Key": "k2"})
    upload(client, place, b"x", fence=fence, name="a")
    assert len(client.get(place).json()["items"]) == 3
    page = client.get(place, params={"limit": 2}).json()
    rest = client.get(place, params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert len({item["id"] for item in [*page["items"], *rest["items"]]}) == 3


def test_what_is_refused_leaves_nothing(client: TestClient, study: str, settings: Settings, db: Database) -> None:
    place, fence = asked(client, study)
    check(upload(client, place, b"x", fence=fence + 1, name="a"), 404)
    check(upload(client, place, b"x", fence=fence, name="\x07"), 422)
    check(upload(client, place, b"x", fence=fence, name="../.."), 422)
    check(upload(client, place, b"x", fence=0, name="a"), 422)
    check(client.post(place, params={"fence": fence}, content=b"x"), 422)
    check(upload(client, place.replace("/trials/", "/trials/9"), b"x", fence=fence, name="a"), 404)
    small = settings.model_copy(update={"artifact_max_bytes": 10})
    with TestClient(create_app(small, db), base_url="http://localhost") as narrow:
        for body in (b"x" * 11, iter([b"x" * 6, b"x" * 6])):
            assert "HPO_ARTIFACT_MAX_BYTES" in check(upload(narrow, place, body, fence=fence, name="a"), 413)["remedy"]
    assert client.get(place).json()["items"] == []
    root = Path(settings.resolved_artifacts)
    assert not root.exists() or not any(path.is_file() for path in root.rglob("*"))


def test_another_attempts_artifact_is_refused(client: TestClient, study: str, db: Database) -> None:
    clock = [1_800_000_000 * 1_000_000]
    db.clock = lambda: clock[0]
    place, fence = asked(client, study)
    clock[0] += 3600 * 1_000_000  # its lease is over
    (again,) = client.post(f"/api/v1/studies/{study}/ask", json={"client_id": "c2", "n": 1}).json()["trials"]
    assert again["fence"] == fence + 1
    check(upload(client, place, b"x", fence=fence, name="a"), 409)
    assert upload(client, place, b"x", fence=fence + 1, name="a").status_code == 201


def test_what_is_not_there(client: TestClient, study: str, settings: Settings) -> None:
    place, fence = asked(client, study)
    check(client.get(f"{place}/nothing"), 404)
    one = upload(client, place, b"x", fence=fence, name="a").json()
    for path in Path(settings.resolved_artifacts).rglob(one["id"]):
        path.unlink()
    assert "gone" in check(client.get(f"{place}/{one['id']}"), 404)["detail"]


def test_a_viewer_reads_and_a_runner_keeps(
    client: TestClient, study: str, open_client: TestClient, bearer: Callable[..., dict[str, str]]
) -> None:
    place, fence = asked(client, study)
    viewer, runner = bearer("viewer"), bearer("runner")
    assert upload(open_client, place, b"x", fence=fence, name="a").status_code == 401
    assert upload(open_client, place, b"x", fence=fence, name="a", headers=viewer).status_code == 403
    assert upload(open_client, place, b"x", fence=fence, name="a", headers=runner).status_code == 201
    elsewhere = bearer("runner", "other")
    assert upload(open_client, place, b"x", fence=fence, name="a", headers=elsewhere).status_code == 404
    assert open_client.get(place, headers=viewer).status_code == 200


@pytest.fixture
def in_memory(settings: Settings, db: Database) -> Iterator[TestClient]:
    elsewhere = settings.model_copy(update={"artifacts": "memory://api-artifacts"})
    with TestClient(create_app(elsewhere, db), base_url="http://localhost") as found:
        yield found


def test_an_object_store_serves_as_well_and_a_deleted_study_clears_it(in_memory: TestClient, study: str) -> None:
    place, fence = asked(in_memory, study)
    one = upload(in_memory, place, PNG, fence=fence, name="a.png").json()
    assert in_memory.get(f"{place}/{one['id']}").content == PNG
    doctor = in_memory.get("/api/v1/doctor").json()["checks"]
    assert next(c["ok"] for c in doctor if c["name"] == "artifacts")
    in_memory.post(f"/api/v1/studies/{study}/stop")
    assert in_memory.delete(f"/api/v1/studies/{study}").status_code == 204
    assert fsspec.filesystem("memory").find("/api-artifacts") == []


@given(st.text(max_size=80))
def test_a_disposition_is_one_line_of_ascii_that_saves(name: str) -> None:
    header = disposition(name)
    assert header.startswith('attachment; filename="')
    assert header.isascii()
    assert header.isprintable()
    assert header.count('"') == 2
    assert "/" not in header


def test_what_was_left_of_deleted_studies_goes_at_the_next_start(
    client: TestClient, study: str, settings: Settings, db: Database
) -> None:
    place, fence = asked(client, study)
    upload(client, place, b"x", fence=fence, name="a")
    other = client.post("/api/v1/studies", json=DEFINITION).json()["id"]
    elsewhere, other_fence = asked(client, other)
    upload(client, elsewhere, b"y", fence=other_fence, name="b")
    assert client.post(f"/api/v1/studies/{study}/stop").status_code == 200
    assert client.delete(f"/api/v1/studies/{study}").status_code == 204
    root = Path(settings.resolved_artifacts)
    late = root / study / "0" / ("a" * 32)
    late.parent.mkdir(parents=True)
    late.write_bytes(b"of a worker that did not know")
    (root / "somebody-elses").mkdir()
    server._finish_deletions(settings, db)
    assert sorted(path.name for path in root.iterdir()) == sorted([other, "somebody-elses"])
    assert len(client.get(elsewhere).json()["items"]) == 1
