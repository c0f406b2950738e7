"""The Optuna encoding: exact round trips, distributions that accept it, order kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import Choice, Constant, LogInteger, Normal, PowerOfTwo, SearchSpace, SpaceError, Uniform
from search_spaces.convert.optuna import decode, encode, to_optuna
from tests.unit.search_spaces.strategies import parameters as any_parameter

optuna = pytest.importorskip("optuna")
quick = settings(max_examples=60, deadline=None)


@quick
@given(st.dictionaries(st.sampled_from("abcdef"), any_parameter, min_size=1, max_size=4), st.integers(0, 2**32))
def test_configurations_go_round_exactly(parameters: dict[str, Any], seed: int) -> None:
    space = SearchSpace.from_definition(parameters)
    distributions = to_optuna(space)
    params = space.sample(np.random.default_rng(seed))
    internal = encode(space, params)
    assert set(internal) == set(distributions)
    for name, value in internal.items():
        distribution = distributions[name]
        assert distribution._contains(distribution.to_internal_repr(value))
    assert decode(space, internal) == params
    assert [type(v) for v in decode(space, internal).values()] == [type(v) for v in params.values()]


@quick
@given(any_parameter, st.integers(0, 2**31))
def test_what_optuna_suggests_is_legal(parameter: Any, seed: int) -> None:
    space = SearchSpace.from_definition({"x": parameter})
    distributions = to_optuna(space)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    params = decode(space, study.ask(distributions).params)
    assert space.validate_params(params) == params


def test_conditions_and_constants() -> None:
    space = SearchSpace.from_definition(
        {
            "optimizer": Choice(["sgd", "adam", None, True, 1]),
            "momentum": Uniform(0, 1, when={"optimizer": "sgd"}),
            "data": Constant("digits"),
        }
    )
    assert set(to_optuna(space)) == {"optimizer", "momentum"}
    assert decode(space, {"optimizer": '"adam"', "momentum": 0.5}) == {"optimizer": "adam", "data": "digits"}
    assert decode(space, {"optimizer": "true"}) == {"optimizer": True, "data": "digits"}
    assert encode(space, {"optimizer": 1, "data": "digits"}) == {"optimizer": "1"}
    with pytest.raises(SpaceError, match="needs a value"):
        decode(space, {"optimizer": '"sgd"'})
    with pytest.raises(SpaceError, match="did you mean 'momentum'"):
        encode(space, {"momentun": 1})
    with pytest.raises(SpaceError, match=r"params\.momentum"):
        encode(space, {"momentum": 2})


def test_order_is_kept() -> None:
    space = SearchSpace.from_definition({"b": PowerOfTwo(16, 256), "n": LogInteger(1, 9), "z": Normal(0, 1)})
    distributions = to_optuna(space)
    assert distributions["b"] == optuna.distributions.IntDistribution(4, 8)
    assert distributions["n"] == optuna.distributions.IntDistribution(1, 9, log=True)
    assert distributions["z"] == optuna.distributions.FloatDistribution(0.0, 1.0)
    assert [encode(space, {"b": b})["b"] for b in (16, 64, 256)] == [4, 6, 8]
