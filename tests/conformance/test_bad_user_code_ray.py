"""Users' code that takes its process along, or would: the trial's end is told, and the next trial has a worker."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

from tests.conformance.executor_harness import Harness
from workers.contract import FailureKind, Outcome, TrainerSpec, WorkOrder

pytestmark = pytest.mark.ray


def bad(harness: Harness, name: str, *, target: float = 3) -> WorkOrder:
    order = harness.order(target=target)
    trainer = TrainerSpec(function=f"user_code.conformance_functions:{name}")
    return replace(order, trainer=trainer, params={}, metric="val_loss", metrics=("val_loss",))


def trained_next(harness: Harness) -> WorkOrder:
    good = harness.order()
    harness.launch(good)
    harness.reader.all_ended(good)
    assert harness.reader.ended[good.key].outcome is Outcome.REACHED
    return good


def test_what_swallows_its_end_for_ever_ends_and_its_neighbours_go_on(ray_harness: Harness) -> None:
    order, beside = bad(ray_harness, "never_ends"), ray_harness.order()
    ray_harness.launch(order, beside)
    ray_harness.reader.all_ended(order, beside)
    ended = ray_harness.reader.ended[order.key]
    assert (ended.outcome, ended.resource) == (Outcome.REACHED, 3.0)
    assert ray_harness.reader.ended[beside.key].outcome is Outcome.PAUSED  # it had not begun, and is placed again
    assert "let BaseException pass" in "".join(ray_harness.reader.logs[order.key])
    ray_harness.reader.until(lambda: ray_harness.reader.worker_of(order).state == "gone")
    trained_next(ray_harness)


def test_a_limit_of_memory_holds_in_workers_and_the_worker_lives_on(ray_harness: Harness) -> None:
    order = bad(ray_harness, "asks_for_more_than_there_is")
    ray_harness.launch(order)
    ray_harness.reader.all_ended(order)
    ended = ray_harness.reader.ended[order.key]
    assert (ended.outcome, ended.failure) == (Outcome.FAILED, FailureKind.OUT_OF_MEMORY)
    assert "use a smaller batch" in ended.reason
    worker = ray_harness.reader.worker_of(order)
    good = trained_next(ray_harness)
    assert ray_harness.reader.worker_of(good).worker_id == worker.worker_id


def test_an_exit_without_a_word_is_a_loss(ray_harness: Harness) -> None:
    order = bad(ray_harness, "exits_hard")
    ray_harness.launch(order)
    ray_harness.reader.all_ended(order)
    ended = ray_harness.reader.ended[order.key]
    assert ended.outcome is Outcome.LOST
    assert "was lost" in ended.reason
    trained_next(ray_harness)


@pytest.mark.parametrize(("name", "status"), [("forks", 0.0), ("forks_and_raises", 1.0)])
def test_a_forked_child_ends_where_the_code_does(name: str, status: float, ray_harness: Harness) -> None:
    order = bad(ray_harness, name, target=1)
    ray_harness.launch(order)
    ray_harness.reader.all_ended(order)
    assert ray_harness.reader.ended[order.key].outcome is Outcome.REACHED
    assert [report.metrics for report in ray_harness.reader.reports[order.key]] == [{"val_loss": status}]


def test_a_child_that_stays_keeps_nobody_waiting(ray_harness: Harness) -> None:
    order = bad(ray_harness, "leaves_a_child", target=1)
    ray_harness.launch(order)
    ray_harness.reader.all_ended(order)
    assert ray_harness.reader.ended[order.key].outcome is Outcome.REACHED
    trained_next(ray_harness)
    log = "".join(ray_harness.reader.logs.get(order.key, []))
    os.kill(int(log.split()[1]), signal.SIGKILL)
