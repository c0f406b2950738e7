"""The register of open attempts, and work orders from what the store opened."""

from __future__ import annotations

import math
from pathlib import Path

from hpo_service.controller.flights import Flights
from hpo_service.controller.orders import launches, place_trials, preflight_launch
from hpo_service.core.cost import Prices
from hpo_service.core.definition import parse
from hpo_service.store.rows import CheckpointRow, OpenAttempt
from workers.contract import AttemptKey

DEFINITION = parse(
    {
        "objective": {"metric": "loss"},
        "space": {"lr": {"type": "loguniform", "low": 1e-4, "high": 1.0}},
        "algorithm": {"name": "random", "max_resource": 9},
        "trainer": {"function": "package.module:train", "params": {"depth": 3}},
        "budget": {"trials": 4},
        "resources": {"cpu": 2, "gpu": 0.5},
        "stall_timeout_s": 30,
    }
)


def opened(trial: int, launch: str, lane: int, fence: int = 1, width: int = 1) -> OpenAttempt:
    checkpoint = CheckpointRow(trial=trial, fence=1, step=3, resource=3.0, path="c.pt", digest="d", size_bytes=7)
    return OpenAttempt(
        study_id="s1",
        trial=trial,
        fence=fence,
        params={"lr": 0.1},
        from_resource=3.0,
        target=math.inf,
        horizon=9.0,
        launch=launch,
        lane=lane,
        width=width,
        method="plain" if width == 1 else "fused",
        checkpoints=(checkpoint,),
    )


def test_attempts_are_grouped_as_they_were_placed() -> None:
    found = launches(DEFINITION, [opened(1, "a", 1), opened(0, "a", 0), opened(2, "b", 0)], Path("/storage"))
    assert [[o.key.trial for o in launch.orders] for launch in found] == [[0, 1], [2]]
    order = found[0].orders[0]
    assert (found[0].cpu, found[0].gpu) == (2, 0.5)
    assert order.trainer.function == "package.module:train"
    assert order.trainer.params == {"depth": 3}
    assert (order.from_resource, order.target_resource, order.stall_timeout_s) == (3.0, math.inf, 30)
    assert order.checkpoints[0].digest == "d"


def test_a_trials_seed_depends_on_its_number_alone() -> None:
    first, again = opened(5, "a", 0, fence=1), opened(5, "b", 0, fence=9)
    seeds = [launches(DEFINITION, [attempt], Path("/s"))[0].orders[0].seed for attempt in (first, again)]
    assert seeds[0] == seeds[1]
    assert seeds[0] != launches(DEFINITION, [opened(6, "a", 0)], Path("/s"))[0].orders[0].seed


def test_launches_hold_at_most_their_size() -> None:
    placed = place_trials([4, 5, 6, 7, 8], 2)
    by_launch: dict[str, list[int]] = {}
    for placement in placed.values():
        by_launch.setdefault(placement.launch, []).append(placement.lane)
    assert list(by_launch.values()) == [[0, 1], [0, 1], [0]]
    assert all(p.width == 1 for p in placed.values())


def test_preflight_belongs_to_no_trial() -> None:
    launch = preflight_launch(DEFINITION, "s1", {"lr": 0.1}, target=9.0, number=2, storage_root=Path("/s"))
    order = launch.orders[0]
    assert order.preflight
    assert order.key.trial < 0
    assert order.checkpoints == ()


def test_flights_come_and_go() -> None:
    flights = Flights()
    keys = [AttemptKey(study_id="s", trial=n, fence=1) for n in range(3)]
    flights.add(keys, cpu=1, gpu=0)
    assert flights.of_study("s") == set(keys)
    flights.remove(keys[0], seconds=2.0)
    flights.remove(keys[0], seconds=99.0)
    assert flights.get(keys[0]) is None
    assert flights.mean_seconds("s") == 2.0
    flights.remove(keys[1], seconds=4.0)
    assert flights.mean_seconds("s") == 2.4
    flights.remove(keys[2])
    assert flights.studies() == set()


def test_charges_are_whole_microdollars() -> None:
    prices = Prices(cpu_hour_dollars=0.04, gpu_hour_dollars=2.0)
    assert prices.charge(3600, cpu=1, gpu=0) == 40_000
    assert prices.charge(1.0, cpu=1, gpu=1) == 567
    assert prices.charge(-5.0, cpu=1, gpu=1) == 0
