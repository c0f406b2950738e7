"""Every recipe's launches, with steps that are recorded and replayed: they report, to the bit, what they report call by
call, and they pass the suite for lanes. The recorder is the CPU's (see `tape`); a GPU's takes the same place."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from search_spaces import catalog
from tests.conformance.test_lanes import LANES, OWN
from tests.unit.workers.recorded_support import by_tape, called_by_torch
from tests.unit.workers.tape import TapeRecorder
from workers.conformance import Values, _Bench, check_lanes

SMALL = {"hidden_units": 8, "batch_size": 16}
CONVOLUTIONS = {"width": 2, "normalization": "batch", "augmentation": "flip_shift", "optimizer": "adam"}
CASES = [
    *[
        ("image_classifier", {"model": model, **SMALL, **(CONVOLUTIONS if model in ("cnn", "resnet") else {})}, LANES)
        for model in catalog.RECIPES["image_classifier"].parameters["model"].values
    ],
    *[
        ("tabular", {"model": model, **SMALL, "normalization": "layer" if model == "resmlp" else "none"}, LANES)
        for model in catalog.RECIPES["tabular"].parameters["model"].values
    ],
    ("tabular", {**SMALL, "data": "diabetes", "folds": 2}, [{"lr": 0.01}, {"lr": 0.02, "weight_decay": 0.01}]),
    ("spirals:Spirals", {"batch_size": 32}, [{"frequency": 2.0}, {"frequency": 4.0, "lr": 0.02}]),
    *[
        (f"recorded_recipes:{name}", {"batch_size": 8}, [{"scale": 1.0}, {"scale": 2.0, "lr": 0.02}])
        for name in ("Line", "Robust", "Folded", "Normed")
    ],
]


@pytest.fixture(autouse=True, scope="module")
def _places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "recorded_recipes.py").write_text(OWN)
    places = [str(folder), str(Path(__file__).parents[2] / "examples")]
    sys.path[:0] = places
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    for place in places:
        sys.path.remove(place)
    for name in ("recorded_recipes", "spirals"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Few small images of three classes."""
    rng = np.random.default_rng(3)
    y = np.arange(90) % 3
    path = tmp_path_factory.mktemp("images") / "few.npz"
    np.savez(path, x=rng.normal(size=(90, 8, 8)).astype("float32") + y[:, None, None], y=y)
    return str(path)


def launched(recipe: str, fixed: Mapping[str, Any], lanes: Sequence[Mapping[str, Any]], root: Path) -> list[Values]:
    """What each lane of one launch reports over three epochs."""
    bench = _Bench(recipe, dict(fixed), metric="val_loss", epochs=3, root=root, device="cpu")
    trials = bench.together([bench.order(i, lane) for i, lane in enumerate(lanes)], width=len(lanes))
    for trial in trials.values():
        assert trial.end.failure is None, trial.end.traceback
    return [trials[i].values for i in range(len(lanes))]


def assert_replayed(made: Sequence[TapeRecorder]) -> None:
    assert made
    assert all(one.recordings == 1 and one.replays > 2 for one in made)


@pytest.mark.parametrize(
    ("recipe", "fixed", "lanes"), CASES, ids=[f"{case[0]}-{case[1].get('model', i)}" for i, case in enumerate(CASES)]
)
def test_launches_report_what_they_report_call_by_call(
    recipe: str, fixed: dict[str, Any], lanes: list[dict[str, Any]], images: str, tmp_path: Path
) -> None:
    full = {**fixed, "data": images} if recipe == "image_classifier" else fixed
    with called_by_torch():
        called = launched(recipe, full, lanes, tmp_path)
    with by_tape() as made:
        assert launched(recipe, full, lanes, tmp_path) == called
    assert_replayed(made)


@pytest.mark.parametrize(("recipe", "fixed", "lanes"), [CASES[1], CASES[-1]], ids=["mlp", "own"])
def test_recorded_lanes_pass_the_suite(
    recipe: str, fixed: dict[str, Any], lanes: list[dict[str, Any]], images: str
) -> None:
    full = {**fixed, "data": images} if recipe == "image_classifier" else fixed
    with by_tape() as made:
        check_lanes(recipe, lanes, fixed=full, epochs=3)
    assert sum(one.replays > 2 for one in made) > 3
