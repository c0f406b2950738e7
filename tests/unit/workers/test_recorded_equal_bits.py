"""Training through recorded steps comes, to the bit, to what training call by call comes to: whatever the network, the
optimiser, the lanes, the batches, and whatever happens between epochs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.catalog.declarations import NORMALIZATIONS
from tests.unit.workers.lanes_support import assert_equal_bits, made_up, task
from tests.unit.workers.recorded_support import (
    REPLAYED,
    both,
    by_tape,
    called_by_torch,
    lanes_of,
    learner_of,
    trained,
)
from tests.unit.workers.test_lanes_equal_bits import DIVERGING, lanes, structures
from tests.unit.workers.test_lanes_filled import outcome, run
from tests.unit.workers.test_lanes_losses import size, softly
from tests.unit.workers.test_loops_fused import Bench, tasks_of
from workers.data import TaskData
from workers.loops.optimisers import OPTIMIZERS
from workers.loops.schedules import SCHEDULES

LANES: list[dict[str, Any]] = [
    {"lr": 0.01, "momentum": 0.5, "lr_schedule": "cosine"},
    {"lr": 0.003, "weight_decay": 0.01, "dropout": 0.3, "lr_schedule": "step", "beta1": 0.8},
    {"lr": 0.02, "label_smoothing": 0.1, "grad_clip": 0.5, "warmup_epochs": 1.5, "beta2": 0.99},
]


def check(made: TaskData, structure: dict[str, Any], each: list[dict[str, Any]], *, epochs: int = 3) -> None:
    tasks = [task(made, params) for params in lanes_of(structure, each)]
    called, recorded, learner, recorder = both(tasks, epochs=epochs)
    assert learner.graphs == REPLAYED
    assert recorder.replays > 2
    for one, other in zip(called, recorded, strict=True):
        assert_equal_bits(one, other)


@settings(max_examples=30, deadline=None)
@given(
    model=st.sampled_from(["linear", "mlp", "resmlp"]),
    shape=st.sampled_from([(1,), (3,), (13,), (64,), (65,)]),
    structure=structures,
    each=st.lists(lanes, min_size=1, max_size=6),
    rows=st.sampled_from([17, 23, 36]),
    classes=st.sampled_from([0, 2, 3, 10]),
    diverging=st.booleans(),
)
def test_dense_lanes(
    model: str,
    shape: tuple[int, ...],
    structure: dict[str, Any],
    each: list[dict[str, Any]],
    rows: int,
    classes: int,
    diverging: bool,
) -> None:
    each = [*each, {**each[0], **DIVERGING}] if diverging else each
    each = [{name: value for name, value in lane.items() if name != "seed"} for lane in each]
    check(made_up(shape, rows=rows, classes=classes), {"model": model, **structure}, each, epochs=6)


@pytest.mark.parametrize(
    ("model", "optimizer", "normalization"),
    [
        (model, optimizer, normalization)
        for model, (optimizer, normalization) in itertools.product(
            ("linear", "mlp", "resmlp"), itertools.product(OPTIMIZERS, NORMALIZATIONS)
        )
        if model != "linear" or normalization == "none"
    ],
)
def test_every_optimiser_and_normalisation_by_hand(model: str, optimizer: str, normalization: str) -> None:
    structure = {"model": model, "batch_size": 16, "optimizer": optimizer, "normalization": normalization}
    check(made_up((7,)), structure, LANES)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("model", ["cnn", "resnet"])
def test_every_normalisation_through_autograd(model: str, normalization: str) -> None:
    structure = {"model": model, "width": 2, "batch_size": 16, "normalization": normalization}
    check(made_up((1, 6, 6)), structure, LANES)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_through_autograd(optimizer: str) -> None:
    structure = {"model": "cnn", "width": 2, "batch_size": 16, "normalization": "batch", "optimizer": optimizer}
    check(made_up((1, 6, 6)), structure, LANES)


@pytest.mark.parametrize("augmentation", ["none", "flip", "shift", "flip_shift"])
def test_every_augmentation(augmentation: str) -> None:
    check(made_up((1, 6, 6)), {"model": "cnn", "width": 2, "batch_size": 8, "augmentation": augmentation}, LANES)


def test_every_schedule() -> None:
    each = [{"lr": 0.02, "lr_schedule": kind, "warmup_epochs": i % 2} for i, kind in enumerate(SCHEDULES)]
    check(made_up((7,)), {"model": "mlp", "batch_size": 8}, each, epochs=4)


@pytest.mark.parametrize("batch_size", [1, 7, 8, 25, 49, 50, 64])
def test_batches_of_every_size_the_last_one_smaller(batch_size: int) -> None:
    made = made_up((7,))  # 50 rows
    tasks = [task(made, params) for params in lanes_of({"model": "mlp", "batch_size": batch_size}, LANES)]
    called, recorded, learner, recorder = both(tasks, epochs=5)
    assert learner.graphs == REPLAYED
    # One step warms, one loads, one is timed; the recording's first replay is undone, and that step is called.
    assert recorder.replays == 5 * (50 // min(batch_size, 50)) - 3
    for one, other in zip(called, recorded, strict=True):
        assert_equal_bits(one, other)


def test_phases_of_their_real_length() -> None:
    tasks = [task(made_up((7,)), params) for params in lanes_of({"model": "mlp", "batch_size": 8}, LANES)]
    called, recorded, learner, recorder = both(tasks, epochs=6, phase=None)
    assert learner.graphs == REPLAYED
    assert (recorder.steps_aside, recorder.recordings, recorder.replays) == (3, 1, 6 * 6 - 3 - 1 - 8)
    for one, other in zip(called, recorded, strict=True):
        assert_equal_bits(one, other)


def test_a_loss_and_scores_of_ones_own() -> None:
    made = made_up((7,), classes=0)
    each = [{"lr": 0.01, "model": "mlp", "batch_size": 16}, {"lr": 0.02, "model": "mlp", "batch_size": 16}]
    tasks = [replace(task(made, params), loss=softly, scores={"size": size}) for params in each]
    called, recorded, learner, _ = both(tasks)
    assert learner.graphs == REPLAYED
    for one, other in zip(called, recorded, strict=True):
        assert_equal_bits(one, other)


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_a_lane_goes_on_from_a_checkpoint_in_a_program_that_replays(model: str) -> None:
    shape = (7,) if model == "mlp" else (1, 6, 6)
    structure = {"model": model, "width": 2, "batch_size": 8, "normalization": "batch", "optimizer": "adam"}
    tasks = [task(made_up(shape), params) for params in lanes_of(structure, LANES)]
    with called_by_torch():
        whole = trained(learner_of(tasks), range(1, 6), 3)
    with by_tape():
        first = learner_of(tasks)
        trained(first, range(1, 4), 3)
        second = learner_of(tasks)
        trained(second, range(1, 3), 3)  # it replays already when other numbers are loaded into its memory
        for lane in range(3):
            second.load_state_dict(lane, first.state_dict(lane))
        rest = trained(second, range(4, 6), 3)
        assert second.graphs == REPLAYED
    for lane in range(3):
        assert_equal_bits((whole[lane][0][3:], whole[lane][1]), rest[lane])


@pytest.mark.parametrize("folds", [1, 2])
def test_lanes_that_are_filled(folds: int, tmp_path: Path) -> None:
    (fold,) = made_up((7,)).folds
    data = TaskData(folds=(fold,) * folds, classes=3, target_scale=(1.0,) * folds, identity={})
    each = [{**lane, "normalization": "batch", "optimizer": "adam"} for lane in LANES * 2]
    lasts = [2, 4, 6, 3, 1, 1]

    def launch(name: str) -> list[Any]:
        bench = Bench(tmp_path / name)
        trials = [bench.trial(i, to=to) for i, to in enumerate(lasts)]
        left = run(bench, tasks_of(*each, data=data), trials, first=3, width=3).further
        assert not left
        assert sorted(lane for lane, _ in bench.endings) == list(range(6))
        return [outcome(bench, i) for i in range(6)]

    with called_by_torch():
        called = launch("called")
    with by_tape() as made:
        assert launch("recorded") == called
    assert len(made) > folds  # programs were made anew
    assert sum(one.replays > 1 for one in made) >= 2 * folds
