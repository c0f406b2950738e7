"""Fused launches: every order is an attempt of its own, whoever shares the launch. How lanes compute is not asked here:
a stand-in trains them, one number each."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from workers import checkpoints, recipes
from workers.contract import (
    FUSED,
    AttemptKey,
    AttemptMessage,
    CancelMode,
    CheckpointRef,
    Ended,
    FailureKind,
    Launch,
    Logged,
    Message,
    Narrowed,
    Outcome,
    Reported,
    Saved,
    Started,
    TrainerSpec,
    WorkerSeen,
    WorkOrder,
)
from workers.errors import AttemptEnd
from workers.session_fused import FusedAttempts
from workers.trial import Trial

EndedCall = Callable[[int, BaseException | None], None]
More = Callable[[int], Sequence[tuple[Any, Trial]]]


@dataclass
class Program:
    """A stand-in for the fused loop: lane values fall by `lr` per epoch, from 1; hooks make things go wrong."""

    widths: list[tuple[int, int]] = field(default_factory=list)
    before_epoch: Callable[[int, int], None] = lambda width, epoch: None
    epochs: int | None = None

    def __call__(
        self, tasks: Sequence[Any], trials: Sequence[Trial], *, width: int, ended: EndedCall, more: More
    ) -> None:
        assert len(tasks) == len(trials) <= width
        trials = list(trials)
        self.widths.append((len(trials), width))
        states: list[dict[str, Any]] = [trial.load_checkpoint() or {"epoch": 0, "value": 1.0} for trial in trials]
        alive = set(range(len(trials)))
        for round_ in itertools.count(1):
            if not alive:
                return
            self.before_epoch(width, round_)
            for lane in sorted(alive):
                try:
                    self._lane(lane, trials[lane], states[lane])
                    if states[lane]["epoch"] == self.epochs:
                        alive.discard(lane)
                        ended(lane, None)
                except (Exception, AttemptEnd) as error:
                    alive.discard(lane)
                    ended(lane, error)
            for _, trial in more(width - len(alive)) if 0 < len(alive) < width else ():
                alive.add(len(trials))
                trials.append(trial)
                states.append(trial.load_checkpoint() or {"epoch": 0, "value": 1.0})

    def _lane(self, lane: int, trial: Trial, state: dict[str, Any]) -> None:
        state["epoch"] += 1
        state["value"] -= trial.params.get("lr", 0.1)
        if trial.params.get("grad_clip") == 7.0:
            raise KeyError("of this lane alone")
        loss = float("nan") if trial.params.get("label_smoothing") == 0.5 else state["value"]
        trial.report(state["epoch"], val_loss=loss)
        if trial.should_save:
            trial.save_checkpoint({"w": torch.tensor(state["value"]), **state})


@dataclass
class Run:
    """What a launch sent, by trial."""

    messages: list[Message] = field(default_factory=list)

    def of(self, trial: int) -> list[AttemptMessage]:
        attempts = (m for m in self.messages if not isinstance(m, Narrowed | WorkerSeen))
        return [m for m in attempts if m.key.trial == trial]

    def kinds(self, trial: int) -> list[str]:
        return [type(m).__name__ for m in self.of(trial) if not isinstance(m, Logged)]

    def steps(self, trial: int) -> list[int]:
        return [m.step for m in self.of(trial) if isinstance(m, Reported)]

    def end(self, trial: int) -> Ended:
        found = [m for m in self.of(trial) if isinstance(m, Ended)]
        assert len(found) == 1
        assert self.of(trial)[-1] is found[0]
        return found[0]

    def log(self, trial: int) -> str:
        return "".join(m.text for m in self.of(trial) if isinstance(m, Logged))

    @property
    def narrowed(self) -> list[Narrowed]:
        return [m for m in self.messages if isinstance(m, Narrowed)]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    made = Program()
    monkeypatch.setattr(recipes, "train_lanes", made)
    return made


@pytest.fixture
def order(tmp_path: Path) -> Callable[..., WorkOrder]:
    def make(trial: int, params: Mapping[str, Any] | None = None, *, to: float = 3.0, **changes: Any) -> WorkOrder:
        base = WorkOrder(
            key=AttemptKey(study_id="s", trial=trial, fence=1),
            trainer=TrainerSpec(recipe="tabular", params={"hidden_units": 4}),
            params=dict(params or {}),
            seed=100 + trial,
            metric="val_loss",
            metrics=("val_loss",),
            from_resource=0.0,
            target_resource=to,
            horizon=9.0,
            storage_root=str(tmp_path),
        )
        return replace(base, **changes)

    return make


Make = Callable[..., WorkOrder]


def launch(*orders: WorkOrder, width: int | None = None) -> Launch:
    return Launch(launch_id="l", orders=orders, method=FUSED, width=width or len(orders))


def run(sent: Launch, cancelled: Callable[[Run, AttemptKey], CancelMode | None] = lambda *_: None) -> Run:
    found = Run()
    FusedAttempts(sent, found.messages.append, lambda key: cancelled(found, key)).run()
    return found


def test_every_order_is_an_attempt_from_start_to_end(program: Program, order: Make, tmp_path: Path) -> None:
    got = run(launch(order(4), order(9), order(2)))
    for trial in (4, 9, 2):
        assert got.kinds(trial) == ["Started", "Reported", "Reported", "Reported", "Saved", "Ended"]
        end = got.end(trial)
        assert (end.outcome, end.resource, end.failure) == (Outcome.REACHED, 3.0, None)
        assert end.checkpoint is not None
        assert end.checkpoint.path == f"checkpoints/s/{trial}/1-3.pt"
        assert (tmp_path / end.checkpoint.path).stat().st_size == end.checkpoint.size_bytes
    assert program.widths == [(3, 3)]


def test_the_environment_is_the_launchs(program: Program, order: Make) -> None:
    got = run(launch(order(0), order(1), width=8))
    started = [m for m in got.messages if isinstance(m, Started)]
    assert [m.key.trial for m in started] == [0, 1]
    assert started[0].environment is started[1].environment
    run_of = started[0].environment["run"]
    assert (run_of["method"], run_of["width"]) == ("fused", 8)
    assert program.widths == [(2, 8)]


def test_a_lane_ends_as_soon_as_it_is_over_and_the_others_go_on(program: Program, order: Make) -> None:
    got = run(launch(order(0, to=1.0), order(1, to=4.0), order(2, to=2.0)))
    assert [got.steps(trial) for trial in (0, 1, 2)] == [[1], [1, 2, 3, 4], [1, 2]]
    ends = [m.key.trial for m in got.messages if isinstance(m, Ended)]
    assert ends == [0, 2, 1]


def test_each_goes_on_from_its_own_checkpoint_at_its_own_epoch(program: Program, order: Make) -> None:
    first = run(launch(order(0, to=1.0), order(1, to=2.0), order(2, to=3.0)))
    again = [
        order(
            trial,
            to=4.0,
            key=AttemptKey(study_id="s", trial=trial, fence=2),
            checkpoints=(first.end(trial).checkpoint,),
        )
        for trial in (0, 1, 2)
    ]
    got = run(launch(*again, order(3, to=4.0)))
    assert [got.steps(trial) for trial in range(4)] == [[2, 3, 4], [3, 4], [4], [1, 2, 3, 4]]
    assert [m.resumed_from for m in got.messages if isinstance(m, Started)] == [1.0, 2.0, 3.0, 0.0]


def test_a_damaged_checkpoint_falls_back_to_the_one_before_in_its_lane_alone(
    program: Program, order: Make, tmp_path: Path
) -> None:
    refs: dict[int, list[CheckpointRef]] = {0: [], 1: []}
    for fence, to in ((1, 1.0), (2, 2.0)):
        orders = [
            order(t, to=to, key=AttemptKey(study_id="s", trial=t, fence=fence), checkpoints=tuple(reversed(refs[t])))
            for t in refs
        ]
        for t in refs:
            end = run(launch(orders[t])).end(t)
            assert end.checkpoint is not None
            refs[t].append(end.checkpoint)
    (tmp_path / refs[1][1].path).write_bytes(b"PK\x03\x04 damaged")
    third = [
        order(t, to=3.0, key=AttemptKey(study_id="s", trial=t, fence=3), checkpoints=tuple(reversed(refs[t])))
        for t in refs
    ]
    got = run(launch(*third))
    assert (got.steps(0), got.steps(1)) == ([3], [2, 3])
    assert refs[1][1].path in got.log(1)
    assert refs[1][1].path not in got.log(0)


def test_a_lane_that_is_at_its_target_ends_at_once(program: Program, order: Make) -> None:
    ref = run(launch(order(0, to=2.0))).end(0).checkpoint
    key = AttemptKey(study_id="s", trial=0, fence=2)
    got = run(launch(order(0, to=2.0, key=key, checkpoints=(ref,)), order(1, to=2.0)))
    assert got.kinds(0) == ["Started", "Ended"]
    assert (got.end(0).outcome, got.end(0).resource) == (Outcome.REACHED, 2.0)
    assert got.end(1).outcome is Outcome.REACHED
    assert program.widths[-1] == (1, 2)


@pytest.mark.parametrize(
    ("mode", "outcome"), [(CancelMode.PAUSE, Outcome.PAUSED), (CancelMode.STOP, Outcome.CANCELLED)]
)
def test_a_cancelled_lane_ends_alone(program: Program, order: Make, mode: CancelMode, outcome: Outcome) -> None:
    got = run(
        launch(order(0, to=4.0), order(1, to=4.0)),
        lambda so_far, key: mode if key.trial == 1 and so_far.steps(1) == [1, 2] else None,
    )
    assert (got.steps(0), got.steps(1)) == ([1, 2, 3, 4], [1, 2])
    assert got.end(1).outcome is outcome
    ref = got.end(1).checkpoint
    assert (ref is not None and ref.resource == 2.0) if mode is CancelMode.PAUSE else ref is None
    assert got.end(0).outcome is Outcome.REACHED


def test_a_lane_whose_cancellation_came_first_never_starts(program: Program, order: Make) -> None:
    got = run(launch(order(0), order(1)), lambda _, key: CancelMode.STOP if key.trial == 0 else None)
    assert got.kinds(0) == ["Ended"]
    assert got.end(0).outcome is Outcome.CANCELLED
    assert got.steps(1) == [1, 2, 3]
    assert program.widths == [(1, 2)]


def test_a_lane_that_diverges_fails_alone(program: Program, order: Make) -> None:
    got = run(launch(order(0, {"label_smoothing": 0.5}), order(1)))
    assert (got.end(0).failure, got.steps(0)) == (FailureKind.DIVERGED, [1])
    assert got.end(1).outcome is Outcome.REACHED


def test_an_exception_of_a_lane_fails_it_alone(program: Program, order: Make) -> None:
    got = run(launch(order(0), order(1, {"grad_clip": 7.0})))
    assert (got.end(1).failure, got.end(1).reason) == (FailureKind.EXCEPTION, "KeyError: 'of this lane alone'")
    assert "KeyError" in got.end(1).traceback
    assert got.end(0).outcome is Outcome.REACHED


@pytest.mark.parametrize(
    ("params", "hint"),
    [
        ({"lr": -1.0}, "lr must lie in"),
        ({"hiden_units": 3}, "did you mean 'hidden_units'"),
        ({"batch_size": 16}, "batch_size is 16 and not None"),
        ({"data": "/nowhere.csv"}, "nothing at '/nowhere.csv'"),
    ],
)
def test_an_order_that_cannot_be_a_lane_fails_alone(
    params: dict[str, Any], hint: str, program: Program, order: Make
) -> None:
    got = run(launch(order(0), order(1, params), order(2)))
    assert got.kinds(1) == ["Ended"]
    assert got.end(1).failure is FailureKind.INVALID
    assert hint in got.end(1).reason
    assert [got.end(trial).outcome for trial in (0, 2)] == [Outcome.REACHED] * 2


def test_functions_are_no_lanes(program: Program, order: Make) -> None:
    got = run(launch(order(0, trainer=TrainerSpec(function="textwrap:dedent")), order(1)))
    assert got.end(0).failure is FailureKind.INVALID
    assert "only a recipe" in got.end(0).reason
    assert got.end(1).outcome is Outcome.REACHED


def test_a_timeout_ends_its_lane(program: Program, order: Make) -> None:
    got = run(launch(order(0, trial_timeout_s=0.0), order(1)))
    assert (got.end(0).failure, got.steps(0)) == (FailureKind.TIMED_OUT, [1])
    assert got.end(1).outcome is Outcome.REACHED


def test_a_lane_that_ends_by_itself_is_completed(program: Program, order: Make) -> None:
    program.epochs = 2
    got = run(launch(order(0, to=1.0), order(1, to=9.0)))
    assert (got.end(1).outcome, got.end(1).resource) == (Outcome.COMPLETED, 2.0)


def test_what_is_wrong_with_the_program_fails_those_that_are_in_it(program: Program, order: Make) -> None:
    def breaks(width: int, epoch: int) -> None:
        if epoch == 2:
            raise ValueError("of all lanes")

    program.before_epoch = breaks
    got = run(launch(order(0, to=1.0), order(1), order(2)))
    assert got.end(0).outcome is Outcome.REACHED
    for trial in (1, 2):
        assert (got.end(trial).failure, got.end(trial).reason) == (FailureKind.EXCEPTION, "ValueError: of all lanes")
        assert "in breaks" in got.end(trial).traceback
        assert got.end(trial).resource == 1.0


# Out of memory


def memory_for(lanes: int) -> Callable[[int, int], None]:
    def check(width: int, epoch: int) -> None:
        if width > lanes:
            raise torch.OutOfMemoryError("CUDA out of memory")

    return check


def test_out_of_memory_halves_until_it_fits(program: Program, order: Make) -> None:
    program.before_epoch = memory_for(3)
    got = run(launch(*(order(trial) for trial in range(10)), width=10))
    assert [n.width for n in got.narrowed] == [5, 3, 3]
    assert [sorted(key.trial for key in n.keys) for n in got.narrowed] == [[*range(10)], [*range(5)], [*range(5, 10)]]
    assert program.widths == [(10, 10), (5, 5), (2, 3), (3, 3), (5, 5), (2, 3), (3, 3)]
    for trial in range(10):
        assert (got.end(trial).outcome, got.steps(trial)) == (Outcome.REACHED, [1, 2, 3])
        assert "out of memory at 10 lanes" in got.log(trial)


def test_a_lane_that_is_cancelled_while_it_waits_for_its_part_does_not_train(program: Program, order: Make) -> None:
    program.before_epoch = memory_for(1)
    got = run(
        launch(order(0), order(1)),
        lambda so_far, key: CancelMode.STOP if key.trial == 1 and so_far.steps(0) else None,
    )
    assert (got.end(0).outcome, got.steps(0)) == (Outcome.REACHED, [1, 2, 3])
    assert (got.end(1).outcome, got.steps(1)) == (Outcome.CANCELLED, [])
    assert program.widths == [(2, 2), (1, 1)]


def test_lanes_that_reported_are_interrupted_rather_than_contradicted(program: Program, order: Make) -> None:
    def later(width: int, epoch: int) -> None:
        if epoch == 2 and width > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    program.before_epoch = later
    got = run(launch(order(0, to=1.0), order(1), order(2)))
    assert got.end(0).outcome is Outcome.REACHED
    for trial in (1, 2):
        end = got.end(trial)
        assert (end.outcome, end.resource, got.steps(trial)) == (Outcome.PAUSED, 1.0, [1])
        assert "narrower launch" in end.reason
    assert [n.width for n in got.narrowed] == [2]
    assert got.narrowed[0].keys == (), "what they reported was trained at the width that they had"


def test_one_lane_that_does_not_fit_fails(program: Program, order: Make) -> None:
    program.before_epoch = memory_for(0)
    got = run(launch(order(0), order(1)))
    assert [got.end(trial).failure for trial in (0, 1)] == [FailureKind.OUT_OF_MEMORY] * 2


def test_the_memory_of_a_program_is_free_before_the_next_begins(monkeypatch: pytest.MonkeyPatch, order: Make) -> None:
    import weakref

    class Big:
        """Stands for what a program holds."""

    alive: list[weakref.ref[Big]] = []

    def train(tasks: Sequence[Any], trials: Sequence[Trial], *, width: int, ended: EndedCall, more: More) -> None:
        assert all(ref() is None for ref in alive)
        held = Big()
        alive.append(weakref.ref(held))
        if width > 1:
            raise MemoryError
        trials[0].log(f"{held}")
        ended(0, None)

    monkeypatch.setattr(recipes, "train_lanes", train)
    got = run(launch(order(0), order(1)))
    assert len(alive) == 3
    assert got.end(0).failure is FailureKind.MISSING_METRIC


# Checkpoints, costs, logs


def test_a_checkpoint_that_memory_does_not_hold_costs_its_lane_alone(
    program: Program, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(launch(order(0, to=1.0), order(1, to=1.0))).end(0).checkpoint
    read = checkpoints.load

    def load(root: Any, ref: CheckpointRef, **how: Any) -> Any:
        if ref == first:
            raise MemoryError
        return read(root, ref, **how)

    monkeypatch.setattr(checkpoints, "load", load)
    assert first is not None
    got = run(launch(order(0, checkpoints=(first,)), order(1)))
    assert (got.end(0).outcome, got.end(0).failure) == (Outcome.FAILED, FailureKind.OUT_OF_MEMORY)
    assert (got.end(1).outcome, got.steps(1)) == (Outcome.REACHED, [1, 2, 3])


def test_a_checkpoint_that_cannot_be_stored_fails_its_lane_alone(program: Program, order: Make, tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("")
    got = run(launch(order(0, storage_root=str(blocked)), order(1)))
    assert (got.end(0).outcome, got.end(0).failure) == (Outcome.FAILED, FailureKind.STORAGE)
    assert str(blocked) in got.end(0).reason
    assert got.end(0).checkpoint is None
    assert got.end(1).outcome is Outcome.REACHED


def test_the_newest_two_checkpoints_of_an_attempt_are_kept(
    program: Program, order: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.trial.CHECKPOINT_EVERY_S", 0.0)
    got = run(launch(order(0, to=5.0), order(1, to=2.0)))
    saved = [m.checkpoint for m in got.of(0) if isinstance(m, Saved)]
    assert [ref.step for ref in saved] == [1, 2, 3, 4, 5]
    left = {p.relative_to(tmp_path).as_posix() for p in (tmp_path / "checkpoints/s/0").iterdir()}
    assert left == {ref.path for ref in saved[-2:]}


class Clock:
    """Seconds that pass only when told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def test_costs_are_shared_by_those_who_train(program: Program, order: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)

    def passes(width: int, epoch: int) -> None:
        clock.now += 12.0

    program.before_epoch = passes
    got = run(launch(order(0, to=1.0), order(1, to=2.0), order(2, to=3.0)))
    assert [got.end(trial).seconds for trial in range(3)] == [12.0, 24.0, 36.0]
    assert [got.end(trial).charged_seconds for trial in range(3)] == [4.0, 4.0 + 6.0, 4.0 + 6.0 + 12.0]


