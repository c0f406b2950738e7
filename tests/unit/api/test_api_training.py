"""Who shared a launch, and the methods of a study's structures."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from hpo_service.core.events import MethodChoice, MethodsChosen
from hpo_service.store import looking, methods
from hpo_service.store.database import Database
from hpo_service.store.rows import Placement
from tests.storelib import World
from tests.unit.api.support import check

API = "/api/v1/studies"


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def launch(client: httpx.Client, world: World, trial: int, query: str = "") -> dict[str, Any]:
    answer = client.get(f"{API}/{world.id}/trials/{trial}/launch{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def place(first: int, name: str, width: int, count: int) -> dict[int, Placement]:
    return {
        first + lane: Placement(launch=name, lane=lane, width=width, method="fused" if width > 1 else "plain")
        for lane in range(count)
    }


def test_a_launch_holds_its_own_lanes_and_no_other(client: httpx.Client, world: World) -> None:
    placements = place(0, "one", 4, 3) | place(3, "two", 2, 2)
    world.start(5, placements=placements)
    world.collect(*(world.started(n) for n in range(5)))
    world.collect(
        world.report(0, 8, 0.5), world.report(1, 8, 0.4),
        world.ended(0, cost_microdollars=7), world.ended(1, cost_microdollars=5),
        world.ended(2, "failed", failure="diverged", resource=2.0, cost_microdollars=2),
    )  # fmt: skip
    found = launch(client, world, 1)
    assert (found["launch"], found["method"], found["width"]) == ("one", "fused", 4)
    assert [(lane["trial"], lane["lane"], lane["outcome"]) for lane in found["lanes"]] == [
        (0, 0, "reached"), (1, 1, "reached"), (2, 2, "failed"),
    ]  # fmt: skip
    assert found["cost_microdollars"] == 14
    assert found["seconds"] >= 0
    assert found["worker_id"] == "w1"
    other = launch(client, world, 4)
    assert [lane["trial"] for lane in other["lanes"]] == [3, 4]
    assert (other["ended_at"], other["seconds"]) == (None, None)


def test_a_launch_of_an_earlier_attempt_is_asked_for_by_its_fence(client: httpx.Client, world: World) -> None:
    world.start(2, placements=place(0, "first", 2, 2))
    world.collect(world.report(0, 8, 0.5), world.report(1, 8, 0.4), world.ended(0), world.ended(1))
    world.go_on(0)
    assert [lane["trial"] for lane in launch(client, world, 0)["lanes"]] == [0]
    assert [lane["trial"] for lane in launch(client, world, 0, "?fence=1")["lanes"]] == [0, 1]
    check(client.get(f"{API}/{world.id}/trials/0/launch?fence=3"), 404)
    check(client.get(f"{API}/{world.id}/trials/99/launch"), 404)


def test_a_trial_that_waits_has_no_launch(client: httpx.Client, study: str) -> None:
    client.post(f"{API}/{study}/trials", json={"configurations": [{"lr": 0.01, "kind": "a"}]}).raise_for_status()
    problem = check(client.get(f"{API}/{study}/trials/0/launch"), 404)
    assert "no attempt yet" in problem["detail"]


def choice(batch: int, method: str, width: int, **more: Any) -> MethodChoice:
    fields: dict[str, Any] = {"device": "cpu", "reason": f"{method} by measurement", **more}
    return MethodChoice(structure={"batch_size": batch}, method=method, width=width, **fields)


def test_methods_are_the_newest_choice_of_each_structure(client: httpx.Client, world: World) -> None:
    empty = client.get(f"{API}/{world.id}/methods").json()
    assert empty == {"lanes": [], "items": []}
    first = MethodsChosen(lanes=("lr",), choices=(choice(32, "fused", 16), choice(64, "plain", 1)))
    again = MethodsChosen(lanes=("lr",), choices=(choice(32, "fused", 8, source="out_of_memory"),))
    for event in (first, again):
        methods.choose_methods(world.db, world.id, event, epoch=world.epoch)
    found = client.get(f"{API}/{world.id}/methods").json()
    assert found["lanes"] == ["lr"]
    assert [(one["structure"], one["method"], one["width"], one["source"]) for one in found["items"]] == [
        ({"batch_size": 32}, "fused", 8, "out_of_memory"), ({"batch_size": 64}, "plain", 1, "measured"),
    ]  # fmt: skip
    assert found["items"][0]["seq"] > found["items"][1]["seq"]


def test_the_timeline_holds_more_attempts_where_trials_train_together(client: httpx.Client, world: World) -> None:
    many = 1_203
    for first in range(0, many, 401):
        world.start(401, placements=place(first, f"l{first}", 401, 401))
        world.collect(*(world.started(n) for n in range(first, first + 401)))
    found = client.get(f"{API}/{world.id}/timeline").json()
    assert found["shown"] == many
    assert [one["trials"] for one in found["launches"]] == [401, 401, 401]
    assert client.get(f"{API}/{world.id}/timeline?limit=500").json()["more_before"] is not None


def test_a_lane_counts_its_part_of_the_workers_time(world: World) -> None:
    world.start(3, placements=place(0, "one", 2, 2))
    world.collect(*(world.report(n, 8, 0.5) for n in range(3)))
    world.collect(world.ended(0), world.ended(1), world.ended(2))
    found = looking.worker_seconds(world.db, world.id, [0, 1, 2], plain=False)
    assert found == {0: 1.0, 1: 1.0, 2: 2.0}
    assert looking.worker_seconds(world.db, world.id, [0, 2], plain=True) == {2: 2.0}
