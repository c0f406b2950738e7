"""The guarantees of `executors.base.Executor`, held to every executor."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hpo_service.executors.base import Need
from hpo_service.executors.simulated import SimulatedExecutor
from tests.conformance.executor_harness import STUDY, Harness, Reader, at_most
from workers.contract import AttemptKey, CancelMode, FailureKind, Outcome

CPUS = 2


def _curve(params: Any, resource: float, seed: int) -> dict[str, float]:
    if params["kind"] == "raise":
        raise ValueError("the configuration is hopeless")
    return {"loss": math.nan if params["kind"] == "nan" else 1.0 / resource}


def _hanging_curve_seconds(params: Any) -> float:
    return {"slow": 0.02, "hang": 1e9}.get(params["kind"], 0.001)


@pytest.fixture(params=["simulated", pytest.param("ray", marks=pytest.mark.ray)])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    if request.param == "ray":
        yield request.getfixturevalue("ray_harness")
        return
    executor = SimulatedExecutor(_curve, seconds_per_resource=_hanging_curve_seconds, cpus=CPUS, idle_waits=True)
    yield Harness(
        executor=executor,
        reader=Reader(executor),
        storage_root=str(tmp_path),
        kill_worker=lambda seen: executor.kill_worker(seen.worker_id),
        next_trial=itertools.count(),
    )
    executor.close()


def test_every_order_ends_once_however_many_wait(harness: Harness) -> None:
    launches = [[harness.order() for _ in range(size)] for size in (1, 3, 1, 2, 1, 4, 1, 1)]
    for orders in launches:
        harness.launch(*orders)
    every = list(itertools.chain(*launches))
    harness.reader.all_ended(*every)
    for order in every:
        ended = harness.reader.ended[order.key]
        assert (ended.outcome, ended.resource) == (Outcome.REACHED, 3)
        assert [(r.step, r.metrics["loss"]) for r in harness.reader.reports[order.key]] == [
            (1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3)),
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("mode", "outcome"), [(CancelMode.PAUSE, Outcome.PAUSED), (CancelMode.STOP, Outcome.CANCELLED)]
)
def test_a_running_attempt_ends_at_its_next_report_when_cancelled(
    harness: Harness, mode: CancelMode, outcome: Outcome
) -> None:
    order = harness.order("slow", target=100_000)
    harness.launch(order)
    harness.running(order)
    harness.executor.cancel(order.key, mode)
    harness.reader.all_ended(order)
    ended = harness.reader.ended[order.key]
    assert ended.outcome is outcome
    assert ended.resource == harness.reader.reports[order.key][-1].resource < 100_000
    if mode is CancelMode.PAUSE:
        assert ended.checkpoint is not None
        assert ended.checkpoint.resource == ended.resource


def test_a_paused_trial_goes_on_from_its_checkpoint(harness: Harness) -> None:
    first = harness.order(target=2)
    harness.launch(first)
    harness.reader.all_ended(first)
    checkpoint = harness.reader.ended[first.key].checkpoint
    assert checkpoint is not None
    assert checkpoint in harness.reader.saved[first.key]
    second = harness.order(target=4, checkpoints=(checkpoint,))
    harness.launch(second)
    harness.reader.all_ended(second)
    assert harness.reader.started[second.key].resumed_from == 2
    assert [report.step for report in harness.reader.reports[second.key]] == [3, 4]


def test_orders_that_wait_can_be_cancelled(harness: Harness) -> None:
    """Behind another order of the same launch, and in launches behind it; each ends with nothing trained."""
    running = [harness.order("slow", target=100_000) for _ in range(CPUS)]
    behind = [harness.order("slow", target=100_000) for _ in range(CPUS)]
    queued = [harness.order("slow", target=100_000) for _ in range(3 * CPUS)]
    for first, second in zip(running, behind, strict=True):
        harness.launch(first, second)
    for order in queued:
        harness.launch(order)
    harness.running(*running)
    for order in (*behind, *queued):
        harness.executor.cancel(order.key, CancelMode.STOP)
    for order in running:
        harness.executor.cancel(order.key, CancelMode.STOP)
    harness.reader.all_ended(*running, *behind, *queued)
    for order in (*behind, *queued):
        ended = harness.reader.ended[order.key]
        assert (ended.outcome, ended.resource) == (Outcome.CANCELLED, 0)
        assert order.key not in harness.reader.started


def test_a_lost_worker_loses_its_unfinished_orders_only_and_is_replaced(harness: Harness) -> None:
    done, lost, waiting = harness.order(), harness.order("slow", target=100_000), harness.order()
    harness.launch(done, lost, waiting)
    harness.running(lost)
    harness.kill_worker(harness.reader.worker_of(lost))
    harness.reader.all_ended(done, lost, waiting)
    assert harness.reader.ended[done.key].outcome is Outcome.REACHED
    assert harness.reader.ended[lost.key].outcome is Outcome.LOST
    assert harness.reader.ended[waiting.key].outcome is Outcome.PAUSED, "it had not begun: no loss of its own"
    assert all(harness.reader.ended[order.key].reason for order in (lost, waiting))
    assert harness.reader.worker_of(lost).state == "gone"
    afterwards = [harness.order() for _ in range(2 * CPUS)]
    for order in afterwards:
        harness.launch(order)
    harness.reader.all_ended(*afterwards)
    assert {harness.reader.ended[order.key].outcome for order in afterwards} == {Outcome.REACHED}


def test_killing_an_attempt_fails_it_and_interrupts_its_neighbours(harness: Harness) -> None:
    hung, neighbour = harness.order("hang"), harness.order()
    harness.launch(hung, neighbour)
    harness.running(hung)
    harness.executor.kill(hung.key, "stalled: nobody heard of it")
    harness.reader.all_ended(hung, neighbour)
    ended = harness.reader.ended[hung.key]
    assert (ended.outcome, ended.failure) == (Outcome.FAILED, FailureKind.STALLED)
    assert "nobody heard of it" in ended.reason
    assert harness.reader.ended[neighbour.key].outcome is Outcome.PAUSED


@pytest.mark.parametrize(
    ("limits", "failure"),
    [
        ({"stall_timeout_s": 0.5}, FailureKind.STALLED),
        ({"trial_timeout_s": 0.5, "stall_timeout_s": 100.0}, FailureKind.TIMED_OUT),
    ],
)
def test_a_hung_attempt_fails_by_its_limit(harness: Harness, limits: dict[str, float], failure: FailureKind) -> None:
    order = harness.order("hang", **limits)
    harness.launch(order)
    harness.reader.all_ended(order)
    ended = harness.reader.ended[order.key]
    assert (ended.outcome, ended.failure) == (Outcome.FAILED, failure)
    assert "0.5" in ended.reason


@pytest.mark.parametrize(("kind", "failure"), [("raise", FailureKind.EXCEPTION), ("nan", FailureKind.DIVERGED)])
def test_a_failing_trial_fails_alone(harness: Harness, kind: str, failure: FailureKind) -> None:
    bad, good = harness.order(kind), harness.order()
    harness.launch(bad, good)
    harness.reader.all_ended(bad, good)
    assert harness.reader.ended[bad.key].outcome is Outcome.FAILED
    assert harness.reader.ended[bad.key].failure is failure
    assert harness.reader.ended[good.key].outcome is Outcome.REACHED


def test_nothing_blocks_on_training(harness: Harness) -> None:
    orders = [harness.order("slow", target=100_000) for _ in range(4 * CPUS)]
    with at_most(2.0):
        for order in orders:
            harness.launch(order)
        harness.reader.read(0.0)
        for order in orders:
            harness.executor.cancel(order.key, CancelMode.STOP)
        harness.reader.read(0.0)
    harness.reader.all_ended(*orders)


def test_wake_ends_a_waiting_poll(harness: Harness) -> None:
    harness.reader.read(0.0)
    timer = threading.Timer(0.1, harness.executor.wake)
    with at_most(20.0):
        timer.start()
        harness.executor.poll(30.0)
    timer.join()


def test_unknown_and_ended_attempts_are_ignored(harness: Harness) -> None:
    stranger = AttemptKey(study_id=STUDY, trial=10**9, fence=7)
    harness.executor.cancel(stranger, CancelMode.STOP)
    harness.executor.kill(stranger, "stalled")
    order = harness.order()
    harness.launch(order)
    harness.reader.all_ended(order)
    harness.executor.cancel(order.key, CancelMode.PAUSE)
    harness.executor.kill(order.key, "stalled")
    harness.reader.read(0.2)
    assert harness.reader.ended[order.key].outcome is Outcome.REACHED


def test_capacity_and_free_workers(harness: Harness) -> None:
    need = Need(study_id=STUDY, cpu=1.0, gpu=0.0)
    capacity = harness.executor.capacity()
    assert (capacity.cpu, capacity.node_cpu, capacity.gpu) == (CPUS, CPUS, 0)
    assert harness.executor.free_workers(need) == CPUS
    order = harness.order("slow", target=100_000)
    harness.launch(order)
    assert harness.executor.free_workers(need) == CPUS - 1
    harness.running(order)
    assert harness.executor.free_workers(need) == CPUS - 1
    assert harness.executor.free_workers(Need(study_id=STUDY, cpu=2.0, gpu=0.0)) == 0
    harness.executor.cancel(order.key, CancelMode.STOP)
    harness.reader.all_ended(order)
    assert harness.executor.free_workers(need) == CPUS


def test_what_can_never_fit_is_said_at_once(harness: Harness) -> None:
    assert harness.executor.can_ever_fit(1.0, 0.0) is None
    for cpu, gpu, word in ((64.0, 0.0, "resources.cpu"), (1.0, 0.5, "no GPU")):
        refusal = harness.executor.can_ever_fit(cpu, gpu)
        assert refusal is not None
        assert word in refusal


def test_workers_are_told_of(harness: Harness) -> None:
    order = harness.order("slow", target=100_000)
    harness.launch(order)
    harness.running(order)
    worker = harness.reader.worker_of(order)
    assert (worker.state, worker.cpu, worker.gpu) == ("busy", 1.0, 0.0)
    harness.executor.cancel(order.key, CancelMode.STOP)
    harness.reader.all_ended(order)
    harness.reader.until(lambda: harness.reader.workers[worker.worker_id].state == "idle")


def test_another_shape_gets_the_room_of_idle_workers(harness: Harness) -> None:
    small = [harness.order() for _ in range(CPUS)]
    for order in small:
        harness.launch(order)
    harness.reader.all_ended(*small)
    large = harness.order()
    harness.launch(large, cpu=2.0)
    harness.reader.all_ended(large)
    assert harness.reader.ended[large.key].outcome is Outcome.REACHED
    assert harness.reader.started[large.key].worker_id
    again = harness.order()
    harness.launch(again)
    harness.reader.all_ended(again)
