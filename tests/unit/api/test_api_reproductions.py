"""Records of trials, and asking for a trial to be trained again: what is served, to whom, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from hpo_service.store import reproductions
from hpo_service.store.database import Database
from hpo_service.store.rows import Placement, StartedItem
from tests.storelib import World
from workers import record

ENVIRONMENT: dict[str, Any] = {
    "python": "3.12.1",
    "packages": {"numpy": "2.1.0"},
    "code": {"entry_point": "m:train", "sha256": "1", "git": {"commit": "c" * 40, "diff_sha256": "d" * 64}},
    "texts": {"d" * 64: "+a changed line\n"},
}


@pytest.fixture
def world(db: Database) -> World:
    """A study of a function; trial 0 trained in two attempts, trial 1 in training, trial 2 of a client's own."""
    made = World(db, trainer={"function": "m:train"})
    made.start(2, target=3.0)
    for item in (*[made.report(0, s, 0.5 / (s + 1)) for s in range(3)], made.report(1, 0, float("inf"))):
        made.collect(item)
    made.collect(made.started(0, environment=ENVIRONMENT), made.ended(0, resource=3.0))
    made.go_on(0, target=9.0)
    resumed = StartedItem(
        study_id=made.id, trial=0, fence=2, worker_id="w", node="n", device="cpu", resumed_from=3.0,
        environment=ENVIRONMENT, resumed_path=f"checkpoints/{made.id}/0/1-2.pt",
    )  # fmt: skip
    made.collect(resumed, made.report(0, 3, 0.1 + 0.2, fence=2), made.ended(0, fence=2, resource=9.0))
    made.finish(0)
    made.commit([*_starts(2)], placements={2: Placement(client_id="alice", lease_s=60.0)})
    return made


def _starts(number: int) -> list[Any]:
    from tests.storelib import start

    return [start(number)]


def place(world: World, number: int, rest: str) -> str:
    return f"/api/v1/studies/{world.id}/trials/{number}/{rest}"


def test_a_record_holds_what_training_again_needs(client: TestClient, world: World) -> None:
    answer = client.get(place(world, 0, "record"))
    assert answer.status_code == 200
    told = answer.json()
    read = record.read(told)
    assert read.trainer.function == "m:train"
    assert [(s.fence, s.target, s.horizon >= s.target) for s in read.segments] == [(1, 3.0, True), (2, 9.0, True)]
    assert [s.resumed for s in read.segments] == [None, record.Source(trial=0, fence=1, step=2)]
    assert [(p.step, p.fence) for p in read.curve] == [(0, 1), (1, 1), (2, 1), (3, 2)]
    assert read.curve[3].metrics == {"loss": 0.1 + 0.2}, "every bit"
    assert [(r.segment.fence, r.until, r.keeps) for r in record.runs(read)] == [(1, 2, True), (2, 3, False)]
    assert dict(read.texts) == {"d" * 64: "+a changed line\n"}
    assert all("texts" not in environment for environment in read.environments.values())
    assert (told["format"], told["version"]) == (record.FORMAT, record.VERSION)


def test_non_finite_reports_are_words(client: TestClient, world: World) -> None:
    told = client.get(place(world, 1, "record")).json()
    assert told["curve"][0]["metrics"] == {"loss": "Infinity"}
    assert record.read(told).curve[0].metrics == {"loss": float("inf")}


def test_asking_gives_a_reproduction_that_waits_and_asking_again_the_same(client: TestClient, world: World) -> None:
    made = client.post(place(world, 0, "reproductions"))
    assert made.status_code == 201
    told = made.json()
    assert (told["state"], told["trial"], told["equal"], told["cost_microdollars"]) == ("waiting", 0, None, 0)
    assert client.post(place(world, 0, "reproductions")).json()["id"] == told["id"]
    assert [one["id"] for one in client.get(place(world, 0, "reproductions")).json()["items"]] == [told["id"]]
    assert client.get(place(world, 0, f"reproductions/{told['id']}")).json() == told
    assert client.get(place(world, 1, f"reproductions/{told['id']}")).status_code == 404


def test_what_was_compared_is_served(client: TestClient, world: World) -> None:
    told = client.post(place(world, 0, "reproductions")).json()
    reproductions.take(world.db, "c1", lease_s=60, most=1)
    document = {"equal": False, "verdict": "Not the same: …", "now": {"python": "3"}, "hints": ["look"]}
    assert reproductions.end(world.db, "c1", told["id"], document=document, seconds=2.0, cost_microdollars=22)
    found = client.get(place(world, 0, f"reproductions/{told['id']}")).json()
    assert (found["state"], found["equal"], found["verdict"]) == ("done", False, "Not the same: …")
    assert (found["seconds"], found["cost_microdollars"], found["document"]) == (2.0, 22, document)
    (listed,) = client.get(place(world, 0, "reproductions")).json()["items"]
    assert "now" not in listed["document"]
    assert client.post(place(world, 0, "reproductions")).json()["id"] != told["id"], "a new one"


def test_what_cannot_be_trained_again_is_refused_with_the_reason(client: TestClient, world: World) -> None:
    for number, words in ((1, "in training"), (2, "client of its own")):
        refused = client.post(place(world, number, "reproductions"))
        assert refused.status_code == 409
        assert words in refused.json()["detail"]
    assert client.get(place(world, 2, "record")).status_code == 409
    assert client.post(place(world, 99, "reproductions")).status_code == 404


def test_the_same_key_is_the_same_reproduction(client: TestClient, world: World) -> None:
    first, second = (
        client.post(place(world, 0, "reproductions"), headers={"Idempotency-Key": "k"}).json()["id"] for _ in range(2)
    )
    assert first == second


def test_code_needs_its_permission(
    open_client: TestClient, world: World, bearer: Callable[..., dict[str, str]]
) -> None:
    viewer, runner = bearer("viewer"), bearer("runner")
    assert open_client.get(place(world, 0, "record"), headers=viewer).status_code == 200
    assert open_client.post(place(world, 0, "reproductions"), headers=viewer).status_code == 403
    refused = open_client.post(place(world, 0, "reproductions"), headers=runner)
    assert refused.status_code == 403
    assert "may not submit" in refused.json()["detail"]
    may = bearer("runner", may_submit_code=True)
    assert open_client.post(place(world, 0, "reproductions"), headers=may).status_code == 201
    elsewhere = bearer("admin", project="other")
    assert open_client.get(place(world, 0, "reproductions"), headers=elsewhere).status_code == 404


@pytest.mark.parametrize(
    ("trainer", "words"),
    [
        ({"function": "m:train", "pip": ["timm==1.0.15"]}, "HPO_ALLOW_PIP"),
        ({"function": "m:train", "bundle": "b" * 64}, "upload"),
    ],
)
def test_what_could_not_run_any_more_is_refused_at_once(
    trainer: dict[str, Any], words: str, client: TestClient, db: Database
) -> None:
    """Packages that studies may no longer install would be installed, and code that is gone be missed by a worker."""
    made = World(db, trainer=trainer)
    made.start(1)
    made.collect(made.started(0), made.report(0, 0, 0.5), made.ended(0))
    refused = client.post(place(made, 0, "reproductions"))
    assert refused.status_code == 422
    assert words in refused.json()["detail"]
    assert client.get(place(made, 0, "reproductions")).json()["items"] == []
