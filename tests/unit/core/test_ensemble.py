"""Ensembles of predictions: golden values, what must hold of any, and that test rows choose nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.core import ensemble as ensembles
from hpo_service.core.ensemble import Ensemble, Model, Right, ensemble


def _classes(seed: int, models: int, *, rows: int = 90, sharp: float = 1.0) -> tuple[list[Model], Right]:
    rng = np.random.default_rng(seed)
    right = np.arange(rows) % 3

    def predicted() -> Any:
        logits = rng.normal(size=(rows, 3)) + sharp * np.eye(3)[right]
        return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)

    made = [Model(trial=i, val=predicted(), test=predicted()) for i in range(models)]
    return made, Right(kind="classes", val=right, test=right)


def test_two_models_that_err_apart_are_right_together() -> None:
    right = Right(kind="classes", val=np.array([0, 1]), test=np.array([0, 1, 0, 1]))
    one = Model(trial=4, val=np.array([[0.9, 0.1], [0.6, 0.4]]), test=np.array([[0.9, 0.1], [0.6, 0.4]] * 2))
    two = Model(trial=7, val=np.array([[0.4, 0.6], [0.1, 0.9]]), test=np.array([[0.4, 0.6], [0.1, 0.9]] * 2))
    found = ensemble([one, two], right, metric="accuracy")
    assert (found.single.val, found.single.test, found.single.members) == (0.5, 0.5, ((4, 1.0),))
    assert (found.uniform.val, found.uniform.test) == (1.0, 1.0)
    assert found.greedy.members == ((4, 0.5), (7, 0.5))
    assert found.gain == 0.5
    loss = ensemble([one, two], right, metric="loss")
    assert loss.uniform.val == pytest.approx(-math.log(0.65))
    assert not loss.maximize
    assert loss.gain == pytest.approx((-math.log(0.9) - math.log(0.4)) / 2 + math.log(0.65))


def test_values_are_averaged_too() -> None:
    right = Right(kind="values", val=np.array([1.0, 2.0, 3.0]), test=np.array([], dtype=np.float64))
    empty = np.array([], dtype=np.float64)
    models = [Model(trial=i, val=right.val + shift, test=empty) for i, shift in enumerate((0.5, -0.5, 2.0))]
    found = ensemble(models, right, metric="rmse")
    assert [found.single.val, found.uniform.val, found.greedy.val] == pytest.approx([0.5, 2 / 3, 0.0])
    assert (found.gain_of, found.gain, found.low, found.tested) == ("greedy", 0.5, None, False)
    assert ensemble(models, right, metric="r2").greedy.val == 1.0
    assert "3 validation rows" in ensembles.words(found, "val_rmse")


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 6), metric=st.sampled_from(["accuracy", "loss"]))
def test_what_holds_of_any_ensemble(seed: int, count: int, metric: str) -> None:
    models, right = _classes(seed, count)
    found = ensemble(models, right, metric=metric)
    sign = 1 if found.maximize else -1
    assert sign * found.greedy.val >= sign * found.single.val
    for result in (found.single, found.uniform, found.greedy):
        assert sum(weight for _, weight in result.members) == pytest.approx(1)
    assert {trial for trial, _ in found.uniform.members} == set(range(count))
    assert found.low is not None
    assert found.low <= found.gain
    if count == 1:
        assert found.gain == 0
    shuffled = ensemble(models[::-1], right, metric=metric)
    assert shuffled.uniform.val == pytest.approx(found.uniform.val)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_test_rows_choose_nothing(seed: int) -> None:
    models, right = _classes(seed, 5)
    turned = [Model(trial=m.trial, val=m.val, test=m.test[::-1]) for m in models]
    one, other = (ensemble(given, right, metric="accuracy") for given in (models, turned))
    assert (one.greedy.members, one.gain_of) == (other.greedy.members, other.gain_of)


def test_the_gain_of_good_ensembles_and_its_words() -> None:
    models, right = _classes(1, 8, rows=600)
    found = ensemble(models, right, metric="accuracy")
    assert found.low is not None
    assert found.low > 0
    words = ensembles.words(found, "val_accuracy")
    assert words.startswith(f"The {found.gain_of} ensemble of ")
    assert "points of accuracy on 600 test rows over the best single model (95 % interval" in words
    same: Ensemble = ensemble([models[0], models[0]], right, metric="accuracy")
    assert same.gain == 0
    assert "is as good on 600 test rows as the best single model" in ensembles.words(same, "val_accuracy")


@pytest.mark.parametrize(
    ("objective", "kind", "metric"),
    [
        ("val_accuracy", "classes", "accuracy"),
        ("val_loss", "classes", "loss"),
        ("train_loss", "classes", "loss"),
        ("val_loss", "values", "rmse"),
        ("val_r2", "values", "r2"),
        ("val_f1", "classes", "loss"),
    ],
)
def test_what_ensembles_are_measured_by(objective: str, kind: Any, metric: str) -> None:
    assert ensembles.quality(objective, kind) == metric
