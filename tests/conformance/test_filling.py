"""Further orders for a fused launch that trains, held to every executor: each ends exactly once, in a lane that fell
free or handed back."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpo_service.executors.simulated import SimulatedExecutor
from tests.conformance.executor_harness import Harness, Reader
from workers.contract import FUSED, AttemptKey, CancelMode, Launch, Outcome, TrainerSpec, WorkOrder

LONG = 100_000.0
RECIPE = TrainerSpec(recipe="image_classifier", params={"data": "digits", "model": "softmax", "batch_size": 32})


@pytest.fixture(params=["simulated", pytest.param("ray", marks=pytest.mark.ray)])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    if request.param == "ray":
        yield request.getfixturevalue("ray_harness")
        return
    executor = SimulatedExecutor(lambda params, resource, seed: {"val_loss": 1 / resource}, cpus=1, idle_waits=True)
    yield Harness(
        executor=executor,
        reader=Reader(executor),
        storage_root=str(tmp_path),
        kill_worker=lambda seen: executor.kill_worker(seen.worker_id),
        next_trial=itertools.count(),
    )
    executor.close()


class Launched:
    """A fused launch of two lanes, and what is sent after it."""

    def __init__(self, harness: Harness, *targets: float, width: int = 2) -> None:
        self.harness, self.reader = harness, harness.reader
        self.orders = [self.order(target) for target in targets]
        self.id = f"fused-{self.orders[0].key.trial}"
        harness.executor.launch(
            Launch(launch_id=self.id, orders=tuple(self.orders), method=FUSED, width=width, cpu=1.0)
        )
        harness.running(*self.orders)

    def order(self, target: float, **changes: Any) -> WorkOrder:
        trial = next(self.harness.next_trial)
        made = WorkOrder(
            key=AttemptKey(study_id="filling", trial=trial, fence=1),
            trainer=RECIPE,
            params={"lr": 0.01 * (1 + trial % 7)},
            seed=trial,
            metric="val_loss",
            metrics=("val_loss",),
            from_resource=0.0,
            target_resource=target,
            horizon=target,
            storage_root=self.harness.storage_root,
            width=2,
        )
        return replace(made, **changes)

    def fill(self, *orders: WorkOrder) -> None:
        self.harness.executor.fill(self.id, orders)

    def end(self, *orders: WorkOrder, mode: CancelMode = CancelMode.STOP) -> None:
        for order in orders:
            self.harness.executor.cancel(order.key, mode)
        self.reader.all_ended(*orders)

    def outcome(self, order: WorkOrder) -> Outcome:
        return self.reader.ended[order.key].outcome

    def never_began(self, order: WorkOrder) -> bool:
        return order.key not in self.reader.started and self.reader.ended[order.key].resource == order.from_resource


def test_an_order_takes_the_lane_that_fell_free_on_the_same_worker(harness: Harness) -> None:
    launched = Launched(harness, 1.0, LONG)
    short, long = launched.orders
    launched.reader.all_ended(short)
    further = [launched.order(2.0), launched.order(3.0)]
    launched.fill(*further)
    launched.reader.all_ended(*further)
    for order in further:
        assert launched.outcome(order) is Outcome.REACHED
        assert len(launched.reader.reports[order.key]) == order.target_resource
        assert launched.reader.started[order.key].worker_id == launched.reader.started[long.key].worker_id
        assert launched.reader.ended[order.key].charged_seconds is not None
    launched.end(long)
    assert launched.outcome(long) is Outcome.CANCELLED


def test_an_order_that_no_lane_falls_free_for_is_handed_back(harness: Harness) -> None:
    launched = Launched(harness, LONG, LONG)
    waiting = launched.order(3.0, from_resource=0.0)
    launched.fill(waiting)
    launched.end(*launched.orders, mode=CancelMode.PAUSE)
    launched.reader.all_ended(waiting)
    # Both lanes ended at one report or the one after the other: then the second left time for it.
    assert launched.outcome(waiting) in (Outcome.PAUSED, Outcome.REACHED)
    assert launched.never_began(waiting) is (launched.outcome(waiting) is Outcome.PAUSED)


@pytest.mark.parametrize("known", [True, False])
def test_an_order_for_a_launch_that_is_over_comes_back(harness: Harness, known: bool) -> None:
    launched = Launched(harness, 1.0, 1.0)
    launched.reader.all_ended(*launched.orders)
    late = launched.order(3.0)
    harness.executor.fill(launched.id if known else "nowhere", [late])
    launched.reader.all_ended(late)
    assert launched.outcome(late) is Outcome.PAUSED
    assert launched.never_began(late)


def test_an_order_that_waits_for_a_lane_is_cancelled_before_it_begins(harness: Harness) -> None:
    launched = Launched(harness, LONG, LONG)
    waiting = launched.order(3.0)
    launched.fill(waiting)
    harness.executor.cancel(waiting.key, CancelMode.STOP)
    launched.end(launched.orders[0])
    launched.reader.all_ended(waiting)
    assert launched.outcome(waiting) is Outcome.CANCELLED
    assert launched.never_began(waiting)
    launched.end(launched.orders[1])


def test_a_filled_lane_ends_alone_when_it_is_cancelled(harness: Harness) -> None:
    launched = Launched(harness, 1.0, LONG)
    launched.reader.all_ended(launched.orders[0])
    filled = launched.order(LONG)
    launched.fill(filled)
    harness.running(filled)
    launched.end(filled, mode=CancelMode.PAUSE)
    ended = launched.reader.ended[filled.key]
    assert ended.outcome is Outcome.PAUSED
    assert ended.checkpoint is not None
    assert launched.orders[1].key not in launched.reader.ended
    launched.end(launched.orders[1])


def test_a_lost_worker_loses_what_trained_and_hands_back_what_waited(harness: Harness) -> None:
    launched = Launched(harness, 1.0, LONG)
    launched.reader.all_ended(launched.orders[0])
    filled, waiting = launched.order(LONG), launched.order(LONG)
    launched.fill(filled, waiting)
    harness.running(filled)
    harness.kill_worker(launched.reader.worker_of(filled))
    launched.reader.all_ended(launched.orders[1], filled, waiting)
    assert [launched.outcome(o) for o in (launched.orders[1], filled, waiting)] == [
        Outcome.LOST,
        Outcome.LOST,
        Outcome.PAUSED,
    ]
    assert launched.never_began(waiting)
