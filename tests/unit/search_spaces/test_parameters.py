"""Properties that every parameter type keeps, the rules of each, and the distribution of their draws."""

from __future__ import annotations

import json
import math
import pickle
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import (
    PARAMETER_TYPES,
    BaseParameter,
    Choice,
    Constant,
    Integer,
    LogInteger,
    LogNormal,
    LogUniform,
    Normal,
    Ordinal,
    PowerOfTwo,
    QLogUniform,
    QUniform,
    SpaceError,
    Uniform,
    parse_parameter,
)
from tests.cpu_time import least_cpu_seconds
from tests.unit.search_spaces.strategies import continuous, discrete, parameters, units

quick = settings(max_examples=150, deadline=None)


def same(a: Any, b: Any) -> bool:
    """Equal and of one type: True is not 1, 1 is not 1.0."""
    return type(a) is type(b) and a == b


@quick
@given(parameters, units)
def test_a_drawn_value_is_legal_plain_and_survives_json(parameter: BaseParameter, u: float) -> None:
    value = parameter.from_unit(u)
    assert parameter.contains(value)
    assert value is None or type(value) in (bool, int, float, str)
    assert same(json.loads(json.dumps(value)), value)
    assert same(parameter.parse(value), value)


@quick
@given(parameters, units)
def test_from_unit_undoes_to_unit_exactly(parameter: BaseParameter, u: float) -> None:
    value = parameter.from_unit(u)
    place = parameter.to_unit(value)
    assert 0.0 <= place <= 1.0
    assert same(parameter.from_unit(place), value)


@quick
@given(parameters, units, units)
def test_the_scale_never_falls(parameter: BaseParameter, u: float, v: float) -> None:
    if not parameter.scale.ordered:
        return
    low, high = (parameter.scale.coordinate(parameter.from_unit(x)) for x in sorted((u, v)))
    assert low <= high


@quick
@given(continuous, units)
def test_to_unit_undoes_from_unit_closely(parameter: BaseParameter, u: float) -> None:
    low, high = (parameter.from_unit(x) for x in (0.0, 1.0))
    if not math.isfinite(low) or (high - low) < 1e-6 * max(abs(low), abs(high)):
        return
    assert parameter.to_unit(parameter.from_unit(u)) == pytest.approx(u, abs=1e-5)


@quick
@given(discrete)
def test_every_value_of_a_discrete_parameter_goes_round(parameter: BaseParameter) -> None:
    count = parameter.cardinality
    assert count is not None
    for k in {0, 1, count // 3, count // 2, count - 2, count - 1} & set(range(min(count, 3))) | {0, count - 1}:
        value = parameter.scale.at(k)  # type: ignore[attr-defined]
        assert same(parameter.from_unit(parameter.to_unit(value)), value)


@quick
@given(parameters)
def test_a_definition_survives_json(parameter: BaseParameter) -> None:
    again = parse_parameter(json.loads(json.dumps(parameter.to_dict())))
    assert again == parameter
    assert again.to_dict() == parameter.to_dict()
    assert pickle.loads(pickle.dumps(parameter)) == parameter


@quick
@given(continuous, st.integers(2, 9))
def test_a_grid_of_a_continuous_parameter_has_that_many_rising_points(parameter: BaseParameter, points: int) -> None:
    grid = parameter.grid(points)
    assert len(grid) == points
    assert grid == sorted(grid)
    if isinstance(parameter, Uniform | LogUniform):
        assert (grid[0], grid[-1]) == (parameter.low, parameter.high)


@quick
@given(parameters, st.integers(0, 2**32))
def test_sampling_takes_one_number_and_repeats(parameter: BaseParameter, seed: int) -> None:
    a, b = np.random.default_rng(seed), np.random.default_rng(seed)
    assert same(parameter.sample(a), parameter.sample(b))
    b = np.random.default_rng(seed)
    b.random()
    assert a.random() == b.random()


@pytest.mark.parametrize("kind", sorted(PARAMETER_TYPES))
def test_the_type_is_implied_by_the_class(kind: str) -> None:
    assert PARAMETER_TYPES[kind].model_fields["type"].default == kind


def test_clean_decimals_and_the_last_step() -> None:
    assert QUniform(0.1, 1, 0.1).grid(1) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert QUniform(0, 1, 0.3).grid(1) == [0.0, 0.3, 0.6, 0.9]
    assert Integer(1, 10, 4).grid(1) == [1, 5, 9]
    assert PowerOfTwo(17, 300).grid(1) == [32, 64, 128, 256]
    assert LogUniform(1e-4, 1).grid(5) == [1e-4, 1e-3, 1e-2, 1e-1, 1.0]


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        (Uniform(0, 1), 1, 1.0),
        (Uniform(0, 1), np.float64(0.25), 0.25),
        (QUniform(0, 1, 0.1), 0.30000000000000004, 0.3),
        (Integer(0, 9), 3.0, 3),
        (PowerOfTwo(1, 64), np.int64(8), 8),
        (Choice(["a", 1, 2.5]), 1.0, 1),
    ],
)
def test_parse_gives_the_plain_legal_value(parameter: BaseParameter, value: object, expected: Any) -> None:
    assert same(parameter.parse(value), expected)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        (Uniform(0, 1), True),
        (Uniform(0, 1), "0.5"),
        (Uniform(0, 1), 1.0000001),
        (Uniform(0, 1), math.nan),
        (Uniform(0, 1), None),
        (LogNormal(0, 1), 0.0),
        (LogNormal(0, 1), math.inf),
        (QUniform(0, 1, 0.1), 0.35),
        (Integer(0, 9), 3.5),
        (Integer(0, 9, 2), 3),
        (PowerOfTwo(16, 256), 48),
        (PowerOfTwo(16, 256), 8),
        (Choice([1, "a"]), True),
        (Choice([1, "a"]), "b"),
        (Choice([1, "a"]), [1]),
        (Normal(0, 1, low=0), -0.1),
        (Constant(3), 4),
        (Uniform(0, 1), 10**400),
    ],
)
def test_illegal_values_are_told(parameter: BaseParameter, value: object) -> None:
    assert not parameter.contains(value)
    with pytest.raises(SpaceError):
        parameter.to_unit(value)


