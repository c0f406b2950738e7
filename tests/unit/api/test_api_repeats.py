"""The same study again over REST: its log replayed, its archive restored elsewhere, two things told apart."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hpo_service import replaying
from hpo_service.api.app import create_app
from hpo_service.api.routes import repeats
from hpo_service.bundles.building import from_files
from hpo_service.settings import Settings
from hpo_service.store import access
from hpo_service.store.database import open_database
from tests.unit.api.support import DEFINITION, check

OCTETS = {"Content-Type": "application/octet-stream"}


@pytest.fixture
def elsewhere(tmp_path: Path, empty_database: Path) -> Iterator[TestClient]:
    """Another installation."""
    settings = Settings(data=tmp_path / "elsewhere")
    settings.data.mkdir()
    shutil.copy(empty_database, settings.data / "hpo.db")
    db = open_database(settings.resolved_database_url)
    with TestClient(create_app(settings, db), base_url="http://localhost") as found:
        yield found
    db.close()


def submitted(client: TestClient, **changes: Any) -> str:
    answer = client.post("/api/v1/studies", json={**DEFINITION, **changes})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def trained(client: TestClient, **changes: Any) -> str:
    """A study of which every trial was told."""
    study = submitted(client, **changes)
    while True:
        answer = client.post(f"/api/v1/studies/{study}/ask", json={"client_id": "me", "n": 2}).json()
        if not answer["trials"]:
            return study
        for given in answer["trials"]:
            told = {"trial": given["trial"], "fence": given["fence"], "value": given["params"]["lr"]}
            assert client.post(f"/api/v1/studies/{study}/tell", json=told).status_code == 200


def archive_of(client: TestClient, study: str) -> bytes:
    answer = client.get(f"/api/v1/studies/{study}/archive")
    assert answer.status_code == 200, answer.text
    return bytes(answer.content)


def restored(client: TestClient, data: bytes) -> dict[str, Any]:
    answer = client.post("/api/v1/studies/restore", content=data, headers=OCTETS)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def digest_of(client: TestClient, study: str) -> str:
    return str(client.get(f"/api/v1/studies/{study}/digest").json()["digest"])


def changed(data: bytes, changes: Mapping[str, bytes | None]) -> bytes:
    """The archive with other members in the place of its own; None leaves one out."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w") as new:
        for name in {*old.namelist(), *changes}:
            content = changes[name] if name in changes else old.read(name)
            if content is not None:
                new.writestr(name, content)
    return made.getvalue()


def test_replayed_it_decides_alike(client: TestClient) -> None:
    study = trained(client)
    ends = time.monotonic() + 30
    found = client.get(f"/api/v1/studies/{study}/replay").json()
    while found["computing"] and time.monotonic() < ends:
        found = client.get(f"/api/v1/studies/{study}/replay").json()
    assert found["same"] is True
    assert found["proposals"] >= 6
    assert found["events"] == found["of"]
    assert found["differences"] == []


