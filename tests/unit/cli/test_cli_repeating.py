"""Commands about the same study again: what they ask the server for and what they print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from hpo_service.client import Client
from hpo_service.client.protocol import Exchange, Reply, Sleep
from hpo_service.client.repeats import replay
from tests.unit.cli.conftest import Run
from tests.unit.client.sdk_fake_server import FakeServer

DIGEST = "d" * 64
SAME: dict[str, Any] = {
    "computing": False, "of": 40, "events": 40, "same": True, "algorithm": "asha", "version": 2, "decisions": 9,
    "by_hand": 1, "proposals": 30, "differing": 0, "differences": [],
}  # fmt: skip


def test_a_replay_is_asked_for_until_it_is_there(server: FakeServer) -> None:
    server.add_study("st_1", "a")
    program = replay(Client("http://server:8421", transport=server.transport()).study("st_1"))
    assert isinstance(next(program), Exchange)
    waiting = program.send(Reply(status=200, body=b'{"computing": true, "events": 7, "of": 40}'))
    assert isinstance(waiting, Sleep)
    again = program.send(None)
    assert isinstance(again, Exchange)
    assert ("of", "40") in again.request.query  # of a study under way, what it was when it was asked for
    with pytest.raises(StopIteration) as ended:
        program.send(Reply(status=200, body=json.dumps(SAME).encode()))
    assert ended.value.value.same


def test_a_replay_that_is_the_same(run: Run, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    server.answers["GET /studies/st_1/replay"] = httpx.Response(200, json=SAME)
    done = run("replay", "a")
    assert done.exit_code == 0, done.output
    assert "the same: asha (version 2) decides alike in all of 9 decisions with 30 proposals" in done.stdout
    assert "1 more were decided by hand" in done.stdout


def test_a_replay_that_differs_exits_with_1_and_says_where(run: Run, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    one = {
        "decision": 4, "seq": 12, "stored": [{"kind": "start", "trial": 3}], "now": [],
        "cause": "decided by version 1 of asha; this is version 2",
    }  # fmt: skip
    told = {**SAME, "same": False, "differing": 22, "differences": [one]}
    server.answers["GET /studies/st_1/replay"] = httpx.Response(200, json=told)
    done = run("replay", "a")
    assert done.exit_code == 1
    for part in ("NOT the same: 22 of 9 decisions", "decision 4 (event 12): decided by version 1", "and 21 more"):
        assert part in done.stdout, part


def test_archive_and_restore(run: Run, server: FakeServer, tmp_path: Path) -> None:
    server.add_study("st_1", "a")
    server.answers["GET /studies/st_1/archive"] = httpx.Response(200, content=b"PK...")
    server.answers["GET /studies/st_1/digest"] = httpx.Response(200, json={"digest": DIGEST})
    path = tmp_path / "a.hpo"
    done = run("archive", "a", "-o", str(path))
    assert done.exit_code == 0, done.output
    assert path.read_bytes() == b"PK..."
    assert DIGEST in done.stdout
    server.answers["POST /studies/restore"] = httpx.Response(201, json=server.studies["st_1"])
    done = run("restore", str(path))
    assert done.exit_code == 0, done.output
    assert "restored a as st_1" in done.stdout
    assert server.last("POST").content == b"PK..."
    assert server.last("POST").headers["content-type"] == "application/octet-stream"
    missing = run("restore", str(tmp_path / "nothing"))
    assert missing.exit_code == 1
    assert "can be read" in missing.stderr


def test_diff_shows_subjects_and_code(run: Run, server: FakeServer) -> None:
    told = {
        "a": "a/1", "b": "a/2", "same": False, "notes": ["the commits differ: git diff x y"],
        "sections": {"configuration": [{"path": "lr", "values": [0.1, None]}]},
        "files": [{"name": "train.py", "diff": "--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-LR = 1\n+LR = 2"}],
    }  # fmt: skip
    server.answers["GET /diff"] = httpx.Response(200, json=told)
    done = run("diff", "a/1", "a/2")
    assert done.exit_code == 0, done.output
    for part in ("configuration", "lr", "0.1", "–", "+LR = 2", "git diff x y"):
        assert part in done.stdout, part
    assert dict(server.last("GET").url.params) == {"a": "a/1", "b": "a/2"}
    assert json.loads(run("diff", "a/1", "a/2", "--json").stdout)["files"][0]["name"] == "train.py"