def test_true_is_not_one() -> None:
    choice = Choice([True, 1, False, 0, None, "1"])
    assert [choice.from_unit(choice.to_unit(v)) for v in choice.values] == list(choice.values)
    assert choice.parse(True) is True
    assert type(choice.parse(1)) is int


def test_centers_and_defaults() -> None:
    assert LogUniform(1e-4, 1e-2).center == 1e-3
    assert PowerOfTwo(16, 256).center == 64
    assert Choice(["sgd", "adam"]).center == "sgd"
    assert Ordinal(["s", "m", "l"]).center == "m"
    assert Normal(2, 1).center == 2.0
    assert Constant("x").center == "x"
    assert Uniform(0, 1, default=1).center == 1.0
    assert type(Uniform(0, 1, default=1).default) is float
    assert Choice([1, None], default=None).has_default
    assert not Uniform(0, 1, default=None).has_default
    assert Choice([1, None], default=None).to_dict()["default"] is None


def test_frozen_and_positional() -> None:
    parameter = LogUniform(1e-6, high=1e-1)
    with pytest.raises(ValueError, match="frozen"):
        parameter.low = 0.5
    with pytest.raises(TypeError, match="twice"):
        Uniform(0, 1, low=0)
    with pytest.raises(TypeError, match="positional"):
        Uniform(0, 1, 2)


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"type": "uniform", "low": 3, "high": 1}, "low", "low must be < high, but got low=3.0, high=1.0; swap"),
    ({"type": "uniform", "low": 1, "high": 1}, "low", "use a constant"),
    ({"type": "uniform", "low": math.nan, "high": 1}, "low", "finite"),
    ({"type": "uniform", "low": 0, "high": math.inf}, "high", "finite"),
    ({"type": "uniform", "low": -1.7e308, "high": 1.7e308}, "low", "between 1e-300 and"),
    ({"type": "uniform", "low": 0, "high": 5e-324}, "low", "between 1e-300 and"),
    ({"type": "uniform", "low": True, "high": 2}, "low", "a number"),
    ({"type": "uniform", "low": "zero", "high": 2}, "low", "a number"),
    ({"type": "uniform", "low": 10**400, "high": 2}, "low", "finite"),
    ({"type": "uniform", "low": 0}, "high", "required"),
    ({"type": "uniform", "low": 0, "high": 1, "defualt": 1}, "defualt", "did you mean 'default'"),
    ({"type": "uniform", "low": 0, "high": 1, "default": 2}, "default", r"lie in \[0.0, 1.0\]"),
    ({"type": "loguniform", "low": 0, "high": 1}, "low", "needs low > 0"),
    ({"type": "log_integer", "low": 0, "high": 9}, "low", "needs low > 0"),
    ({"type": "qloguniform", "low": -1, "high": 9, "step": 1}, "low", "needs low > 0"),
    ({"type": "quniform", "low": 0, "high": 1, "step": 0}, "step", "step must be > 0"),
    ({"type": "quniform", "low": 1e9, "high": 2e9, "step": 1e-9}, "step", "2\\*\\*-40"),
    ({"type": "integer", "low": 0.5, "high": 3}, "low", "whole number"),
    ({"type": "integer", "low": 0, "high": 2**60}, "high", "2\\*\\*53"),
    ({"type": "integer", "low": -(2**52), "high": 2**52}, "high", "2\\*\\*48 values"),
    ({"type": "integer", "low": 0, "high": 9, "step": 0}, "step", "step must be >= 1"),
    ({"type": "power_of_two", "low": 17, "high": 31}, "low", "the nearest are 16 and 32"),
    ({"type": "choice", "values": []}, "values", "1 to 10000"),
    ({"type": "choice", "values": "abc"}, "values", "a list"),
    ({"type": "choice", "values": [1, 1.0]}, "values", "distinct"),
    ({"type": "choice", "values": [[1]]}, "values", "JSON scalar"),
    ({"type": "choice", "values": [math.nan]}, "values", "finite"),
    ({"type": "choice", "values": list(range(10_001))}, "values", "got 10001"),
    ({"type": "normal", "mu": 0, "sigma": 0}, "sigma", "sigma must be > 0"),
    ({"type": "normal", "mu": 1e9, "sigma": 1e-9}, "sigma", "1e-7 of mu"),
    ({"type": "normal", "mu": 0, "sigma": 1, "low": 7, "high": 8}, "low", "use uniform"),
    ({"type": "lognormal", "mu": 700, "sigma": 1}, "mu", "must be a float"),
    ({"type": "constant", "value": {"a": 1}}, "value", "JSON scalar"),
    ({"type": "log_uniform", "low": 1, "high": 2}, "type", "did you mean 'loguniform'"),
    ({"low": 1, "high": 2}, "type", "required"),
    ({"type": ["uniform"], "low": 1, "high": 2}, "type", "known one"),
]


