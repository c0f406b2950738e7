"""Texts told apart: the diff makes one of the other, and nothing takes long over it."""

from __future__ import annotations

import io
import random
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from hpo_service import storage
from hpo_service.api import differing, diffs
from hpo_service.api.access import LOCAL
from hpo_service.api.diffs import Diffs
from hpo_service.bundles.building import from_files
from hpo_service.settings import Settings
from tests.unit.api.support import DEFINITION, check

LINES = st.lists(st.sampled_from(["a", "b", "c", "@@ x", "-", "+1"]), max_size=40)


def applied(diff: str, one: list[str]) -> list[str]:
    """`one` with the diff applied, each hunk where its heading says."""
    found: list[str] = []
    at = 0
    for line in diff.split("\n")[2:] if diff else []:
        heading = re.fullmatch(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@", line)
        if heading:
            start, size = int(heading[1]), int(heading[2] or 1)
            begins = start - 1 if size else start
            found += one[at:begins]
            at = begins
        elif line[0] == "+":
            found.append(line[1:])
        else:
            assert one[at] == line[1:]
            at += 1
            found += [line[1:]] if line[0] == " " else []
    return found + one[at:]


@given(LINES, LINES, LINES, LINES)
def test_a_diff_makes_one_of_the_other(before: list[str], one: list[str], other: list[str], behind: list[str]) -> None:
    """However much is the same before and behind, which is left out before anything is compared."""
    first, second = before + one + behind, before + other + behind
    diff = Diffs().of("x", "\n".join(first), "\n".join(second))
    assert applied(diff, "\n".join(first).splitlines()) == "\n".join(second).splitlines()


def test_a_change_in_a_long_file_is_told() -> None:
    lines = [f"line {n}" for n in range(200_000)]
    diff = Diffs().of("x", "\n".join(lines), "\n".join([*lines[:150_000], "new", *lines[150_000:]]))
    assert "@@ -149998,6 +149998,7 @@" in diff
    assert "\n+new\n" in diff


def test_what_would_take_minutes_is_told_by_its_length() -> None:
    """Many lines that are alike, a tenth of them changed: difflib takes the cube of their number."""
    drawn = random.Random(1)
    one = [str(drawn.randrange(150)) for _ in range(16_000)]
    other = [f"y{n}" if n % 10 == 0 else line for n, line in enumerate(one)]
    assert Diffs().of("x", "\n".join(one), "\n".join(other)).startswith("(differs: 16000 lines, and 16000;")


def test_what_an_answer_compares_is_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diffs, "MOST_EFFORT", 30)
    found = Diffs()
    told = [found.of("x", "a\nb", "a\nc") for _ in range(9)]
    assert "+c" in told[0]
    assert told[-1].startswith("(differs: ")


def two_studies(client: TestClient, *contents: dict[str, bytes]) -> list[str]:
    digests = []
    for n, files in enumerate(contents):
        code = from_files(files)
        headers = {"Content-Type": "application/zip"}
        client.post("/api/v1/bundles", content=code.archive, headers=headers)
        trainer = {"function": "train:main", "bundle": code.digest}
        client.post("/api/v1/studies", json={**DEFINITION, "name": f"s{n}", "trainer": trainer})
        digests.append(code.digest)
    return digests


def compared(client: TestClient, a: str = "s0", b: str = "s1") -> dict[str, Any]:
    answer = client.get("/api/v1/diff", params={"a": a, "b": b})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_files_that_are_no_text_or_only_in_one_are_told(client: TestClient) -> None:
    mine = {"train.py": b"x = 1\n", "same.bin": b"\xff" * 9, "data.bin": b"\xff\x00"}
    two_studies(client, mine, {**mine, "data.bin": b"\xff\x01", "more.py": b"y = 2\n"})
    found = {file["name"]: file["diff"] for file in compared(client)["files"]}
    assert set(found) == {"data.bin", "more.py"}
    assert "no text" in found["data.bin"]
    assert "+y = 2" in found["more.py"]


def test_a_bundle_damaged_in_the_storage_is_no_failure(client: TestClient, settings: Settings) -> None:
    _, digest = two_studies(client, {"train.py": b"x = 1\n" * 99}, {"train.py": b"x = 2\n" * 99})
    path = Path(settings.resolved_storage / storage.bundle_path(digest))
    made = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    data = bytearray(made.getvalue())
    at = data.rindex(b"own-code/train.py", 0, data.index(b"PK\1\2")) + len("own-code/train.py")
    data[at : at + 4] = b"\xff\xff\xff\xff"  # no deflated block begins like this
    path.write_bytes(data)
    found = compared(client)
    assert "damaged" in found["files"][0]["diff"]


def test_a_number_beyond_all_trials_names_none(client: TestClient, study: str) -> None:
    check(client.get("/api/v1/diff", params={"a": f"{study}/{10**30}", "b": f"{study}/0"}), 404)


def test_what_is_recorded_of_one_alone_is_no_difference(client: TestClient, study: str) -> None:
    """A study that never ran is not told apart by every package that the other one had."""
    shared = cast(FastAPI, client.app).state.shared
    a = differing.side(shared, LOCAL, study)
    recorded = {"code": {"entry_point": "train:main"}, "data": {"rows": 9}, "packages": {"numpy": "2.4.6"}}
    found = differing.compare(shared, replace(a, environment=recorded), a)
    assert found.sections == {}
    assert any("nothing is recorded of where" in note for note in found.notes)
    other = replace(a, environment={**recorded, "packages": {"numpy": "2.4.7"}})
    assert set(differing.compare(shared, replace(a, environment=recorded), other).sections) == {"environment"}
