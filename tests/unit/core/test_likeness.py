"""How alike spaces are, and configurations of one in terms of another."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.core import likeness
from search_spaces import SearchSpace

LR = {"type": "loguniform", "low": 1e-5, "high": 0.1}


def space(**parameters: Any) -> SearchSpace:
    return SearchSpace.from_definition(parameters)


@pytest.mark.parametrize(
    ("own", "past", "least", "most"),
    [
        (LR, LR, 1.0, 1.0),
        (LR, {"type": "uniform", "low": 1e-5, "high": 0.1}, 0.6, 1.0),
        (LR, {**LR, "low": 1e-3}, 0.4, 0.6),
        (LR, {"type": "loguniform", "low": 1.0, "high": 10.0}, 0.0, 0.0),
        (LR, {"type": "choice", "values": [1e-5, 0.1]}, 0.0, 0.0),
        ({"type": "choice", "values": ["a", "b"]}, {"type": "choice", "values": ["b", "a"]}, 1.0, 1.0),
        ({"type": "choice", "values": ["a", "b"]}, {"type": "choice", "values": ["b", "c"]}, 0.33, 0.34),
        ({"type": "choice", "values": ["a", "b"]}, {"type": "choice", "values": ["c", "d"]}, 0.0, 0.0),
        ({"type": "power_of_two", "low": 16, "high": 256}, {"type": "integer", "low": 10, "high": 300}, 0.8, 1.0),
        ({"type": "ordinal", "values": ["low", "mid", "high"]}, {"type": "ordinal", "values": ["mid"]}, 0.33, 0.34),
    ],
)
def test_ranges_are_alike_by_what_they_have_in_common(
    own: dict[str, Any], past: dict[str, Any], least: float, most: float
) -> None:
    found = likeness.overlaps(space(p=own), space(p=past)).get("p", 0.0)
    assert least - 1e-9 <= found <= most + 1e-9


def test_spaces_are_alike_by_the_parameters_of_either() -> None:
    momentum = {"type": "uniform", "low": 0.5, "high": 0.99}
    assert likeness.likeness(space(lr=LR), space(lr=LR)) == pytest.approx(1.0)
    assert likeness.likeness(space(lr=LR), space(lr=LR, momentum=momentum)) == pytest.approx(0.5)
    assert likeness.likeness(space(lr=LR, momentum=momentum), space(lr=LR)) == pytest.approx(0.5)
    assert likeness.likeness(space(lr=LR), space(momentum=momentum)) == 0.0


def test_what_a_past_configuration_says_here() -> None:
    own = space(
        lr=LR,
        batch={"type": "power_of_two", "low": 16, "high": 256},
        optimizer={"type": "choice", "values": ["sgd", "adam"]},
        momentum={"type": "uniform", "low": 0.0, "high": 1.0, "default": 0.9, "when": {"optimizer": "sgd"}},
    )
    shared = dict.fromkeys(("lr", "batch", "optimizer"))
    told = likeness.translated({"lr": 1.0, "batch": 100, "optimizer": "sgd", "dropout": 0.1}, shared, own)
    assert told == {"lr": pytest.approx(0.1), "batch": 64, "optimizer": "sgd"}
    whole = likeness.completed(told or {}, own)
    assert whole == {"lr": pytest.approx(0.1), "batch": 64, "optimizer": "sgd", "momentum": pytest.approx(0.9)}
    assert likeness.translated({"optimizer": "lion"}, shared, own) is None
    assert likeness.translated({"dropout": 0.1}, shared, own) is None
    assert "momentum" not in (likeness.completed({"optimizer": "adam"}, own) or {})
    assert np.isnan(likeness.point({"lr": 0.01}, own)).tolist() == [name != "lr" for name in own.names]


def test_a_forbidden_whole_is_none() -> None:
    own = SearchSpace.from_definition({"a": {"type": "integer", "low": 1, "high": 3}, "lr": LR}, [{"a": 2}])
    assert likeness.completed({"lr": 0.01}, own) is None
    assert likeness.completed({"a": 3, "lr": 0.01}, own) is not None


@given(
    value=st.floats(-1e6, 1e6, allow_nan=False),
    kind=st.sampled_from(["uniform", "integer", "quniform", "power_of_two"]),
)
def test_any_number_finds_its_nearest_value(value: float, kind: str) -> None:
    step = {"step": 0.25} if kind == "quniform" else {}
    own = space(p={"type": kind, "low": 1, "high": 64, **step})
    found = likeness.translated({"p": value}, {"p": 1}, own)
    assert found is not None
    parameter = own.parameters["p"]
    assert parameter.contains(found["p"])
    assert math.isfinite(parameter.to_unit(found["p"]))
    if value <= 1 or value >= 64:
        assert found["p"] == (1 if value <= 1 else 64)
