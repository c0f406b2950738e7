"""The installation at a glance: workers, shares, failures, and what callers of one project may see of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from hpo_service.api.access import LOCAL
from hpo_service.api.cluster import FRESH_S, Glance
from hpo_service.store import workers
from hpo_service.store.database import Database
from hpo_service.store.rows import WorkerRow
from hpo_service.store.tables import attempts
from tests.storelib import World


def _worker(db: Database, name: str, *, node: str = "n1", state: str = "busy", **detail: Any) -> None:
    row = WorkerRow(
        id=name, node=node, state=state, device="cuda" if detail else "cpu", cpu=2.0, gpu=1.0 if detail else 0.0,
        detail=detail, controller="c", seen_at=datetime.now(UTC),
    )  # fmt: skip
    workers.see_workers(db, [row])


@pytest.fixture
def busy(db: Database) -> tuple[World, World]:
    """Two studies of two projects on three workers of two nodes; one trial failed."""
    mine = World(db, name="mine", priority=3.0, trainer={"function": "my.train:train"})
    theirs = World(db, name="theirs", project="other", trainer={"function": "my.train:train"})
    mine.start(2)
    mine.collect(mine.started(0), mine.started(1))
    mine.collect(mine.ended(1, "failed", failure="error", reason="boom"))
    theirs.start(1)
    theirs.collect(theirs.started(0))
    minute = {attempts.c.started_at: attempts.c.started_at - 60_000_000}
    db.run_write("test", lambda tx: tx.execute(update(attempts).values(minute)))
    _worker(db, "w1", gpu_name="H200", gpu_memory_bytes=7, pid=1)
    _worker(db, "w2", state="idle")
    _worker(db, "w3", node="n2")
    return mine, theirs


def test_workers_nodes_and_shares(client: TestClient, busy: tuple[World, World]) -> None:
    mine, theirs = busy
    found = client.get("/api/v1/cluster").json()
    assert found["nodes"] == [
        {
            "node": "n1", "workers": 2, "busy": 1, "cpu": 4.0, "gpu": 1.0,
            "gpus": [{"name": "H200", "memory_bytes": 7}],
        },
        {"node": "n2", "workers": 1, "busy": 1, "cpu": 2.0, "gpu": 0.0, "gpus": []},
    ]  # fmt: skip
    one, two, three = found["workers"]
    assert {(r["study_name"], r["trial"], r["fence"]) for r in one["running"]} == {("mine", 0, 1), ("theirs", 0, 1)}
    assert 0 < one["utilisation"] <= 1
    assert (two["utilisation"], two["running"]) == (0.0, [])
    assert three["utilisation"] == 1.0, "nothing is known of it but that it is busy"
    assert {s["name"]: (s["share"], s["open"]) for s in found["studies"]} == {"mine": (0.75, 1), "theirs": (0.25, 1)}
    (failure,) = found["failures"]
    assert (failure["study"], failure["trial"], failure["worker"]) == (mine.id, 1, "w1")
    assert failure["reason"] == "error: boom"
    assert found["seq"] == mine.study.last_seq + theirs.study.last_seq


def test_another_project_sees_that_something_runs_but_not_what(
    open_client: TestClient, bearer: Callable[..., dict[str, str]], busy: tuple[World, World]
) -> None:
    answer = open_client.get("/api/v1/cluster", headers=bearer("viewer", "other"))
    found = answer.json()
    assert [s["name"] for s in found["studies"]] == ["theirs"]
    assert found["studies"][0]["share"] == 0.25
    assert found["failures"] == []
    hidden = [r for r in found["workers"][0]["running"] if r["study"] is None]
    assert len(hidden) == 1
    assert hidden[0]["study_name"] is hidden[0]["trial"] is hidden[0]["fence"] is None
    assert busy[0].id not in answer.text
    assert "mine" not in answer.text


def test_an_empty_installation(client: TestClient) -> None:
    found = client.get("/api/v1/cluster").json()
    assert found == {"seq": 0, "nodes": [], "workers": [], "studies": [], "failures": []}


def test_external_studies_share_nothing(client: TestClient, study: str) -> None:
    (found,) = client.get("/api/v1/cluster").json()["studies"]
    assert (found["id"], found["share"]) == (study, 0.0)


def test_the_facts_are_read_once_a_second(db: Database) -> None:
    now = [0.0]
    glance = Glance(db, clock=lambda: now[0])
    assert glance.at(LOCAL).workers == []
    _worker(db, "w1")
    assert glance.at(LOCAL).workers == []
    now[0] += FRESH_S
    assert [w.id for w in glance.at(LOCAL).workers] == ["w1"]
