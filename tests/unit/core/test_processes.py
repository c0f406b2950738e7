"""Trials of several processes: what of that is refused when a study is submitted."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.errors import InvalidInput


def study(trainer: dict[str, Any], **resources: Any) -> StudyDefinition:
    return parse(
        {
            "objective": {"metric": "val_loss", "direction": "minimize"},
            "space": {"lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1}},
            "algorithm": {"name": "random"},
            "trainer": trainer,
            "budget": {"trials": 3},
            "resources": resources,
        }
    )


FUNCTION = {"function": "train:main"}


@pytest.mark.parametrize(("gpu", "processes"), [(4, 4), (4, 2), (0, 2), (0, 1), (0.5, 1), (1, 1)])
def test_gpus_that_can_be_divided(gpu: float, processes: int) -> None:
    assert study(FUNCTION, cpu=2, gpu=gpu, processes=processes).resources.processes == processes


@pytest.mark.parametrize(("gpu", "processes"), [(4, 3), (1, 2), (0.5, 2), (2, 4)])
def test_gpus_that_cannot_be_divided(gpu: float, processes: int) -> None:
    with pytest.raises(InvalidInput, match="multiple of processes"):
        study(FUNCTION, gpu=gpu, processes=processes)


@pytest.mark.parametrize(
    "trainer",
    [
        {"recipe": "image_classifier", "params": {"data": "digits", "model": "mlp"}},
        {"ray_tune": "train:main"},
        {"optuna": "train:main"},
        {"external": True},
    ],
)
def test_only_a_function_has_several_processes(trainer: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        study(trainer, processes=2)
    (problem,) = caught.value.problems
    assert (problem.path, problem.value) == ("resources.processes", 2)
    assert "function" in problem.rule
    assert "set resources.processes to 1" in problem.remedy
