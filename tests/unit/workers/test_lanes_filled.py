"""Trials that take lanes which fell free come to what they would come to in any launch of that width, to the bit; and
so do those that were there before."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.catalog.declarations import NORMALIZATIONS
from tests.unit.workers.lanes_support import made_up
from tests.unit.workers.test_loops_fused import DATA, Bench, tasks_of
from workers import checkpoints
from workers.contract import CancelMode
from workers.data import TaskData
from workers.loops import fused
from workers.loops.lanes import LaneLearner, one_thread
from workers.loops.optimisers import OPTIMIZERS
from workers.loops.single import Task
from workers.trial import Trial


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread("cpu"):
        yield


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


class Queue:
    """Gives trials as lanes fall free, at most so many at a time."""

    def __init__(self, further: Sequence[tuple[Task, Trial]], at_once: int = 99) -> None:
        self.further = list(further)
        self.at_once = at_once
        self.asked: list[int] = []

    def __call__(self, free: int) -> Sequence[tuple[Task, Trial]]:
        self.asked.append(free)
        given_, self.further = self.further[: min(free, self.at_once)], self.further[min(free, self.at_once) :]
        return given_


def run(bench: Bench, tasks: list[Task], trials: list[Trial], *, first: int, width: int, at_once: int = 99) -> Queue:
    """The first of the trials in one launch, the others in lanes that fall free."""
    queue = Queue(list(zip(tasks, trials, strict=True))[first:], at_once)
    ended = bench.endings.append
    fused.train(tasks[:first], trials[:first], width=width, ended=lambda lane, error: ended((lane, error)), more=queue)
    return queue


def outcome(bench: Bench, number: int) -> Any:
    """What a trial said, but for how long it took, and what it saved last."""
    said = {step: {k: v for k, v in m.items() if k != "seconds"} for step, m in bench.reports(number).items()}
    state = checkpoints.load(str(bench._folder), bench.saved(number)[-1], weights_only=True)
    return repr(said), {name: tensor.tolist() for name, tensor in tensors(state)}


def tensors(state: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(state, torch.Tensor):
        yield name, state.float().nan_to_num(nan=-7.0)
    elif isinstance(state, dict):
        for key, value in state.items():
            yield from tensors(value, f"{name}.{key}")
    elif isinstance(state, list | tuple):
        for i, value in enumerate(state):
            yield from tensors(value, f"{name}.{i}")


LANES = st.fixed_dictionaries(
    {
        "lr": st.floats(1e-4, 0.1),
        "dropout": st.sampled_from([0.0, 0.3]),
        "weight_decay": st.sampled_from([0.0, 0.1]),
        "grad_clip": st.sampled_from([0.0, 0.5]),
        "label_smoothing": st.sampled_from([0.0, 0.1]),
        "momentum": st.sampled_from([0.0, 0.9]),
    }
)


@settings(max_examples=12, deadline=None)
@given(
    each=st.lists(st.tuples(LANES, st.integers(1, 4)), min_size=3, max_size=7),
    first=st.integers(1, 3),
    spare=st.integers(0, 2),
    at_once=st.integers(1, 3),
    structure=st.fixed_dictionaries(
        {
            "model": st.sampled_from(["mlp", "resmlp"]),
            "normalization": st.sampled_from(NORMALIZATIONS),
            "optimizer": st.sampled_from(OPTIMIZERS),
        }
    ),
    folds=st.sampled_from([1, 2]),
)
def test_filled_lanes_and_their_neighbours_are_what_they_are_anywhere(
    each: list[tuple[dict[str, Any], int]],
    first: int,
    spare: int,
    at_once: int,
    structure: dict[str, Any],
    folds: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    (fold,) = DATA.folds
    data = TaskData(folds=(fold,) * folds, classes=3, target_scale=(1.0,) * folds, identity={})
    tasks = tasks_of(*({**structure, **lane} for lane, _ in each), data=data)
    width = first + spare
    mixed, apart = Bench(tmp_path_factory.mktemp("mixed")), Bench(tmp_path_factory.mktemp("apart"))
    trials = [mixed.trial(i, to=to) for i, (_, to) in enumerate(each)]
    left = run(mixed, tasks, trials, first=first, width=width, at_once=at_once).further
    for i in range(len(each) - len(left)):
        apart.train([tasks[i]], [apart.trial(i, to=each[i][1])], width=width)
        assert outcome(mixed, i) == outcome(apart, i)
    assert [lane for lane, _ in sorted(mixed.endings)] == list(range(len(each) - len(left)))


def test_convolutions_fill_lanes_too(bench: Bench, tmp_path: Path) -> None:
    data = made_up((1, 6, 6), rows=20)
    shape = {"model": "cnn", "width": 2, "batch_size": 8, "normalization": "batch"}
    tasks = tasks_of({"lr": 0.01, **shape}, {"lr": 0.02, **shape}, {"lr": 0.05, **shape}, data=data)
    run(bench, tasks, [bench.trial(i, to=to) for i, to in enumerate((1, 3, 2))], first=2, width=2)
    apart = Bench(tmp_path / "apart")
    for i, to in enumerate((1, 3, 2)):
        apart.train([tasks[i]], [apart.trial(i, to=to)], width=2)
        assert outcome(bench, i) == outcome(apart, i)


def test_a_trial_goes_on_from_its_checkpoint_in_a_lane_that_fell_free(bench: Bench, tmp_path: Path) -> None:
    tasks = tasks_of({"lr": 0.01}, {"lr": 0.02}, {"lr": 0.05})
    bench.train([tasks[2]], [bench.trial(2, to=2)], width=2)
    ref = bench.saved(2)[-1]
    trials = [bench.trial(0, to=1), bench.trial(1, to=4), bench.trial(2, to=3, resume=ref)]
    run(bench, tasks, trials, first=2, width=2)
    apart = Bench(tmp_path / "apart")
    apart.train([tasks[2]], [apart.trial(2, to=3)], width=2)
    assert outcome(bench, 2) == outcome(apart, 2)


def test_nobody_is_asked_for_while_all_lanes_are_taken_or_none_is_alive(bench: Bench) -> None:
    tasks = tasks_of({"lr": 0.01}, {"lr": 0.02}, {"lr": 0.05})
    trials = [bench.trial(0, to=2), bench.trial(1, to=2), bench.trial(2, to=1)]
    queue = run(bench, tasks, trials, first=2, width=2)
    assert queue.asked == []
    assert len(queue.further) == 1


def test_a_filled_lane_is_cancelled_or_diverges_alone(bench: Bench) -> None:
    tasks = tasks_of({"lr": 0.01}, {"lr": 0.01}, {"lr": 1e30}, {"lr": 0.02}, {"lr": 0.03})
    bench.cancel = {3: (1, CancelMode.STOP)}
    trials = [bench.trial(i, to=to) for i, to in enumerate((1, 6, 5, 5, 2))]
    run(bench, tasks, trials, first=2, width=2)
    assert [lane for lane, _ in bench.endings] == [0, 2, 3, 4, 1]
    assert [list(bench.reports(i)) for i in (1, 3, 4)] == [[1, 2, 3, 4, 5, 6], [1], [1, 2]]


def test_the_program_before_is_let_go_before_there_is_another(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    living: list[weakref.ref[LaneLearner]] = []
    most: list[int] = []
    made = LaneLearner.__init__

    def counted(self: LaneLearner, *args: Any, **options: Any) -> None:
        living.append(weakref.ref(self))
        most.append(sum(one() is not None for one in living))
        made(self, *args, **options)

    monkeypatch.setattr(LaneLearner, "__init__", counted)
    gc.collect()
    tasks = tasks_of({"lr": 0.01}, {"lr": 0.02}, {"lr": 0.05})
    run(bench, tasks, [bench.trial(i, to=to) for i, to in enumerate((1, 3, 2))], first=2, width=2)
    assert most == [1, 1]