@pytest.mark.parametrize(("definition", "path", "message"), BAD)
def test_bad_definitions_are_refused_fast(definition: dict[str, Any], path: str, message: str) -> None:
    def parse() -> Any:
        with pytest.raises(SpaceError, match=message) as caught:
            parse_parameter(definition)
        return caught

    assert least_cpu_seconds(parse) < 0.1
    caught = parse()
    assert caught.value.path == path
    json.dumps(caught.value.value, allow_nan=False)


def test_yaml_numbers_that_arrive_as_text() -> None:
    assert parse_parameter({"type": "loguniform", "low": "1e-6", "high": "1e-1"}) == LogUniform(1e-6, 1e-1)


def test_all_mistakes_of_a_parameter_are_told_together() -> None:
    with pytest.raises(SpaceError, match="and 2 more") as caught:
        parse_parameter({"type": "uniform", "lwo": 1})
    assert [error.path for error in caught.value.errors] == ["low", "high", "lwo"]
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert [error.path for error in copy.errors] == ["low", "high", "lwo"]


def distance(parameter: BaseParameter, cdf: Any) -> float:
    """Kolmogorov–Smirnov distance of 4,000 draws from a distribution function."""
    rng = np.random.default_rng(7)
    draws = np.sort([parameter.sample(rng) for _ in range(4_000)])
    expected = np.array([cdf(float(x)) for x in draws])
    ranks = np.arange(len(draws) + 1) / len(draws)
    return float(max(np.max(ranks[1:] - expected), np.max(expected - ranks[:-1])))


bell = NormalDist()
CONTINUOUS = [
    (Uniform(-2, 3), lambda x: (x + 2) / 5),
    (LogUniform(1e-6, 1e-1), lambda x: math.log(x / 1e-6) / math.log(1e5)),
    (Normal(3, 2), lambda x: bell.cdf((x - 3) / 2)),
    (Normal(0, 1, low=1), lambda x: (bell.cdf(x) - bell.cdf(1)) / (1 - bell.cdf(1))),
    (Normal(0, 1, low=-1, high=0.5), lambda x: (bell.cdf(x) - bell.cdf(-1)) / (bell.cdf(0.5) - bell.cdf(-1))),
    (LogNormal(-1, 0.5), lambda x: bell.cdf((math.log(x) + 1) / 0.5)),
]


@pytest.mark.parametrize(("parameter", "cdf"), CONTINUOUS)
def test_draws_follow_the_scale(parameter: BaseParameter, cdf: Any) -> None:
    assert distance(parameter, cdf) < 1.63 / math.sqrt(4_000)  # the 1 % bound


DISCRETE: list[tuple[BaseParameter, list[float]]] = [
    (QUniform(0, 1, 0.25), [1, 1, 1, 1, 1]),
    (Integer(1, 6), [1] * 6),
    (PowerOfTwo(16, 256), [1] * 5),
    (Choice(["a", "b", None]), [1] * 3),
    (Ordinal([3, 1, 2, 5]), [1] * 4),
    (LogInteger(1, 4), [math.log((k + 0.5) / (k - 0.5)) for k in (1, 2, 3, 4)]),
    (QLogUniform(0.5, 2, 0.5), [math.log((k + 0.5) / (k - 0.5)) for k in (1, 2, 3, 4)]),
]


@pytest.mark.parametrize(("parameter", "weights"), DISCRETE)
def test_draws_of_discrete_parameters_follow_their_weights(parameter: BaseParameter, weights: list[float]) -> None:
    rng = np.random.default_rng(11)
    values = parameter.grid(1)
    draws = [values.index(parameter.sample(rng)) for _ in range(4_000)]
    seen = np.bincount(draws, minlength=len(values))
    expected = 4_000 * np.array(weights) / sum(weights)
    chi_squared = float(np.sum((seen - expected) ** 2 / expected))
    assert chi_squared < 20.5  # beyond the 0.1 % bound for five degrees of freedom