def test_parts_that_wait_for_another_cost_nothing_meanwhile(
    program: Program, order: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    def passes(width: int, epoch: int) -> None:
        clock.now += 8.0
        memory_for(2)(width, epoch)

    program.before_epoch = passes
    got = run(launch(*(order(trial, to=1.0) for trial in range(4))))
    charged = [got.end(trial).charged_seconds for trial in range(4)]
    assert charged == [2.0 + 4.0] * 4
    assert sum(c for c in charged if c is not None) == clock.now - 1000.0


def test_shares_add_up_to_the_time_of_the_launch(program: Program, order: Make) -> None:
    sent = launch(*(order(trial, to=1.0 + trial % 3) for trial in range(8)))
    began = time.monotonic()
    got = run(sent)
    took = time.monotonic() - began
    total = sum(got.end(trial).charged_seconds or 0.0 for trial in range(8))
    assert 0.0 < total <= took
    assert max(got.end(trial).seconds for trial in range(8)) == pytest.approx(total, rel=0.05, abs=0.005)


def test_peak_memory_is_divided_by_the_orders(program: Program, order: Make) -> None:
    alone = run(launch(order(0))).end(0).peak_memory_bytes
    shared = run(launch(*(order(trial) for trial in range(4)))).end(0).peak_memory_bytes
    assert alone is not None
    assert shared is not None
    assert shared < alone / 2


def test_output_goes_to_the_first_lane_that_trains(program: Program, order: Make) -> None:
    def prints(width: int, epoch: int) -> None:
        print(f"epoch {epoch}")

    program.before_epoch = prints
    got = run(launch(order(0, to=1.0), order(1, to=2.0)))
    assert got.log(0) == "[printed for all 2 trials of the launch]\nepoch 1\n"
    assert got.log(1) == "[printed for all 2 trials of the launch]\nepoch 2\n"


@pytest.fixture(autouse=True)
def _process_is_left_as_it_was() -> Iterator[None]:
    import sys

    before = sys.stdout, sys.stderr
    yield
    assert (sys.stdout, sys.stderr) == before