def test_a_study_that_moves_on_is_replayed_as_far_as_it_had_come(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replaying takes longer than a study under way takes for its next event: it would never be told of."""
    held, replay = threading.Event(), replaying.replay

    def slowly(*given: Any, **more: Any) -> replaying.Replayed:
        assert held.wait(30)
        return replay(*given, **more)

    monkeypatch.setattr(repeats, "WAIT_S", 0.05)
    monkeypatch.setattr(replaying, "replay", slowly)
    study = submitted(client)
    path = f"/api/v1/studies/{study}/replay"
    first = client.get(path).json()
    assert first["computing"]
    client.post(f"/api/v1/studies/{study}/ask", json={"client_id": "me"})
    assert client.get(path).json()["of"] > first["of"]
    held.set()
    monkeypatch.setattr(repeats, "WAIT_S", 30.0)
    told = client.get(path, params={"of": first["of"]}).json()
    assert not told["computing"]
    assert told["events"] >= told["of"] == first["of"]


def test_restored_elsewhere_it_is_the_same(client: TestClient, elsewhere: TestClient) -> None:
    study = trained(client)
    data = archive_of(client, study)
    manifest = json.loads(zipfile.ZipFile(io.BytesIO(data)).read("manifest.json"))
    assert manifest["digest"] == digest_of(client, study)
    assert manifest["rows"]["trials"] == 6
    found = restored(elsewhere, data)
    assert found["id"] == study
    assert digest_of(elsewhere, study) == manifest["digest"]
    for path in ("", "/trials", "/log", "/curves", "/trials/3"):
        here, there = (c.get(f"/api/v1/studies/{study}{path}").json() for c in (client, elsewhere))
        assert here == there, path
    # And it lives: its budget grows, and its algorithm goes on where it was.
    assert elsewhere.patch(f"/api/v1/studies/{study}", json={"budget": {"trials": 8}}).status_code == 200
    given = elsewhere.post(f"/api/v1/studies/{study}/ask", json={"client_id": "me", "n": 9}).json()["trials"]
    assert [one["trial"] for one in given] == [6, 7]


def test_restoring_it_where_it_is_changes_nothing(client: TestClient) -> None:
    study = trained(client)
    data = archive_of(client, study)
    assert restored(client, data)["id"] == study
    assert client.get("/api/v1/studies").json()["total"] == 1
    client.patch(f"/api/v1/studies/{study}", json={"notes": "changed since"})
    again = restored(client, data)["id"]  # the old one is another one by now
    assert again != study
    assert client.get("/api/v1/studies").json()["total"] == 2
    assert client.get(f"/api/v1/studies/{again}").json()["notes"] == ""


def test_a_study_under_way_is_not_archived(client: TestClient) -> None:
    study = submitted(client)
    client.post(f"/api/v1/studies/{study}/ask", json={"client_id": "me"})
    problem = check(client.get(f"/api/v1/studies/{study}/archive"), 409)
    assert "pause" in problem["detail"]


def test_code_goes_along(client: TestClient, elsewhere: TestClient) -> None:
    bundle = from_files({"train.py": b"def main(trial): ...\n"})
    client.post("/api/v1/bundles", content=bundle.archive, headers=OCTETS)
    trainer = {"function": "train:main", "bundle": bundle.digest}
    study = submitted(client, trainer=trainer)
    client.post(f"/api/v1/studies/{study}/stop")
    data = archive_of(client, study)
    assert restored(elsewhere, data)["definition"]["trainer"]["bundle"] == bundle.digest
    assert elsewhere.get(f"/api/v1/bundles/{bundle.digest}/archive").content == bundle.archive
    check(elsewhere.post("/api/v1/studies/restore", content=changed(data, _forged(bundle.digest)), headers=OCTETS), 422)


def _forged(digest: str) -> dict[str, bytes | None]:
    return {
        f"bundles/{digest}.zip": from_files({"train.py": b"import os\n"}).archive,
        "manifest.json": _manifest("other"),
    }


def _manifest(digest: str) -> bytes:
    return json.dumps({"format": 1, "study": "s" + "a" * 16, "digest": digest}).encode()


def test_code_needs_the_permission(client: TestClient, open_client: TestClient, db: Any) -> None:
    study = submitted(client, trainer={"function": "train:main"})
    client.post(f"/api/v1/studies/{study}/stop")
    data = archive_of(client, study)
    _, secret = access.create_token(db, name="editor", role="editor", project="default")
    headers = {**OCTETS, "Authorization": f"Bearer {secret}"}
    problem = check(open_client.post("/api/v1/studies/restore", content=data, headers=headers), 403)
    assert "may not submit" in problem["detail"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"manifest.json": None}, "manifest.json"),
        ({"manifest.json": b'{"format": 9}'}, "format"),
        ({"manifest.json": _manifest("0" * 64)}, "digest"),
        ({"study.json": b"[]"}, "JSON object"),
        ({"study.json": b"{}"}, "definition"),
        ({"tables/trials.jsonl": None}, "tables/trials.jsonl"),
        ({"tables/trials.jsonl": b"{}\n"}, "JSON array"),
        ({"tables/trials.jsonl": b"[1]\n"}, "values"),
        ({"tables/trials.jsonl": b"\xff\n"}, "JSON array"),
        ({"tables/trials.jsonl": b'["\xff"]\n'}, "zip file"),
        ({"tables/trials.jsonl": b""}, ""),
        ({"environments.jsonl": b'["0", "{}"]\n'}, "digest"),
    ],
)
def test_what_is_no_whole_archive_leaves_nothing_behind(
    changes: dict[str, bytes | None], words: str, client: TestClient, elsewhere: TestClient
) -> None:
    data = changed(archive_of(client, trained(client)), changes)
    problem = check(elsewhere.post("/api/v1/studies/restore", content=data, headers=OCTETS))
    assert problem["status"] in (409, 422)
    assert words in problem["detail"]
    assert elsewhere.get("/api/v1/studies").json()["total"] == 0


@pytest.mark.parametrize("data", [b"", b"no zip", hashlib.sha256(b"x").digest() * 100])
def test_what_is_no_archive_is_refused(data: bytes, client: TestClient) -> None:
    check(client.post("/api/v1/studies/restore", content=data, headers=OCTETS), 422)


def test_two_trials_told_apart(client: TestClient) -> None:
    study = trained(client)
    found = client.get("/api/v1/diff", params={"a": f"{study}/0", "b": f"{study}/1"}).json()
    assert not found["same"]
    paths = {name: [one["path"] for one in section] for name, section in found["sections"].items()}
    assert "lr" in paths["configuration"]
    assert "seed" in paths["training"]
    assert "value" in paths["result"]
    assert "definition" not in paths
    assert any("recorded" in note for note in found["notes"])  # external workers told nothing of themselves
    same = client.get("/api/v1/diff", params={"a": f"{study}/0", "b": f"{study}/0"}).json()
    assert same["same"]
    assert same["sections"] == {}


def test_two_studies_told_apart_with_their_code(client: TestClient) -> None:
    codes = [from_files({"train.py": f"LR = {n}\n".encode(), "same.py": b"pass\n"}) for n in (1, 2)]
    for code in codes:
        client.post("/api/v1/bundles", content=code.archive, headers=OCTETS)
    a, b = (
        submitted(client, name=f"s{n}", seed=n, trainer={"function": "train:main", "bundle": code.digest})
        for n, code in enumerate(codes)
    )
    found = client.get("/api/v1/diff", params={"a": "s0", "b": b}).json()
    assert [one["path"] for one in found["sections"]["definition"]] == ["seed", "trainer.bundle"]
    assert [file["name"] for file in found["files"]] == ["train.py"]
    assert "-LR = 1" in found["files"][0]["diff"]
    assert "+LR = 2" in found["files"][0]["diff"]
    check(client.get("/api/v1/diff", params={"a": a, "b": f"{b}/0"}), 404)


def test_a_trial_and_a_study_are_not_compared(client: TestClient) -> None:
    study = trained(client)
    check(client.get("/api/v1/diff", params={"a": study, "b": f"{study}/0"}), 422)
    check(client.get("/api/v1/diff", params={"a": study, "b": "nothing"}), 404)
