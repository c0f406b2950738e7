"""Archives that were written by somebody else: what they would plant is refused, and nothing of it stays."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hpo_service.api import archives, unpacking
from hpo_service.api.app import create_app
from hpo_service.settings import Settings
from hpo_service.store import archiving
from hpo_service.store.archive_checks import columns_of
from hpo_service.store.database import Database, open_database
from hpo_service.store.tables import metadata, studies
from tests.unit.api.support import check
from tests.unit.api.test_api_repeats import OCTETS, archive_of, changed, trained

Members = dict[str, Any]


def _installation(folder: Path, empty: Path) -> Iterator[TestClient]:
    shutil.copy(empty, folder / "hpo.db")
    settings = Settings(data=folder)
    db = open_database(settings.resolved_database_url)
    with TestClient(create_app(settings, db), base_url="http://localhost") as found:
        yield found
    db.close()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[TestClient]:
    """Another installation, of all tests here: each of them leaves nothing there."""
    yield from _installation(tmp_path_factory.mktemp("elsewhere"), empty_database)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> bytes:
    """An archive of a study that ended."""
    for found in _installation(tmp_path_factory.mktemp("here"), empty_database):
        data = archive_of(found, trained(found))
    return data


def members_of(data: bytes) -> Members:
    """What is in the archive, tables as lists of rows by column."""
    found: Members = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found["manifest"] = json.loads(archive.read("manifest.json"))
        found["study"] = json.loads(archive.read("study.json"))
        for table in archiving.TABLES:
            lines = archive.read(f"tables/{table.name}.jsonl").splitlines()
            # Columns that came later are left out where they hold nothing.
            found[table.name] = [dict(zip(columns_of(table), json.loads(line), strict=False)) for line in lines]
    return found


def forged(data: bytes, forge: Callable[[Members], object]) -> bytes:
    """The archive changed by `forge`, with the digest that it should have then."""
    members = members_of(data)
    forge(members)
    digest = archiving.Digest(members["study"])
    new: dict[str, bytes | None] = {"study.json": json.dumps(members["study"]).encode()}
    for table in archiving.TABLES:
        rows = [list(row.values()) for row in members[table.name]]
        for row in rows:
            digest.take(table, row)
        new[f"tables/{table.name}.jsonl"] = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    members["manifest"]["digest"] = digest.hexdigest()
    return changed(data, {**new, "manifest.json": json.dumps(members["manifest"]).encode()})


def refused(client: TestClient, data: bytes, words: str = "") -> None:
    """It is said what is wrong and what to do, and nothing is left."""
    problem = check(client.post("/api/v1/studies/restore", content=data, headers=OCTETS))
    assert problem["status"] in (409, 422)
    assert words in problem["detail"]
    assert problem.get("remedy") or problem["errors"][0]["remedy"]
    assert client.get("/api/v1/studies").json()["total"] == 0


def test_the_forger_of_these_tests_is_believed_where_nothing_is_wrong(honest: bytes, elsewhere: TestClient) -> None:
    data = forged(honest, lambda m: m["study"].update(notes="changed"))
    answer = elsewhere.post("/api/v1/studies/restore", content=data, headers=OCTETS)
    assert answer.status_code == 201, answer.text
    assert elsewhere.delete(f"/api/v1/studies/{answer.json()['id']}").status_code == 204


CODE = {"function": "os:system", "external": False}


def _with_code(members: Members, index: int) -> None:
    event = members["events"][index]
    payload = json.loads(event["payload"])
    payload["definition"]["trainer"] |= CODE
    event["payload"] = json.dumps(payload)


def _behind_the_end(members: Members) -> None:
    """The log that is folded has code; what is told behind its end has the definition that was looked at."""
    good = dict(members["events"][0], seq=members["study"]["last_seq"] + 1, kind="definition_changed")
    payload = {**json.loads(good["payload"]), "space_version": 1, "changed": [], "reason": ""}
    _with_code(members, 0)
    members["events"].append({**good, "payload": json.dumps(payload)})


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (lambda m: m["study"].update(state="running"), "at rest"),
        (lambda m: m["study"].update(state="preflight"), "at rest"),
        (lambda m: m["study"].update(state="banana"), "at rest"),
        (lambda m: m["study"].update(open_attempts=1), "attempt open"),
        (lambda m: m["study"].update(external=False), "true"),
        (lambda m: m["study"].update(priority=1e9), "true"),
        (lambda m: m["study"].update(parallel=10**9), "true"),
        (lambda m: m["study"].update(retries=10**9), "true"),
        (lambda m: m["study"].update(confirms="s" + "b" * 16), "true"),
        (lambda m: m["study"].update(objectives="[]"), "true"),
        (lambda m: m["study"].update(objectives="no json"), "read"),
        (lambda m: m["study"].update(tags="no json"), "read"),
        (lambda m: m["study"].update(created_at=2**62), "read"),
        (lambda m: m["study"].update(notes="\0"), "NUL"),
        (lambda m: m["study"].update(priority=1e999), "finite"),
        (lambda m: m["trials"][0].update(state="running"), "at rest"),
        (lambda m: m["trials"][0].update(origin="hell"), "words"),
        (lambda m: m["attempts"][0].update(state="open"), "at rest"),
        (lambda m: m["trials"][0].update(reason="\0"), "NUL"),
        (lambda m: _with_code(m, 0), "definition"),
        (_behind_the_end, "log ends with"),
        (lambda m: m["events"].reverse(), "without gaps"),
        (lambda m: m["events"].pop(), "log ends with"),
        (lambda m: m["events"][0].update(payload="{}"), "has none"),
    ],
)
def test_what_would_plant_something_is_refused(
    forge: Callable[[Members], object], words: str, honest: bytes, elsewhere: TestClient
) -> None:
    refused(elsewhere, forged(honest, forge), words)


def test_a_log_that_makes_no_sense_leaves_nothing(honest: bytes, elsewhere: TestClient) -> None:
    def forge(members: Members) -> None:
        members["manifest"]["study"] = "s" + "c" * 16
        members["events"][-1]["kind"] = "unheard_of"

    refused(elsewhere, forged(honest, forge), "folded")


def _rows(data: bytes, name: str, change: Callable[[list[Any]], object]) -> dict[str, bytes | None]:
    lines = zipfile.ZipFile(io.BytesIO(data)).read(name).splitlines()
    row = json.loads(lines[0])
    change(row)
    return {name: b"\n".join([json.dumps(row).encode(), *lines[1:]]) + b"\n"}


@pytest.mark.parametrize("value", [2**63, -(2**70), float("nan"), float("inf"), "\ud800"])
def test_what_no_column_holds_is_refused(value: Any, honest: bytes, elsewhere: TestClient) -> None:
    """Integers for a real column, numbers that are none, halves of characters: databases would trip over them."""
    place = columns_of(archiving.TABLES[2]).index("spent_resource")
    name = "tables/improvements.jsonl"
    refused(elsewhere, changed(honest, _rows(honest, name, lambda row: row.__setitem__(place, value))))
    refused(elsewhere, changed(honest, _rows(honest, name, lambda row: row.__setitem__(0, value))))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tables/trials.jsonl": b"[" + b"[]," * 999 + b"[]]\n"}, "plain values"),
        ({"tables/trials.jsonl": b"[" * 100_000 + b"]" * 100_000}, "plain values"),
        ({"study.json": b'{"definition":' + b"[" * 100_000 + b"]" * 100_000 + b"}"}, "zip file"),
        ({"study.json": json.dumps({"definition": "[" * 100_000}).encode()}, "definition"),
        ({"study.json": b" " * (5 << 20)}, "at most"),
        ({"environments.jsonl": b'["0"]\n'}, "digest and a text"),
        ({"environments.jsonl": b'["0", "\\u0000"]\n'}, "NUL"),
        ({"texts.jsonl": b'["' + b"0" * 64 + b'", "\\ud800"]\n'}, "halves"),
        ({"texts.jsonl": b'["0", "\\ufffd"]\n'}, "SHA-256"),
        ({f"more/{n}": b"" for n in range(900)}, "members"),
    ],
)
def test_what_would_take_the_server_down_is_refused(
    changes: dict[str, bytes | None], words: str, honest: bytes, elsewhere: TestClient
) -> None:
    refused(elsewhere, changed(honest, changes), words)


def test_a_study_without_all_its_columns_is_refused(honest: bytes, elsewhere: TestClient) -> None:
    study = members_of(honest)["study"]
    del study["best_trial"]
    refused(elsewhere, changed(honest, {"study.json": json.dumps(study).encode()}), "best_trial")


def test_a_damaged_member_is_refused(honest: bytes, elsewhere: TestClient) -> None:
    with zipfile.ZipFile(io.BytesIO(honest)) as archive:
        at = archive.getinfo("tables/events.jsonl").header_offset + 30 + len("tables/events.jsonl")
    data = bytearray(honest)
    at += int.from_bytes(data[at - len("tables/events.jsonl") - 2 : at - len("tables/events.jsonl")], "little")
    data[at : at + 4] = b"\xff\xff\xff\xff"  # no deflated block begins like this
    refused(elsewhere, bytes(data), "zip file")


def test_long_rows_are_written_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch, db: Database) -> None:
    """Thousands of rows of megabytes each come out of a small archive."""
    monkeypatch.setattr(archiving, "CHARACTERS", 100)
    written: list[int] = []

    def write(name: str, work: Callable[[Any], object]) -> None:
        class Rows:
            def insert(self, table: Any, columns: Any, rows: list[Any], **_: Any) -> None:
                written.append(len(rows))

        work(Rows())

    monkeypatch.setattr(db, "run_write", write)
    table = metadata.tables["study_tags"]

    def rows() -> Iterator[list[str]]:
        for _ in range(10):
            yield ["x" * 60]

    assert archiving.put(db, "s", table, rows()) == 10
    assert written == [2, 2, 2, 2, 2]


def test_a_confirmation_shows_no_other_projects_study(
    client: TestClient, open_client: TestClient, bearer: Callable[..., dict[str, str]]
) -> None:
    search = trained(client, project="theirs")
    begun = client.post(f"/api/v1/studies/{search}/confirmations", json={"top": 2, "seeds": 2})
    assert begun.status_code == 201, begun.text
    confirmation = begun.json()["id"]
    assert client.post(f"/api/v1/studies/{confirmation}/stop").status_code == 200

    def mine(members: Members) -> None:
        members["manifest"]["study"] = "s" + "a" * 16
        definition = {**json.loads(members["study"]["definition"]), "project": "mine"}
        members["study"]["definition"] = json.dumps(definition)
        event = members["events"][0]
        event["payload"] = json.dumps({"definition": definition})

    data = forged(archive_of(client, confirmation), mine)
    headers = {**OCTETS, **bearer("editor", "mine")}
    problem = check(open_client.post("/api/v1/studies/restore", content=data, headers=headers), 422)
    assert "project" in problem["detail"]
    assert len(client.get(f"/api/v1/studies/{search}/confirmations").json()["items"]) == 1


def test_every_table_of_studies_is_carried_or_said_to_be_left_out(honest: bytes) -> None:
    of_studies = {table.name for table in metadata.sorted_tables if "study_id" in table.c}
    carried = {table.name for table in archiving.TABLES}
    left_out = set(members_of(honest)["manifest"]["left_out"])
    assert of_studies == carried | (left_out & of_studies)
    assert not carried & left_out
    assert set(columns_of(studies)) >= {"confirms", "imported", "external", "notes", "tags"}


def test_an_archive_has_few_members(honest: bytes, tmp_path: Path) -> None:
    """Or its own could be refused."""
    with zipfile.ZipFile(io.BytesIO(honest)) as archive:
        assert len(archive.namelist()) < unpacking.MOST_MEMBERS / 2
        assert {archives.MANIFEST, archives.STUDY} <= set(archive.namelist())
