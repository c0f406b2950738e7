"""LCBench by its surrogate, with a session that stands in for it: inputs in its order, held-out tasks refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpo_service.bench.problems import lcbench, load
from hpo_service.bench.sources import Source
from hpo_service.errors import InvalidInput
from search_spaces import SearchSpace

PARAMS = SearchSpace.from_definition(dict(lcbench.SPACE)).sample(np.random.default_rng(0))


class Session:
    """Accuracy is the epoch plus the task's code; time a second per epoch and unit of max_units."""

    def run(self, _: None, inputs: dict[str, Any]) -> list[Any]:
        continuous, task = inputs["x_cont"], inputs["x_cat"]
        outputs = np.zeros((len(continuous), 6), dtype=np.float32)
        outputs[:, lcbench.ACCURACY] = continuous[:, 0] + task[:, 0]
        outputs[:, lcbench.TIME] = continuous[:, 0] * continuous[:, 1 + list(lcbench.SPACE).index("max_units")]
        return [outputs]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    own = tmp_path / "lcbench"
    own.mkdir()
    scale = {"best": 92.0, "ref0": 50.0, "tmean": 52.0 * PARAMS["max_units"] / 2}
    (own / "reference.json").write_text(json.dumps({"11": scale, "12": scale}))
    (own / "encoding.json").write_text(json.dumps({"OpenML_task_id": {"11": 4, "12": 7, "666": 1}}))
    monkeypatch.setattr(lcbench, "_session", lambda path: Session())
    return tmp_path


def test_a_task_has_its_code_its_scale_and_its_speeds(folder: Path) -> None:
    first, second = load(folder, "lcbench")
    assert (first.title, second.title, first.max_resource) == ("lcbench/11", "lcbench/12", 52)
    np.testing.assert_array_equal(first.curve(PARAMS), np.arange(1, 53) + 4)
    np.testing.assert_array_equal(second.curve(PARAMS), np.arange(1, 53) + 7)
    assert first.speed(PARAMS) == pytest.approx(2.0)  # twice as slow as the mean
    assert first.regret(71.0) == pytest.approx(0.5)


def test_held_out_tasks_are_refused(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="held out"):
        load(folder, "lcbench", ("11", "666"))
    with pytest.raises(InvalidInput, match="held out"):
        Source(folder=folder, tasks=("lcbench/666",)).load()


def test_a_source_takes_names_with_and_without_the_collection(folder: Path) -> None:
    assert [one.title for one in Source(folder=folder, tasks=("12",)).load()] == ["lcbench/12"]
    assert [one.title for one in Source(folder=folder, tasks=("lcbench/11",)).load()] == ["lcbench/11"]
    assert [one.name for one in Source(folder=folder, limits={"lcbench": ("12",)}).load()] == ["12"]
    with pytest.raises(InvalidInput, match="collections here are lcbench"):
        Source(folder=folder, tasks=("taskset/a",)).load()
    with pytest.raises(InvalidInput, match="has neither"):
        Source(folder=folder / "lcbench").load()
