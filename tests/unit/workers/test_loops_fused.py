"""The fused loop: every lane reports, saves, goes on and ends for itself, as it would in the plain loop."""

from __future__ import annotations

import contextlib
import gc
import itertools
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.workers.lanes_support import made_up, task
from workers import checkpoints
from workers.contract import (
    AttemptKey,
    CancelMode,
    CheckpointRef,
    Message,
    Outcome,
    Reported,
    Saved,
    TrainerSpec,
    WorkOrder,
)
from workers.data import TaskData
from workers.errors import AttemptEnd
from workers.loops import fused, single
from workers.loops.lane_size import lane_bytes
from workers.loops.lanes import LaneLearner, one_thread
from workers.loops.optimisers import OPTIMIZERS
from workers.loops.single import Task
from workers.trial import Resumed, Trial

DATA = made_up((7,))
BASE = {"batch_size": 16, "model": "mlp", "optimizer": "momentum", "dropout": 0.2}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread("cpu"):
        yield


class Bench:
    """Makes tasks and trials, and keeps what they send and how lanes end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fences = itertools.count(1)
        self.messages: list[Message] = []
        self.endings: list[tuple[int, BaseException | None]] = []
        self.cancel: dict[int, tuple[int, CancelMode]] = {}  # trial → from which of its reports on, how

    def trial(self, number: int, *, to: float, resume: CheckpointRef | None = None, **changes: Any) -> Trial:
        order = WorkOrder(
            key=AttemptKey(study_id="s", trial=number, fence=next(self._fences)),
            trainer=TrainerSpec(recipe="tabular"),
            params={},
            seed=number,
            metric="val_loss",
            metrics=("val_loss",),
            from_resource=resume.resource if resume else 0.0,
            target_resource=to,
            horizon=5.0,
            storage_root=str(self._folder),
            checkpoints=(resume,) if resume else (),
            **changes,
        )
        resumed = None
        if resume is not None:
            state = checkpoints.load(str(self._folder), resume, weights_only=True)
            resumed = Resumed(ref=resume, state=state)
        return Trial(
            order, emit=self.messages.append, cancelled=lambda: self._cancelled(number), log=print, resumed=resumed
        )

    def _cancelled(self, number: int) -> CancelMode | None:
        after, mode = self.cancel.get(number, (0, None))
        return mode if len(self.reports(number)) >= after else None

    def train(self, tasks: list[Task], trials: list[Trial], *, width: int) -> None:
        fused.train(tasks, trials, width=width, ended=lambda lane, error: self.endings.append((lane, error)))

    def alone(self, one: Task, trial: Trial) -> None:
        with contextlib.suppress(AttemptEnd):
            single.train(one, trial)

    def reports(self, number: int) -> dict[int, dict[str, float]]:
        sent = [m for m in self.messages if isinstance(m, Reported) and m.key.trial == number]
        return {m.step: dict(m.metrics) for m in sent}

    def saved(self, number: int) -> list[CheckpointRef]:
        return [m.checkpoint for m in self.messages if isinstance(m, Saved) and m.key.trial == number]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def plain(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "plain")


def tasks_of(*changes: Mapping[str, Any], data: TaskData = DATA) -> list[Task]:
    return [task(data, {**BASE, "epochs": None, **each}) for each in changes]


def close(found: dict[int, dict[str, float]], expected: dict[int, dict[str, float]]) -> bool:
    without = [[{k: v for k, v in m.items() if k != "seconds"} for m in each.values()] for each in (found, expected)]
    return list(found) == list(expected) and all(
        a == pytest.approx(b, rel=1e-4, abs=0.07) for a, b in zip(*without, strict=True)
    )


def test_lanes_report_what_the_plain_loop_reports_each_to_its_own_target(bench: Bench, plain: Bench) -> None:
    tasks = tasks_of({"lr": 0.01}, {"lr": 0.02}, {"lr": 0.003})
    bench.train(tasks, [bench.trial(i, to=2 + i) for i in range(3)], width=4)
    for i, one in enumerate(tasks):
        plain.alone(one, plain.trial(i, to=2 + i))
        assert close(bench.reports(i), plain.reports(i))
        assert list(bench.reports(i)[1]) == list(plain.reports(i)[1])
        assert [ref.step for ref in bench.saved(i)] == [2 + i]
    assert [lane for lane, _ in bench.endings] == [0, 1, 2]
    assert all(isinstance(error, AttemptEnd) for _, error in bench.endings)


def test_folds_are_spread_per_lane(bench: Bench, plain: Bench) -> None:
    (fold,) = DATA.folds
    turned = type(fold)(x_train=fold.x_val, y_train=fold.y_val, x_val=fold.x_train, y_val=fold.y_train)
    data = TaskData(folds=(fold, turned), classes=3, target_scale=(1.0, 1.0), identity={})
    tasks = tasks_of({"lr": 0.01}, {"lr": 0.02}, data=data)
    bench.train(tasks, [bench.trial(i, to=2) for i in range(2)], width=2)
    for i, one in enumerate(tasks):
        plain.alone(one, plain.trial(i, to=2))
        assert "val_loss_std" in bench.reports(i)[1]
        assert close(bench.reports(i), plain.reports(i))


def test_a_launch_goes_on_from_checkpoints_of_either_loop(bench: Bench, plain: Bench) -> None:
    tasks = tasks_of({"lr": 0.01}, {"lr": 0.02}, {"lr": 0.005})
    for i, one in enumerate(tasks):
        plain.alone(one, plain.trial(i, to=4))
    bench.train(tasks, [bench.trial(i, to=1 + i) for i in range(3)], width=3)
    refs = [bench.saved(i)[-1] for i in range(3)]
    bench.train(tasks, [bench.trial(i, to=4, resume=refs[i]) for i in range(3)], width=4)
    for i in range(3):
        assert close(bench.reports(i), plain.reports(i))


def test_equal_width_and_other_lanes_give_equal_reports(bench: Bench) -> None:
    tasks = tasks_of({"lr": 0.01}, {"lr": 0.02}, {"lr": 0.005}, {"lr": 100.0})
    bench.train(tasks, [bench.trial(i, to=3) for i in range(4)], width=4)
    first = {i: bench.reports(i) for i in range(4)}
    bench.messages.clear()
    bench.train([tasks[2], tasks[0]], [bench.trial(2, to=3), bench.trial(0, to=3)], width=4)
    for i in (0, 2):
        for step, metrics in bench.reports(i).items():
            assert {**metrics, "seconds": 0} == {**first[i][step], "seconds": 0}


def test_a_lane_that_diverges_ends_alone(bench: Bench) -> None:
    tasks = tasks_of({"lr": 0.01}, {"lr": 1e30, "momentum": 0.9}, {"lr": 0.02})
    trials = [bench.trial(i, to=3) for i in range(3)]
    bench.train(tasks, trials, width=3)
    assert bench.endings[0][0] == 1
    assert [trial.ending.outcome if trial.ending else None for trial in trials] == [
        Outcome.REACHED,
        Outcome.FAILED,
        Outcome.REACHED,
    ]
    assert list(bench.reports(0)) == list(bench.reports(2)) == [1, 2, 3]


def test_a_lane_is_cancelled_or_paused_alone(bench: Bench) -> None:
    tasks = tasks_of(*({"lr": 0.01 * (i + 1)} for i in range(3)))
    bench.cancel = {0: (1, CancelMode.STOP), 1: (2, CancelMode.PAUSE)}
    trials = [bench.trial(i, to=4) for i in range(3)]
    bench.train(tasks, trials, width=3)
    assert [list(bench.reports(i)) for i in range(3)] == [[1], [1, 2], [1, 2, 3, 4]]
    assert [len(bench.saved(i)) for i in range(3)] == [0, 1, 1]
    assert [lane for lane, _ in bench.endings] == [0, 1, 2]


def test_early_stopping_and_epochs_end_a_lane_by_itself(bench: Bench) -> None:
    structure = {"epochs": 4, "early_stopping": 2, "optimizer": "sgd"}
    tasks = tasks_of({"lr": 0.01, **structure}, {"lr": 1e-8, **structure})
    bench.train(tasks, [bench.trial(i, to=9) for i in range(2)], width=2)
    assert {lane: error for lane, error in bench.endings} == {0: None, 1: None}
    assert list(bench.reports(0))[-1] <= 4
    assert bench.saved(0)[-1].step == list(bench.reports(0))[-1]


def test_a_lane_whose_report_raises_ends_alone(bench: Bench) -> None:
    tasks = tasks_of({"lr": 0.01}, {"lr": 0.02})
    trials = [bench.trial(i, to=2) for i in range(2)]

    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no room")

    trials[0].report = broken  # type: ignore[method-assign]
    bench.train(tasks, trials, width=2)
    assert isinstance(bench.endings[0][1], OSError)
    assert list(bench.reports(1)) == [1, 2]


def test_a_lane_that_is_over_already_ends_at_once(bench: Bench) -> None:
    tasks = tasks_of({"lr": 0.01, "epochs": 2}, {"lr": 0.02, "epochs": 2})
    bench.train(tasks[:1], [bench.trial(0, to=9)], width=1)
    over = bench.saved(0)[-1]
    bench.endings.clear()
    bench.train(tasks, [bench.trial(0, to=9, resume=over), bench.trial(1, to=9)], width=2)
    assert bench.endings == [(0, None), (1, None)]
    assert list(bench.reports(0)) == [1, 2]


def test_preflight_reports_once(bench: Bench) -> None:
    tasks = tasks_of({"lr": 0.01}, {"lr": 0.02})
    bench.train(tasks, [bench.trial(i, to=9, preflight=True) for i in range(2)], width=2)
    assert [list(bench.reports(i)) for i in range(2)] == [[1], [1]]
    assert bench.saved(0) == []


def test_seconds_are_shared_by_the_lanes_alive(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    clock: Callable[[], float] = itertools.count(0.0, 6.0).__next__
    monkeypatch.setattr("workers.loops.fused.time.perf_counter", clock)
    tasks = tasks_of(*({"lr": 0.01 * (i + 1)} for i in range(3)))
    bench.train(tasks, [bench.trial(i, to=1 + i) for i in range(3)], width=4)
    assert [bench.reports(2)[step]["seconds"] for step in (1, 2, 3)] == [2.0, 3.0, 6.0]


def test_bytes_of_a_lane_grow_with_what_it_holds() -> None:
    (small,) = tasks_of({"hidden_units": 8})
    bytes_ = lane_bytes(small)
    numbers = sum(p.numel() for p in small.build(DATA.folds[0], torch.Generator()).parameters())
    assert bytes_ > 4 * 3 * numbers
    for more in ({"hidden_units": 64}, {"batch_size": 32}, {"optimizer": "adam"}, {"hidden_layers": 3}):
        assert lane_bytes(tasks_of({"hidden_units": 8, **more})[0]) > bytes_


def test_memory_that_runs_out_while_a_lane_is_saved_is_short_for_all(bench: Bench) -> None:
    tasks = tasks_of({"lr": 0.01}, {"lr": 0.02})
    trials = [bench.trial(i, to=1) for i in range(2)]

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    trials[0].save_checkpoint = full  # type: ignore[method-assign]
    with pytest.raises(torch.OutOfMemoryError):
        bench.train(tasks, trials, width=2)
    assert bench.endings == []


def test_lanes_leave_no_memory_behind() -> None:
    tasks = tasks_of({"lr": 0.01}, {"lr": 0.02})
    gc.collect()
    before = sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects())
    gc.disable()
    try:
        for kind in OPTIMIZERS:
            each = [replace(task, params={**task.params, "optimizer": kind}) for task in tasks]
            lanes = LaneLearner(each, fold=0, seeds=[1, 2], horizons=[2.0, 2.0])
            alone = single.Learner(each[0], fold=0, seed=1, horizon=2.0)
            lanes.epoch([1, 1])
            alone.epoch(1)
            held: list[weakref.ref[Any]] = [weakref.ref(lanes), weakref.ref(lanes._storage.values)]
            held.append(weakref.ref(alone.optimiser))
            held += [weakref.ref(block) for block in lanes._optimiser._state.values()]
            del lanes, alone
            assert [ref() for ref in held] == [None] * len(held), kind
    finally:
        gc.enable()
    gc.collect()
    assert sum(issubclass(type(one), torch.Tensor) for one in gc.get_objects()) <= before
