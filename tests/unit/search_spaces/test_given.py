"""Draws beside values that some parameters have already."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import SearchSpace, SpaceError

SPACE = SearchSpace.from_definition(
    {
        "lr": {"type": "loguniform", "low": 1e-5, "high": 1.0},
        "layers": {"type": "integer", "low": 1, "high": 4},
        "kind": {"type": "choice", "values": ["a", "b", None]},
        "slope": {"type": "uniform", "low": 0, "high": 1, "when": {"kind": "b"}},
    },
    [{"layers": 4, "lr": {">": 0.1}}],
)


@given(st.integers(0, 2**32 - 1), st.sets(st.sampled_from(SPACE.names)))
def test_given_values_stay_and_the_rest_is_allowed_beside_them(seed: int, names: set[str]) -> None:
    rng = np.random.default_rng(seed)
    known = {name: value for name, value in SPACE.sample(rng).items() if name in names}
    found = SPACE.sample(rng, given=known)
    assert SPACE.validate_params(found) == found
    for name in known.keys() & found.keys():
        assert found[name] == pytest.approx(known[name])
    assert {"lr", "layers", "kind"} <= set(found)


def test_nothing_given_draws_as_before() -> None:
    assert SPACE.sample(np.random.default_rng(3), given={}) == SPACE.sample(np.random.default_rng(3))


def test_what_allows_nothing_beside_it_is_an_error() -> None:
    space = SearchSpace.from_definition(
        {name: {"type": "uniform", "low": 0, "high": 1} for name in "xy"}, [{"x": {"<": 0.5}, "y": {">=": 0.0}}]
    )
    with pytest.raises(SpaceError, match="leave enough to draw from"):
        space.sample(np.random.default_rng(1), given={"x": 0.2})
