"""When steps are recorded and replayed, what happens where that goes wrong, and that going wrong is noticed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.unit.workers.lanes_support import Ran, assert_equal_bits, made_up, task
from tests.unit.workers.recorded_support import REPLAYED, both, by_tape, called_by_torch, learner_of, trained
from tests.unit.workers.tape import TapeRecorder, TapeRecording
from tests.unit.workers.test_loops_fused import Bench, tasks_of
from workers.loops import recorded_steps
from workers.loops.graphs import Recording
from workers.loops.progress import Progress
from workers.loops.recorded_steps import CLEARLY, FIRST_GUESS_S, SETTLING_STEPS, Given, RecordedSteps
from workers.loops.single import RowLoss, Task

EACH = [{"lr": 0.01, "momentum": 0.9}, {"lr": 0.02, "momentum": 0.5, "weight_decay": 0.01}]


def tasks(loss: RowLoss | None = None, **structure: Any) -> list[Task]:
    """Two lanes, six whole batches an epoch and a smaller one."""
    made = made_up((7,), classes=0 if loss else 3)
    full = {"model": "mlp", "batch_size": 8, "normalization": "batch", **structure}
    return [replace(task(made, {**full, **lane}), loss=loss) for lane in EACH]


def assert_all_equal(some: list[Ran], others: list[Ran]) -> None:
    for one, other in zip(some, others, strict=True):
        assert_equal_bits(one, other)


# What cannot be recorded


class Broken(TapeRecorder):
    """Fails at a recording, or at its first replay."""

    def __init__(self, error: Exception, *, at: str) -> None:
        super().__init__()
        self._error, self._at = error, at

    def record(self, work: Callable[[], Tensor]) -> Recording:
        recording = super().record(work)
        if self._at == "recording":
            raise self._error

        class Failing:
            out = recording.out

            def replay(_) -> None:  # noqa: N805 - the recorder's own `self` is meant
                recording.replay()  # it leaves its traces
                raise self._error

        return Failing()


@pytest.mark.parametrize("at", ["recording", "replay"])
@pytest.mark.parametrize("error", [RuntimeError("cannot be captured"), torch.OutOfMemoryError("out of memory")])
def test_what_fails_changes_nothing(error: Exception, at: str) -> None:
    with called_by_torch():
        called = trained(learner_of(tasks()), range(1, 4), 2)
    with by_tape(), patch("workers.loops.graphs.recorder_of", lambda _: Broken(error, at=at)):
        learner = learner_of(tasks())
        assert_all_equal(called, trained(learner, range(1, 4), 2))
    assert learner.graphs.startswith("no CUDA graph: ")
    assert str(error) in learner.graphs


LIMIT = torch.tensor(0.5)


def asks(out: Tensor, y: Tensor) -> Tensor:
    """Asks for a number of the device's."""
    return (out.squeeze(-1) - y).abs() * LIMIT.item()


def test_a_loss_that_waits_for_the_device_is_called() -> None:
    called, recorded, learner, recorder = both(tasks(asks))
    assert_all_equal(called, recorded)
    assert learner.graphs == "no CUDA graph: a step waits for the device (aten._local_scalar_dense)"
    assert recorder.recordings == recorder.replays == 0


