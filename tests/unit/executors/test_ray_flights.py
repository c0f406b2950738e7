"""Bookkeeping of launches that were sent to a worker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpo_service.executors.base import failure_of
from hpo_service.executors.ray_flights import GRACE_S, Flight, never_started
from workers.contract import (
    AttemptKey,
    CancelMode,
    CheckpointRef,
    Ended,
    FailureKind,
    Launch,
    Narrowed,
    Outcome,
    Reported,
    Started,
    TrainerSpec,
    WorkOrder,
)


def order(trial: int, **more: float) -> WorkOrder:
    plain = WorkOrder(
        key=AttemptKey(study_id="s", trial=trial, fence=1), trainer=TrainerSpec(function="a:b"), params={}, seed=0,
        metric="loss", metrics=("loss",), from_resource=2.0, target_resource=9, horizon=9, storage_root="",
    )  # fmt: skip
    return replace(plain, **more)  # type: ignore[arg-type]


def flight(*orders: WorkOrder, method: str = "plain", width: int = 1, queued: bool = False) -> Flight:
    return Flight(Launch(launch_id="l", orders=orders, method=method, width=width), None, now=0.0, queued=queued)


def started(of: WorkOrder) -> Started:
    return Started(key=of.key, worker_id="w", node="n", device="cpu", resumed_from=2.0, environment={})


def reported(of: WorkOrder, step: int) -> Reported:
    return Reported(key=of.key, step=step, resource=float(step), metrics={}, seconds=1.0, sent_at=0.0)


def ended(of: WorkOrder) -> Ended:
    return Ended(key=of.key, outcome=Outcome.REACHED, resource=9, seconds=1.0)


def test_a_lost_launch_ends_each_unfinished_attempt_where_it_was_heard_last() -> None:
    first, second, third = order(1), order(2), order(3)
    sent = flight(first, second, third)
    assert len(sent.take([started(first), ended(first), started(second), reported(second, 5)], 10.0)) == 4
    lost = list(sent.lose("the worker died", {second.key}, 12.0))
    assert [(e.key.trial, e.outcome, e.resource, e.seconds) for e in lost] == [
        (3, Outcome.PAUSED, 2.0, 0.0),
        (2, Outcome.LOST, 5.0, 2.0),
    ]
    assert sent.unfinished == {}


def test_messages_of_an_attempt_that_was_ended_here_are_dropped() -> None:
    first = order(1)
    sent = flight(first)
    failed = sent.fail(first.key, "stalled: too silent", 3.0)
    assert (failed.outcome, failed.failure, failed.seconds) == (Outcome.FAILED, FailureKind.STALLED, 3.0)
    assert sent.take([reported(first, 3), ended(first)], 4.0) == []


def test_a_stall_is_measured_from_the_last_report_of_the_attempt_in_training() -> None:
    first, second = order(1, stall_timeout_s=5.0), order(2, stall_timeout_s=5.0)
    sent = flight(first, second, queued=True)
    sent.taken_up(100.0)
    assert sent.overdue(104.0) == []
    sent.take([started(first), reported(first, 3)], 104.0)
    assert sent.overdue(108.0) == []
    sent.take([ended(first)], 108.0)
    assert sent.overdue(112.0) == []
    [(late, why)] = sent.overdue(113.5)
    assert late == second.key
    assert failure_of(why) is FailureKind.STALLED


def test_the_whole_time_is_limited_too_with_some_grace() -> None:
    only = order(1, trial_timeout_s=5.0)
    sent = flight(only)
    sent.take([started(only), reported(only, 3)], 4.9)
    assert sent.overdue(5.0 + GRACE_S / 2) == []
    [(_, why)] = sent.overdue(5.1 + GRACE_S)
    assert failure_of(why) is FailureKind.TIMED_OUT


def test_lanes_share_the_time_so_their_limits_grow_with_the_width() -> None:
    lanes = [replace(order(n, trial_timeout_s=5.0, stall_timeout_s=4.0), width=3) for n in range(3)]
    flying = flight(*lanes, method="fused", width=3)
    assert flying.overdue(now=11.9) == []
    assert all("for each of 3 lanes" in why for _, why in flying.overdue(now=12.1))
    flying.take([reported(lane, 1) for lane in lanes], now=15.0)
    assert flying.overdue(now=15.4) == []
    assert [why.split(":")[0] for _, why in flying.overdue(now=15.6)] == ["timed_out"] * 3


def test_only_what_was_in_training_is_lost_with_its_worker() -> None:
    ref = CheckpointRef(path="p", digest="d", resource=2.0, step=2, size_bytes=1)
    first, second = order(1), replace(order(2), checkpoints=(ref,))
    sent = flight(first, second)
    sent.take([started(first), reported(first, 3)], 1.0)
    waiting, lost = sent.lose("the worker was lost", {first.key}, 3.0)
    assert (lost.key, lost.outcome, lost.resource, lost.seconds) == (first.key, Outcome.LOST, 3.0, 3.0)
    assert (waiting.key, waiting.outcome, waiting.seconds) == (second.key, Outcome.PAUSED, 0.0)
    assert waiting.checkpoint == ref
    assert waiting.reason == "it had not begun, and is placed again: the worker was lost"
    assert not sent.unfinished


def test_all_lanes_of_a_fused_launch_are_in_training() -> None:
    lanes = [order(n) for n in range(3)]
    assert flight(*lanes, method="fused").current() == lanes
    assert flight(*lanes).current() == lanes[:1]


def test_an_attempt_that_was_never_sent_keeps_its_checkpoint() -> None:
    ref = CheckpointRef(path="p", digest="d", resource=2.0, step=2, size_bytes=1)
    told = never_started(replace(order(1), checkpoints=(ref,)), CancelMode.PAUSE)
    assert (told.outcome, told.resource, told.checkpoint) == (Outcome.PAUSED, 2.0, ref)
    assert never_started(order(1), CancelMode.STOP).outcome is Outcome.CANCELLED


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("stalled: x", "stalled"),
        ("timed_out", "timed_out"),
        ("out_of_memory: y", "out_of_memory"),
        ("an operator", "killed"),
        ("", "killed"),
    ],
)
def test_the_first_word_of_a_reason_names_the_failure(reason: str, kind: str) -> None:
    assert failure_of(reason) == kind


def test_a_fused_launch_is_one_load_as_long_as_its_longest_lane() -> None:
    lanes = [order(1, target_resource=4.0), order(2, target_resource=9.0)]
    fused, plain = flight(*lanes, method="fused", width=2), flight(*lanes)
    assert (fused.load, plain.load) == (1, 2)
    assert (fused.to_train(), plain.to_train()) == (7.0, 9.0)
    fused.take([started(lane) for lane in lanes] + [replace(ended(lanes[0]), resource=4.0)], 1.0)
    assert (fused.load, fused.to_train(), fused.progress) == (1, 7.0, 2.0)
    fused.take([ended(lanes[1])], 2.0)
    assert (fused.load, fused.progress) == (0, 7.0)


def test_the_lanes_of_a_lost_launch_share_what_it_took() -> None:
    lanes = [order(n) for n in range(4)]
    sent = flight(*lanes, method="fused", width=4)
    sent.take([started(lane) for lane in lanes] + [ended(lanes[0])], 1.0)
    lost = list(sent.lose("the worker died", {lane.key for lane in lanes}, 9.0))
    assert [(e.outcome, e.seconds, e.charged_seconds) for e in lost] == [(Outcome.LOST, 9.0, 3.0)] * 3


def test_a_fused_launch_that_hangs_ends_with_all_of_its_lanes() -> None:
    lanes = [order(n, stall_timeout_s=5.0) for n in range(3)]
    sent = flight(*lanes, method="fused", width=4)
    sent.take([started(lane) for lane in lanes] + [ended(lanes[0])], 1.0)
    assert sent.overdue(5.9) == []
    assert [key for key, _ in sent.overdue(6.1)] == [lanes[1].key, lanes[2].key]


def test_lanes_whose_node_ran_out_of_memory_are_interrupted_and_go_on_in_half_as_many() -> None:
    lanes = [order(n) for n in range(3)]
    sent = flight(*lanes, method="fused", width=8)
    sent.take([started(lane) for lane in lanes] + [reported(lanes[0], 5)], 1.0)
    narrowed, *ends = sent.narrow("out_of_memory: too much", 4.0)
    assert isinstance(narrowed, Narrowed)
    assert narrowed.width == 4
    assert [(e.outcome, e.resource) for e in ends if isinstance(e, Ended)] == [
        (Outcome.PAUSED, 5.0),
        (Outcome.PAUSED, 2.0),
        (Outcome.PAUSED, 2.0),
    ]
    assert not sent.unfinished


def test_a_launch_that_waited_is_timed_from_when_it_really_began() -> None:
    """It may begin while the last checkpoints of the one before are being stored."""
    only = order(1, trial_timeout_s=5.0)
    early, late = flight(only, queued=True), flight(only, queued=True)
    assert early.begun() == frozenset()
    early.take([started(only)], 50.0)
    early.taken_up(53.0)
    assert early.begun() == {only.key}
    assert early.begun_at == 50.0
    assert early.overdue(55.1 + GRACE_S) != []
    late.taken_up(53.0)
    late.take([started(only)], 54.0)
    assert late.begun_at == 53.0


def test_what_comes_later_trains_when_it_says_so_and_is_handed_back_otherwise() -> None:
    first, taken, waiting = order(1), order(2, trial_timeout_s=5.0), order(3)
    sent = flight(first, method="fused", width=2)
    sent.take([started(first)], 1.0)
    sent.add([taken, waiting])
    assert sent.sent() == [first.key, taken.key, waiting.key]
    assert [o.key.trial for o in sent.current()] == [1], "no lane fell free for them yet"
    sent.take([started(taken), reported(taken, 4)], 10.0)
    assert [o.key.trial for o in sent.current()] == [1, 2]
    assert sent.overdue(14.0) == []
    [(late, _)] = sent.overdue(16.0)
    assert late == taken.key
    failed = sent.fail(taken.key, "timed_out: too long", 16.0)
    assert (failed.seconds, failed.resource) == (6.0, 4.0)
    assert sent.load == 1
    [back] = sent.hand_back("its launch was over")
    assert (back.key, back.outcome, back.seconds) == (waiting.key, Outcome.PAUSED, 0.0)
    assert list(sent.unfinished) == [first.key]
    assert sent.hand_back("again") == []


def test_a_lost_worker_hands_back_what_came_later_and_had_not_begun() -> None:
    first, taken, waiting = order(1), order(2), order(3)
    sent = flight(first, method="fused", width=2)
    sent.take([started(first)], 1.0)
    sent.add([taken, waiting])
    sent.take([started(taken)], 2.0)
    in_training = {o.key for o in sent.current()}
    outcomes = {e.key.trial: e.outcome for e in sent.lose("the worker died", in_training, 9.0)}
    assert outcomes == {1: Outcome.LOST, 2: Outcome.LOST, 3: Outcome.PAUSED}
