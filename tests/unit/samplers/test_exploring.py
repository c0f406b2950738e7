"""Exploring: steps on each parameter's own scale, and configurations that the space allows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.samplers.exploring import explore, perturbed
from search_spaces import SearchSpace
from search_spaces.parameters import parse_parameter

SPACE = SearchSpace.from_definition(
    {
        "lr": {"type": "loguniform", "low": 1e-6, "high": 0.1},
        "dropout": {"type": "uniform", "low": 0.0, "high": 0.5},
        "heads": {"type": "integer", "low": 1, "high": 9, "step": 2},
        "batch": {"type": "power_of_two", "low": 16, "high": 256},
        "optimizer": {"type": "choice", "values": ["sgd", "adam"]},
        "momentum": {"type": "uniform", "low": 0.85, "high": 0.95, "when": {"optimizer": "sgd"}},
        "noise": {"type": "normal", "mu": 0.0, "sigma": 1.0},
        "scale": {"type": "lognormal", "mu": 0.0, "sigma": 1.0},
        "size": {"type": "ordinal", "values": ["s", "m", "l"]},
        "share": {"type": "quniform", "low": 0.0, "high": 1.0, "step": 0.1},
        "same": {"type": "constant", "value": 3},
    },
    [{"batch": 256, "size": "l"}],
)


@pytest.mark.parametrize(
    ("definition", "value", "up", "down"),
    [
        ({"type": "loguniform", "low": 1e-6, "high": 0.1}, 0.001, 0.0012, 0.0008),
        ({"type": "loguniform", "low": 1e-6, "high": 0.1}, 0.09, 0.1, 0.072),
        ({"type": "uniform", "low": 0.0, "high": 0.5}, 0.2, 0.24, 0.16),
        ({"type": "uniform", "low": 0.0, "high": 0.5}, 0.0, 0.01, 0.0),
        ({"type": "uniform", "low": 0.85, "high": 0.95}, 0.9, 0.92, 0.88),
        ({"type": "uniform", "low": -1.0, "high": 1.0}, -0.5, -0.4, -0.6),
        ({"type": "integer", "low": 1, "high": 100}, 50, 60, 40),
        ({"type": "integer", "low": 1, "high": 9}, 1, 2, 1),
        ({"type": "log_integer", "low": 1, "high": 1000}, 2, 3, 1),
        ({"type": "power_of_two", "low": 16, "high": 256}, 64, 128, 32),
        ({"type": "power_of_two", "low": 16, "high": 256}, 256, 256, 128),
        ({"type": "ordinal", "values": ["s", "m", "l"]}, "m", "l", "s"),
        ({"type": "quniform", "low": 0.0, "high": 1.0, "step": 0.1}, 0.3, 0.4, 0.2),
        ({"type": "choice", "values": ["a", "b"]}, "a", "a", "a"),
        ({"type": "constant", "value": 3}, 3, 3, 3),
        ({"type": "normal", "mu": 0.0, "sigma": 1.0}, 0.0, 0.04, -0.04),
        ({"type": "lognormal", "mu": 0.0, "sigma": 1.0}, 2.0, 2.4, 1.6),
    ],
)
def test_a_step_on_each_scale(definition: dict[str, object], value: object, up: object, down: object) -> None:
    parameter = parse_parameter(definition)
    assert perturbed(parameter, value, up=True) == pytest.approx(up) if isinstance(up, float) else up
    assert [perturbed(parameter, value, up=side) for side in (True, False)] == (
        pytest.approx([up, down]) if isinstance(up, float) else [up, down]
    )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), resample=st.sampled_from([0.0, 0.3, 1.0]), some=st.booleans())
def test_what_comes_out_is_allowed_and_changes_only_what_may(seed: int, resample: float, some: bool) -> None:
    rng = np.random.default_rng(seed)
    names = ["lr", "batch"] if some else SPACE.names
    params = SPACE.sample(rng)
    for _ in range(4):
        before, params = params, explore(SPACE, params, rng, names=names, resample=resample)
        assert SPACE.validate_params(params) == params
        assert all(params[name] == before[name] for name in before if name not in names)
    again = [explore(SPACE, params, np.random.default_rng(seed), names=names, resample=resample) for _ in range(2)]
    assert again[0] == again[1]


def test_a_changed_choice_draws_what_it_makes_active_and_drops_the_rest() -> None:
    rng = np.random.default_rng(1)
    params = {**SPACE.sample(rng, given={"optimizer": "sgd"})}
    seen = set()
    for _ in range(40):
        params = explore(SPACE, params, rng, names={"optimizer"}, resample=1.0)
        seen.add((params["optimizer"], "momentum" in params))
    assert seen == {("sgd", True), ("adam", False)}


def test_where_every_step_is_forbidden_nothing_changes() -> None:
    space = SearchSpace.from_definition(
        {"a": {"type": "ordinal", "values": [1, 2, 3]}, "b": {"type": "choice", "values": [0, 1]}},
        [{"a": [1, 3], "b": 0}],
    )
    params = {"a": 2, "b": 0}
    assert explore(space, params, np.random.default_rng(0), names={"a"}, resample=0.0) == params
