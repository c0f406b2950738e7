"""What past studies say here: heard as long as they rank this study's results well, dropped when they mislead."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from hpo_service.core import portfolio
from hpo_service.core.warm_start import PastResults, Source, WarmStarted
from hpo_service.samplers.prior import Prior
from search_spaces import SearchSpace

SPACE = SearchSpace.from_definition(
    {"a": {"type": "uniform", "low": 0, "high": 1}, "b": {"type": "uniform", "low": 0, "high": 1}}
)
Truth = Callable[[np.ndarray], np.ndarray]


def target(points: np.ndarray) -> np.ndarray:
    return np.asarray(-((points[:, 0] - 0.3) ** 2) - 0.3 * (points[:, 1] - 0.6) ** 2)


def opposite(points: np.ndarray) -> np.ndarray:
    return -target(points)


def past_study(name: str, truth: Truth, seed: int, *, maximize: bool = True) -> PastResults:
    points = np.random.default_rng(seed).random((48, 2))
    params = tuple({"a": float(a), "b": float(b)} for a, b in points)
    values = tuple((truth(points) * (1 if maximize else -1)).tolist())
    kernel = portfolio.task(params, values, maximize=maximize, weight=1.0, space=SPACE).kernel
    lengths = {n: float(v) for n, v in zip(SPACE.names, kernel.lengths, strict=True) if math.isfinite(v)}
    return PastResults(study=name, maximize=maximize, params=params, values=values, lengths=lengths, noise=kernel.noise)


def prior(*studies: PastResults) -> Prior:
    sources = tuple(Source(study=s.study, name=s.study, trials=48, shared=("a", "b"), likeness=1.0) for s in studies)
    return Prior(WarmStarted(mode="auto", sources=sources, prior=studies), SPACE)


def observed(count: int, seed: int = 9) -> tuple[np.ndarray, np.ndarray]:
    points = np.random.default_rng(seed).random((count, 2))
    return points, target(points)


def test_without_results_all_are_heard_alike() -> None:
    found = prior(past_study("x", target, 1), past_study("y", opposite, 2))
    assert found.weights(np.zeros((0, 2)), []).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("maximize", [True, False])
def test_a_study_that_agrees_is_heard_and_ranks_the_cube(maximize: bool) -> None:
    found = prior(past_study("x", target, 1, maximize=maximize))
    mean = found.mean(*observed(12))
    assert mean is not None
    grid = np.random.default_rng(3).random((200, 2))
    assert np.corrcoef(mean(grid), target(grid))[0, 1] > 0.8
    assert mean(np.array([[0.3, np.nan]])).shape == (1,)


@pytest.mark.parametrize("count", [6, 12, 100])
def test_a_prior_that_misleads_is_dropped(count: int) -> None:
    found = prior(past_study("x", opposite, 1))
    assert found.weights(*observed(count)).tolist() == [0.0]
    assert found.mean(*observed(count)) is None


def test_of_several_the_one_that_ranks_well_has_the_weight() -> None:
    noise = np.random.default_rng(5)
    found = prior(
        past_study("good", target, 1),
        past_study("wrong", opposite, 2),
        past_study("chance", lambda points: noise.standard_normal(len(points)), 3),
    )
    weights = found.weights(*observed(8))
    assert weights[0] > 0.3
    assert weights[1] == 0.0
    assert weights[2] < 0.2
    assert weights.sum() <= 1.0


def test_the_same_results_give_the_same_mean() -> None:
    grid = np.random.default_rng(3).random((20, 2))
    one, other = (prior(past_study("x", target, 1)).mean(*observed(8)) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one(grid).tolist() == other(grid).tolist()


def test_no_past_studies_no_prior() -> None:
    assert Prior(WarmStarted(mode="auto"), SPACE).mean(*observed(5)) is None
