"""Optuna's distributions of the values themselves: the same there and back, or refused by name."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import (
    Choice,
    Constant,
    Integer,
    LogInteger,
    LogNormal,
    LogUniform,
    Ordinal,
    PowerOfTwo,
    QLogUniform,
    QUniform,
    SearchSpace,
    SpaceError,
    Uniform,
)
from search_spaces.convert.optuna_plain import from_distributions, to_distributions
from tests.unit.search_spaces.strategies import parameters as any_parameter

distributions = pytest.importorskip("optuna.distributions")
quick = settings(max_examples=80, deadline=None)
SAME = ("uniform", "loguniform", "integer", "log_integer")


def attempt(space: SearchSpace) -> tuple[dict[str, Any], SpaceError | None]:
    """What the space is there, or why it is refused."""
    try:
        return to_distributions(space), None
    except SpaceError as error:
        return {}, error


@quick
@given(any_parameter, st.integers(0, 2**32))
def test_it_comes_back_as_it_was_or_is_refused_by_name(parameter: Any, seed: int) -> None:
    space = SearchSpace.from_definition({"x": parameter})
    there, refused = attempt(space)
    if refused is not None:
        assert parameter.type not in SAME
        assert refused.path == "space.x.type"
        assert refused.remedy
        return
    value = space.sample(np.random.default_rng(seed))["x"]
    assert there["x"]._contains(there["x"].to_internal_repr(value))
    back = from_distributions(there).parameters["x"]
    assert back.contains(value)
    assert back.cardinality == parameter.cardinality
    if parameter.cardinality != 1:
        assert back.type == parameter.type  # type: ignore[attr-defined]  # every subclass has it


few = st.integers(0, 9)
low = st.integers(-9, 9)
listed = st.lists(st.none() | st.integers(2, 9) | st.text(max_size=3), min_size=1, max_size=4, unique=True)
known = st.one_of(
    st.builds(
        lambda a, b: distributions.FloatDistribution(a, a + b), st.floats(-9, 9), st.just(0.0) | st.floats(1e-3, 9)
    ),
    st.builds(lambda a, b: distributions.FloatDistribution(a, a * b, log=True), st.floats(1e-5, 9), st.floats(1, 99)),
    st.builds(lambda a, n: distributions.FloatDistribution(a, a + n * 0.25, step=0.25), low, few),
    st.builds(lambda a, n, q: distributions.IntDistribution(a, a + n * q, step=q), low, few, st.integers(1, 5)),
    st.builds(lambda a, n: distributions.IntDistribution(a, a + n, log=True), st.integers(1, 9), few),
    st.builds(distributions.CategoricalDistribution, listed),
)


@quick
@given(known)
def test_optuna_s_own_come_back(distribution: Any) -> None:
    space = from_distributions({"x": distribution})
    again = to_distributions(space)["x"]
    if distribution.single():
        assert again.single()
        value = again.choices[0] if hasattr(again, "choices") else again.low
        assert distribution._contains(distribution.to_internal_repr(value))
    else:
        assert again == distribution


def test_every_kind_and_the_deprecated_ones() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        old = {
            "a": distributions.UniformDistribution(0, 1),
            "b": distributions.LogUniformDistribution(0.1, 1),
            "c": distributions.DiscreteUniformDistribution(0, 1, 0.25),
            "d": distributions.IntUniformDistribution(1, 9, 2),
            "e": distributions.IntLogUniformDistribution(1, 9),
        }
    found = from_distributions(old | {"f": distributions.CategoricalDistribution(["x", True, None])}).parameters
    assert [type(found[name]) for name in "abcdef"] == [Uniform, LogUniform, QUniform, Integer, LogInteger, Choice]


def test_choices_that_are_no_scalars_are_named() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        odd = distributions.CategoricalDistribution([(1, 2), (3, 4)])
    with pytest.raises(SpaceError, match="JSON scalar") as caught:
        from_distributions({"layers": odd})
    assert caught.value.path == "space.layers"


@pytest.mark.parametrize("parameter", [PowerOfTwo(2, 64), Ordinal(["s", "m"]), Integer(0, 9, when={"z": 1})])
def test_what_optuna_lacks_may_be_given_up(parameter: Any) -> None:
    space = SearchSpace.from_definition({"x": parameter, "z": Choice([1, 2])})
    with pytest.raises(SpaceError):
        to_distributions(space)
    assert set(to_distributions(space, drop=("order", "conditions"))) == {"x", "z"}


@pytest.mark.parametrize("parameter", [LogNormal(0, 1), QLogUniform(1, 9, 0.5), Choice([1, True])])
def test_what_cannot_be_given_up(parameter: Any) -> None:
    space = SearchSpace.from_definition({"x": parameter})
    with pytest.raises(SpaceError, match="nothing like") as caught:
        to_distributions(space, drop=("order", "conditions", "default", "forbid"))
    assert caught.value.path == "space.x.type"


def test_a_constant_is_a_single_choice() -> None:
    there = to_distributions(SearchSpace.from_definition({"x": Constant("digits")}))
    assert there["x"] == distributions.CategoricalDistribution(("digits",))
    assert from_distributions(there).parameters["x"] == Constant("digits")