def test_a_loss_that_waits_later_fails_while_it_is_recorded_and_is_called() -> None:
    calls = 0

    def later(out: Tensor, y: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return (out.squeeze(-1) - y).abs() * (LIMIT.item() if calls > 3 else 0.5)

    with called_by_torch():
        called = trained(learner_of(tasks(later)), range(1, 4), 2)
    calls = 0
    with by_tape() as made:
        learner = learner_of(tasks(later))
        recorded = trained(learner, range(1, 4), 2)
    assert_all_equal(called, recorded)
    assert "not permitted when stream is capturing: aten._local_scalar_dense" in learner.graphs
    assert made[0].recordings == 0


# A step that hangs on the host's state: noticed, and, where nobody looks, different


class Growing:
    """A loss that counts its calls, and weighs the error by them."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, out: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return (out.squeeze(-1) - y).abs() * (1.0 + self.calls)


def growing(looked: bool) -> tuple[list[Ran], list[Ran], str]:
    with called_by_torch():
        called = trained(learner_of(tasks(Growing())), range(1, 4), 2)
    with by_tape(), patch.object(recorded_steps, "_same", recorded_steps._same if looked else lambda *_: True):
        learner = learner_of(tasks(Growing()))
        recorded = trained(learner, range(1, 4), 2)
    return called, recorded, learner.graphs


def test_a_step_that_hangs_on_the_host_is_found_out() -> None:
    assert growing(looked=True)[2] == "no CUDA graph: a replay came to other numbers than the same step called"


def test_replays_of_a_step_that_hangs_on_the_host_come_to_something_else() -> None:
    called, recorded, said = growing(looked=False)
    assert said == REPLAYED
    with pytest.raises(AssertionError):
        assert_all_equal(called, recorded)


def test_a_recording_that_reads_the_plan_of_its_own_step_is_noticed() -> None:
    """As if the learning rate were recorded with the step instead of copied into it."""
    each = tasks(lr_schedule="cosine")
    with called_by_torch():
        called = trained(learner_of(each), range(1, 4), 2)
    with by_tape():
        learner = learner_of(each)
        optimiser = learner._optimiser
        with patch.object(optimiser, "named", lambda numbers: optimiser.now(3)):  # step 3 is what is recorded
            recorded = trained(learner, range(1, 4), 2)
    assert learner.graphs == REPLAYED  # its own step it replays rightly, and only that is looked at
    with pytest.raises(AssertionError):
        assert_all_equal(called, recorded)


# Whether it pays


def test_replays_that_are_hardly_faster_are_dropped() -> None:
    called, recorded, learner, recorder = both(tasks(), call_s=1.0, replay_s=0.97)
    assert_all_equal(called, recorded)
    assert learner.graphs == "no CUDA graph: replays are 1.03 times as fast as call by call"
    assert recorder.replays == 2  # that which is undone, and the one that is timed
    assert both(tasks(), call_s=1.0, replay_s=0.95)[2].graphs.startswith("steps as CUDA graphs, 1.1 times")


def test_what_hinders_is_said() -> None:
    with by_tape() as made:
        learner = learner_of(tasks())
        made[0].why = "there is too little memory left for it"
        trained(learner, range(1, 3), 2)
    assert learner.graphs == "no CUDA graph: there is too little memory left for it"
    assert made[0].recordings == 0


@settings(max_examples=25, deadline=None)
@given(ahead=st.integers(0, 30), call_s=st.floats(1e-4, 1e-1), cost_s=st.floats(1e-3, 1.0))
def test_only_where_the_steps_to_come_are_worth_it(ahead: int, call_s: float, cost_s: float) -> None:
    with by_tape(call_s=call_s, replay_s=call_s / 10) as made:
        recorded_steps._cost.expected_s = cost_s
        learner = learner_of(tasks())
        learner.epoch([1, 1], ahead=ahead)
    to_come = 6 * (1 + ahead) - 3  # whole batches; one step warms, one loads, one is timed
    assert (made[0].recordings == 1) is (to_come * call_s >= CLEARLY * cost_s)
    if not made[0].recordings:
        assert learner.graphs.startswith(f"no CUDA graph: the {to_come} steps to come take")


def test_stretch_by_stretch_fewer_steps_are_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.loops.lane_batches._GATHERED_VALUES", 2 * 2 * 8 * 7)  # two batches at a time
    asked: list[tuple[int, int]] = []
    take = RecordedSteps.take

    def noted(self: RecordedSteps, given: list[Given], to_come: int) -> Iterator[Tensor]:
        asked.append((len(given), to_come))
        return take(self, given, to_come)

    monkeypatch.setattr(RecordedSteps, "take", noted)
    called, recorded, learner, _ = both(tasks(), epochs=4, phase=None)
    assert_all_equal(called, recorded)
    assert learner.graphs.startswith("steps as CUDA graphs")
    assert asked[:4] == [(2, 60), (2, 58), (2, 56), (1, 54)]  # `both` plans nine epochs more; the last batch is smaller


def test_what_recording_cost_is_what_the_next_one_is_expected_to_cost() -> None:
    with by_tape(call_s=1.0, replay_s=3.0):
        learner_of(tasks()).epoch([1, 1], ahead=9)
        assert recorded_steps._cost.expected_s == FIRST_GUESS_S  # the first one loads what the next ones find
        learner_of(tasks()).epoch([1, 1], ahead=9)
        assert recorded_steps._cost.expected_s == 3.0 - 1.0  # all that it took, but for the step itself


def test_a_learner_that_may_not_replay_is_not_asked() -> None:
    with by_tape() as made:
        learner = learner_of(tasks(), replaying=False)
        learner.epoch([1, 1], ahead=9)
    assert not made
    assert (learner.graphs, learner.settling) == ("", False)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_what_a_learner_recorded_goes_with_it(model: str) -> None:
    """At once, without Python looking for cycles: a launch that is filled makes programs anew, in the same memory."""
    shape = (7,) if model == "mlp" else (1, 6, 6)
    one = task(made_up(shape), {"model": model, "width": 2, "batch_size": 8})
    with by_tape() as made:
        learner = learner_of([one])
        learner.epoch([1], ahead=9)
        assert learner.graphs == REPLAYED
        recorded = weakref.ref(learner._recorded)
        recording = weakref.ref(learner._recorded._recording)
        recorder = weakref.ref(made.pop())
        gc.disable()
        try:
            del learner
            assert recorded() is recording() is recorder() is None
        finally:
            gc.enable()


def test_so_many_steps_settle_it() -> None:
    with by_tape(phase=None):
        learner = learner_of(tasks())
        for epoch in range(1, -(-SETTLING_STEPS // 6)):
            learner.epoch([epoch] * 2, ahead=9)
            assert learner.settling
        learner.epoch([4, 4], ahead=9)
        assert not learner.settling
        assert learner.graphs == REPLAYED


# Steps that come to something else each time, as some of a GPU's do


class Shaky:
    """A step on one number, which adds up in any order; it stands in for a LaneStep and its optimiser."""

    def __init__(self) -> None:
        self.value = torch.zeros(1)
        self.optimiser = self

    def now(self, index: int) -> Mapping[str, list[Tensor]]:
        return {}

    def numbers(self, index: int) -> Tensor:
        return torch.zeros(1, 1, 1)

    def named(self, numbers: Tensor) -> Mapping[str, list[Tensor]]:
        return {}

    def __call__(self, x: Tensor, masks: Any, target: Tensor, now: Any) -> Tensor:
        self.value.add_(x.mean() + 1e-5 * torch.rand(()))
        return self.value.clone()


@pytest.mark.parametrize(("wrong", "taken"), [(0.0, True), (1e-3, False)])
def test_where_replays_differ_themselves_they_must_come_as_near(wrong: float, taken: bool) -> None:
    class Wrong(TapeRecording):
        def replay(self) -> None:
            super().replay()
            step.value.add_(wrong)

    torch.manual_seed(1)
    step, recorder = Shaky(), TapeRecorder()
    with by_tape(), patch("tests.unit.workers.tape.TapeRecording", Wrong):
        steps = RecordedSteps(step, rows=4, state=[step.value], recorder=recorder)
        ones = torch.ones(1, 4)
        batch = [Given(x=ones, masks=(), target=ones, index=i) for i in range(6)]
        outs = [float(out) for out in steps.take(batch, 1000)]
    assert (steps.said == REPLAYED) is taken
    assert outs == pytest.approx([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], abs=1e-4)


# What a launch says


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with by_tape():
        yield Bench(tmp_path)


def test_a_launch_says_once_what_came_of_it(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    each = tasks_of({"lr": 0.01}, {"lr": 0.02})
    bench.train(each, [bench.trial(i, to=4) for i in range(2)], width=3)
    assert capsys.readouterr().out.count(f"3 lanes: {REPLAYED}") == 1


def test_how_many_epochs_are_planned() -> None:
    assert Progress(patience=0).ahead(float("inf")) == 0
    assert Progress(patience=0, last=9).ahead(float("inf")) == 8
    assert Progress(patience=0, last=9, epoch=2).ahead(4.0) == 1
    assert Progress(patience=0, last=9, epoch=8).ahead(20.0) == 0
