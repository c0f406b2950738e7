"""Further orders for a fused launch that trains: taken up in lanes that fell free, or handed back; each ends once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.unit.workers.test_worker_fused import Make, Program, Run, launch, order, program
from workers.actor import Worker
from workers.contract import CancelMode, Ended, FailureKind, Launch, Outcome, Reported, Started, WorkOrder
from workers.session_fused import FusedAttempts

__all__ = ["order", "program"]


class Session:
    """A launch with an ear for what it says: `when(trial, step)` acts at that report."""

    def __init__(self, sent: Launch) -> None:
        self.got = Run()
        self.cancel: dict[int, CancelMode] = {}
        self._acts: dict[tuple[int, int], Callable[[], Any]] = {}
        self.attempts = FusedAttempts(sent, self._heard, lambda key: self.cancel.get(key.trial))

    def _heard(self, message: Any) -> None:
        self.got.messages.append(message)
        if isinstance(message, Reported):
            self._acts.pop((message.key.trial, message.step), lambda: None)()

    def when(self, trial: int, step: int, act: Callable[[], Any]) -> Session:
        self._acts[(trial, step)] = act
        return self

    def fill(self, trial: int, step: int, *orders: WorkOrder) -> Session:
        return self.when(trial, step, lambda: self.attempts.add(orders))

    def run(self) -> Run:
        self.attempts.run()
        return self.got


def test_an_order_takes_the_lane_of_one_that_ended(program: Program, order: Make) -> None:
    got = Session(launch(order(0, to=1.0), order(1, to=4.0))).fill(0, 1, order(7, to=2.0)).run()
    assert [got.end(trial).outcome for trial in (0, 1, 7)] == [Outcome.REACHED] * 3
    assert got.kinds(7) == ["Started", "Reported", "Reported", "Saved", "Ended"]
    assert program.widths == [(2, 2)]
    started = [m for m in got.messages if isinstance(m, Started)]
    assert started[0].environment == started[-1].environment


def test_orders_wait_until_a_lane_falls_free_and_take_turns(program: Program, order: Make) -> None:
    sent = launch(order(0, to=2.0), order(1, to=9.0))
    got = Session(sent).fill(1, 1, order(5, to=1.0), order(6, to=2.0), order(7, to=2.0)).run()
    starts = [m.key.trial for m in got.messages if isinstance(m, Started)]
    assert starts == [0, 1, 5, 6, 7]
    assert all(got.end(trial).outcome is Outcome.REACHED for trial in (5, 6, 7))


def test_what_comes_too_late_is_handed_back_or_refused(program: Program, order: Make) -> None:
    session = Session(launch(order(0, to=3.0), order(1, to=3.0))).fill(1, 2, order(7))
    got = session.run()
    end = got.end(7)
    assert (end.outcome, end.seconds) == (Outcome.PAUSED, 0.0)
    assert end.reason == "its launch was over before a lane fell free; it is placed again"
    assert got.kinds(7) == ["Ended"]
    assert session.attempts.add([order(8)]) is False


def test_an_order_that_is_handed_back_keeps_its_checkpoint(program: Program, order: Make) -> None:
    first = Session(launch(order(7, to=1.0), order(1, to=1.0))).run().end(7).checkpoint
    assert first is not None
    back = replace(order(7), checkpoints=(first,), from_resource=1.0)
    end = Session(launch(order(0), order(1))).fill(1, 3, back).run().end(7)
    assert (end.checkpoint, end.resource) == (first, 1.0)


def test_a_waiting_order_is_cancelled_before_it_begins(program: Program, order: Make) -> None:
    session = Session(launch(order(0, to=1.0), order(1, to=4.0))).fill(0, 1, order(7), order(8, to=1.0))
    session.cancel[7] = CancelMode.STOP
    got = session.run()
    assert got.kinds(7) == ["Ended"]
    assert got.end(7).outcome is Outcome.CANCELLED
    assert got.end(8).outcome is Outcome.REACHED


def test_an_order_of_another_structure_fails_alone(program: Program, order: Make) -> None:
    session = Session(launch(order(0, to=1.0), order(1, to=4.0)))
    got = session.fill(0, 1, order(7, {"batch_size": 8}), order(8, to=1.0)).run()
    assert (got.end(7).outcome, got.end(7).failure) == (Outcome.FAILED, FailureKind.INVALID)
    assert got.end(8).outcome is Outcome.REACHED
    assert got.end(1).outcome is Outcome.REACHED


def test_a_launch_that_is_narrowed_takes_nobody_any_more(program: Program, order: Make) -> None:
    sent = launch(order(0, to=1.0), order(1, to=4.0), order(2, to=4.0))

    def short(width: int, epoch: int) -> None:
        if (width, epoch) == (3, 2):
            raise MemoryError

    program.before_epoch = short
    session = Session(sent).fill(0, 1, order(7), order(8))
    got = session.run()
    ends = {trial: got.end(trial).outcome for trial in (1, 2, 7, 8)}
    assert ends[8] is Outcome.PAUSED
    assert ends[7] is Outcome.REACHED, "it had not reported, and goes on at the narrower width"
    assert ends[1] is ends[2] is Outcome.PAUSED


def test_the_shares_of_all_add_up(program: Program, order: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("workers.session_fused.time.monotonic", lambda: clock[0])

    def tick(width: int, epoch: int) -> None:
        clock[0] += 1.0

    program.before_epoch = tick
    got = Session(launch(order(0, to=1.0), order(1, to=3.0))).fill(0, 1, order(7, to=4.0)).run()
    charged = {trial: got.end(trial).charged_seconds for trial in (0, 1, 7)}
    assert charged == {0: 0.5, 1: 1.5, 7: 3.0}
    assert got.end(7).seconds == 4.0


def test_a_worker_takes_further_orders_for_the_launch_that_trains(
    program: Program, order: Make, tmp_path: Path
) -> None:
    worker = Worker("w")
    sent = launch(order(0, to=1.0), order(1, to=4.0))
    stray = launch(order(9))

    def act(width: int, epoch: int) -> None:
        if epoch == 1:
            worker.fill(sent.launch_id, [order(7, to=1.0)])
            worker.fill("another", [order(8)])

    program.before_epoch = act
    try:
        messages = [message for batch in worker.run(sent) for message in batch]
        ended = {m.key.trial: m.outcome for m in messages if isinstance(m, Ended)}
        assert ended == {0: Outcome.REACHED, 1: Outcome.REACHED, 7: Outcome.REACHED}
        worker.fill(sent.launch_id, [order(7)])
        program.before_epoch = lambda *_: None
        messages = [message for batch in worker.run(stray) for message in batch]
        assert {m.key.trial for m in messages if isinstance(m, Ended)} == {9}
        assert not worker._filled
        assert not worker._cancels
    finally:
        worker.stop()
