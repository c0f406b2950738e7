"""What learning curves say: a case per rule, and what holds for all curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.core.diagnosis import Curve, Diagnosis, Pair, diagnose, maximizes, pairs

EPOCHS = np.arange(1, 31, dtype=np.float64)
KINDS = {"ok", "underfit", "overfit", "undertrained", "diverged", "check_split", "stuck", "noisy", "too_short"}


def falling(start: float, floor: float, speed: float) -> np.ndarray:
    """An exponential approach to `floor`."""
    return floor + (start - floor) * np.exp(-speed * (EPOCHS - 1))


def curve(name: str, value: object, *, maximize: bool = False) -> Curve:
    y = np.asarray(value, dtype=np.float64)
    return Curve.of(name, EPOCHS[: y.size], y, maximize=maximize)


def of_pair(train: object, validation: object, **more: float) -> list[Diagnosis]:
    validated = curve("val_loss", validation)
    return diagnose(validated, curve("train_loss", train), validated, **more)


def kinds(found: list[Diagnosis]) -> list[str]:
    return [d.kind for d in found]


def test_a_healthy_trial() -> None:
    found = of_pair(falling(2.3, 0.30, 0.6), falling(2.3, 0.35, 0.6))
    assert kinds(found) == ["ok"]
    assert "from 2.3 to 0.35" in found[0].text


def test_overfitting_by_a_validation_loss_that_turns() -> None:
    validation = falling(2.3, 0.4, 0.6) + np.maximum(EPOCHS - 10, 0) * 0.03
    (found,) = of_pair(falling(2.3, 0.01, 0.3), validation)
    assert found.kind == "overfit"
    assert "0.409 at 10" in found.text
    assert "weight decay" in found.text


def test_overfitting_by_a_gap() -> None:
    assert kinds(of_pair(falling(2.3, 0.02, 0.5), falling(2.3, 1.1, 0.8))) == ["overfit"]


def test_overfitting_in_accuracy() -> None:
    train = curve("train_accuracy", 1 - falling(0.9, 0.01, 0.5), maximize=True)
    validation = curve("val_accuracy", 1 - falling(0.9, 0.15, 0.5), maximize=True)
    (found,) = diagnose(validation, train, validation)
    assert found.kind == "overfit"
    assert "0.99" in found.text
    assert "0.85" in found.text


def test_underfitting_by_training_that_gains_little() -> None:
    found = of_pair(falling(2.3, 1.9, 1.0), falling(2.3, 1.92, 1.0))
    assert kinds(found) == ["underfit"]
    assert "larger model" in found[0].text


def test_underfitting_against_the_best_trial() -> None:
    train, validation = falling(2.3, 1.0, 1.0), falling(2.3, 1.05, 1.0)
    assert kinds(of_pair(train, validation)) == ["ok"]
    (found,) = of_pair(train, validation, best_train=0.1)
    assert found.kind == "underfit"
    assert "the best trial came to 0.1" in found.text


def test_still_learning_when_it_ended() -> None:
    (found,) = of_pair(falling(2.3, 0.0, 0.03), falling(2.3, 0.1, 0.03))
    assert found.kind == "undertrained"
    assert "at 30" in found.text


def test_a_trial_that_a_scheduler_ended_is_told_so() -> None:
    slow = (falling(2.3, 0.0, 0.03), falling(2.3, 0.1, 0.03))
    (found,) = of_pair(*slow, horizon=81.0)
    assert found.kind == "undertrained"
    assert "at 30 of at most 81" in found.text
    assert "smallest resource" in found.text
    for full in (30.0, math.inf):
        assert "Train longer" in of_pair(*slow, horizon=full)[0].text


def test_a_curve_that_recovered_is_told_from_one_that_did_not() -> None:
    train = falling(2.3, 0.3, 0.5)
    train[4:6] = math.nan
    (found,) = of_pair(train, falling(2.3, 0.3, 0.5))
    assert (found.kind, found.title) == ("diverged", "Broke down on the way")
    assert "at 5 (2 of 30 reports) and recovered" in found.text


def test_a_trial_that_goes_on_is_not_reproached_with_ending() -> None:
    validation = curve("val_loss", falling(2.3, 0.1, 0.03))
    (found,) = diagnose(validation, curve("train_loss", falling(2.3, 0.0, 0.03)), validation, goes_on=True)
    assert (found.kind, found.title) == ("ok", "Still learning")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_not_finite_is_diverged(bad: float) -> None:
    train = falling(2.3, 0.3, 0.5)
    train[4:] = bad
    (found,) = of_pair(train, falling(2.3, 0.3, 0.5))
    assert found.kind == "diverged"
    assert "train_loss" in found.text
    assert "at 5" in found.text
    assert "learning rate" in found.text


def test_a_loss_that_grows_is_diverged() -> None:
    (found,) = of_pair(np.linspace(2.3, 40.0, 30), np.linspace(2.3, 50.0, 30))
    assert found.kind == "diverged"
    assert "from 2.3 to 40" in found.text


def test_validation_better_than_training_asks_for_a_look_at_the_split() -> None:
    (found,) = of_pair(falling(2.3, 0.6, 0.6), falling(2.0, 0.3, 0.6))
    assert found.kind == "check_split"


def test_validation_better_in_the_first_epochs_is_nothing() -> None:
    validation = falling(1.5, 0.32, 0.6)
    assert kinds(of_pair(falling(2.3, 0.3, 0.6), validation)) == ["ok"]


def test_a_curve_that_never_moves_is_stuck() -> None:
    rng = np.random.default_rng(0)
    (found,) = of_pair(2.303 + rng.normal(0, 0.003, 30), 2.303 + rng.normal(0, 0.003, 30))
    assert found.kind == "stuck"
    assert "2.3" in found.text


def test_jumps_hide_the_trend() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.4, 30)
    assert kinds(of_pair(falling(2.3, 0.5, 0.6), 0.7 + noise)) == ["noisy"]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_points_say_nothing(n: int) -> None:
    (found,) = of_pair(falling(2.3, 0.3, 0.5)[:n], falling(2.3, 0.3, 0.5)[:n])
    assert found.kind == "too_short"
    assert ("no reports" if n == 0 else f"{n} report") in found.text


def test_one_curve_is_enough_for_some_of_it() -> None:
    assert kinds(diagnose(curve("score", 1 - falling(0.9, 0.1, 0.6), maximize=True))) == ["ok"]
    assert kinds(diagnose(curve("score", EPOCHS, maximize=True))) == ["undertrained"]
    assert kinds(diagnose(curve("score", np.full(30, 0.5), maximize=True))) == ["stuck"]
    assert kinds(diagnose(curve("loss", [math.nan]))) == ["diverged"]


def test_pairs_are_found_by_their_names_with_losses_first() -> None:
    names = ["lr", "train_accuracy", "val_accuracy", "train_loss", "val_loss", "valid_f1", "train_f1", "val_only"]
    assert pairs(names) == [
        Pair("loss", "train_loss", "val_loss"),
        Pair("accuracy", "train_accuracy", "val_accuracy"),
        Pair("f1", "train_f1", "valid_f1"),
    ]
    assert pairs(["loss", "val_loss"]) == [Pair("loss", "loss", "val_loss")]
    assert pairs(["val_", "train_"]) == []


def test_directions_by_objective_then_by_name() -> None:
    assert maximizes("val_loss", {}) is False
    assert maximizes("train_accuracy", {}) is True
    assert maximizes("val_loss", {"val_loss": True}) is True
    assert maximizes("lr", {}) is None


VALUES = st.lists(st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, 0.0, 1.0])), max_size=40)


def _curve(name: str, values: list[float], *, maximize: bool) -> Curve:
    return Curve.of(name, range(len(values)), values, maximize=maximize)


@given(objective=VALUES, train=VALUES, validation=VALUES, maximize=st.booleans(), best=st.none() | st.floats())
def test_any_curves_get_an_answer(
    objective: list[float], train: list[float], validation: list[float], maximize: bool, best: float | None
) -> None:
    given_curves = (_curve(n, v, maximize=maximize) for n, v in (("o", objective), ("t", train), ("v", validation)))
    found = diagnose(*given_curves, best_train=best)
    assert found
    assert len({d.kind for d in found}) == len(found)
    assert {d.kind for d in found} <= KINDS
    assert all(d.title and d.text.endswith(".") for d in found)
    broken = any(not math.isfinite(v) for v in (*objective, *train, *validation))
    assert not broken or kinds(found) == ["diverged"]


FINITE = st.lists(st.integers(-1000, 1000).map(float), min_size=1, max_size=30)


@given(train=FINITE, validation=FINITE, factor=st.sampled_from([0.125, 0.5, 4.0, 1024.0]))
def test_the_unit_does_not_matter(train: list[float], validation: list[float], factor: float) -> None:
    def read(scale: float) -> list[str]:
        curves = [_curve(n, [v * scale for v in vs], maximize=False) for n, vs in (("t", train), ("v", validation))]
        return kinds(diagnose(curves[1], *curves))

    assert read(factor) == read(1.0)


@given(train=FINITE, validation=FINITE)
def test_more_of_a_score_is_less_of_its_negative(train: list[float], validation: list[float]) -> None:
    def read(sign: float, *, maximize: bool) -> list[str]:
        curves = [_curve(n, [sign * v for v in vs], maximize=maximize) for n, vs in (("t", train), ("v", validation))]
        return kinds(diagnose(curves[1], *curves))

    assert read(1.0, maximize=False) == read(-1.0, maximize=True)
