"""Synthetic and recorded learning curves."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.executors.curves import PowerLaw, Term, recorded

LR = st.floats(1e-6, 1.0)
RESOURCE = st.floats(0.0, 1000.0)


@given(lr=LR, resource=RESOURCE)
@settings(deadline=None, max_examples=100)
def test_the_known_optimum_is_never_beaten(lr: float, resource: float) -> None:
    curve = PowerLaw()
    best = curve.best_error(resource)
    assert curve.error({"lr": 1e-2}, resource) == pytest.approx(best)
    assert best - 1e-12 <= curve.error({"lr": lr}, resource) <= curve.start + 1e-12


@given(lr=LR, resource=RESOURCE, more=st.floats(0.1, 100.0))
@settings(deadline=None, max_examples=100)
def test_more_resource_never_hurts_without_noise(lr: float, resource: float, more: float) -> None:
    curve = PowerLaw()
    assert curve.error({"lr": lr}, resource + more) <= curve.error({"lr": lr}, resource)


def test_noise_is_keyed_by_seed_and_resource() -> None:
    curve = PowerLaw(noise=0.1)
    again = PowerLaw(noise=0.1)
    assert curve({"lr": 0.1}, 3, 5) == again({"lr": 0.1}, 3, 5)
    assert curve({"lr": 0.1}, 3, 5) != curve({"lr": 0.1}, 3, 6)
    assert curve({"lr": 0.1}, 3, 5) != curve({"lr": 0.1}, 4, 5)


def test_crossing_curves_swap_ranks() -> None:
    curve = PowerLaw(crossing=8.0)
    good, poor = {"lr": 1e-2}, {"lr": 1e-3}
    assert curve.error(poor, 1) < curve.error(good, 1)
    assert curve.error(poor, 500) > curve.error(good, 500)


def test_too_large_a_value_diverges_and_an_absent_parameter_costs_nothing() -> None:
    curve = PowerLaw(diverges_above=("lr", 0.5))
    assert math.isnan(curve({"lr": 0.6}, 1, 0)["val_loss"])
    assert curve({}, 5, 0)["val_loss"] == pytest.approx(curve.best_error(5))


def test_choices_cost_what_their_table_says() -> None:
    curve = PowerLaw(terms={"optimizer": Term(values={"sgd": 0.0, "adam": 0.1})})
    assert curve.error({"optimizer": "sgd"}, 10) < curve.error({"optimizer": "adam"}, 10)


def test_recorded_curves_read_the_last_level_not_above() -> None:
    table = [{"val_loss": [0.9, 0.5, 0.3]}, {"val_loss": [0.8, 0.7, 0.6]}]
    curve = recorded(table, lambda params: params["row"], resources=[1, 3, 9])
    assert [curve({"row": 0}, r, 0)["val_loss"] for r in (0.5, 1, 2, 3, 8.9, 9, 50)] == [
        0.9, 0.9, 0.9, 0.5, 0.5, 0.3, 0.3,
    ]  # fmt: skip
    assert curve({"row": 1}, 9, 0) == {"val_loss": 0.6}
    with pytest.raises(ValueError, match="must ascend"):
        recorded(table, lambda params: 0, resources=[3, 1])
