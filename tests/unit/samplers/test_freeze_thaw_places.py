"""Places of configurations: one each, read back as they were, and of nothing that can be no trial."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.core import likeness
from hpo_service.core.definition import Objective
from hpo_service.core.events import EnqueuedTrial
from hpo_service.core.history import History
from hpo_service.samplers.freeze_thaw.kernel import Floats
from hpo_service.samplers.freeze_thaw.places import Places
from hpo_service.samplers.freeze_thaw.planner import Planner
from search_spaces import SearchSpace

ROOTS: dict[str, Any] = {
    "optimizer": {"type": "choice", "values": ["sgd", "adam", "lion"]},
    "layers": {"type": "integer", "low": 1, "high": 4},
    "rate": {"type": "uniform", "low": 0.0, "high": 1.0},
}
KINDS: list[dict[str, Any]] = [
    {"type": "uniform", "low": -3.0, "high": 0.7},
    {"type": "loguniform", "low": 1e-5, "high": 0.3},
    {"type": "normal", "mu": 1.0, "sigma": 2.0},
    {"type": "integer", "low": 0, "high": 6},
    {"type": "log_integer", "low": 1, "high": 9},
    {"type": "power_of_two", "low": 8, "high": 64},
    {"type": "qloguniform", "low": 0.05, "high": 1.0, "step": 0.05},
    {"type": "choice", "values": [True, False]},
    {"type": "ordinal", "values": ["low", "middle", "high"]},
    {"type": "constant", "value": 3},
]
WHENS: list[dict[str, Any]] = [
    {"optimizer": "sgd"},
    {"optimizer": ["adam", "lion"], "layers": {">": 1}},
    {"rate": {"<": 0.3}},
    {"layers": {"!=": 2}},
]
FORBID: list[dict[str, Any]] = [{"optimizer": "sgd", "layers": {">": 2}}, {"rate": {">": 0.8}}, {"layers": 3}]


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    """Roots, parameters that hang on them, and parameters that hang on one of these."""
    parameters = dict(ROOTS)
    for number in range(draw(st.integers(1, 3))):
        parameters[f"c{number}"] = {**draw(st.sampled_from(KINDS)), "when": draw(st.sampled_from(WHENS))}
    if draw(st.booleans()):
        parameters["gate"] = {"type": "choice", "values": ["open", "shut"], "when": draw(st.sampled_from(WHENS))}
        parameters["behind"] = {**draw(st.sampled_from(KINDS)), "when": {"gate": "open"}}
    return SearchSpace.from_definition(parameters, draw(st.lists(st.sampled_from(FORBID), max_size=2, unique_by=repr)))


def places_of(space: SearchSpace, *tried: dict[str, Any], repeats: bool = False) -> Places:
    history = History(Objective(metric="loss"), space)
    for number, params in enumerate(tried):
        history.enqueue(EnqueuedTrial(trial=number, params=params))
    return Places(history, repeats=repeats)


def settled(places: Places, points: Floats) -> Floats:
    """As the planner does, which knows the cells."""
    planner = Planner(0, (1.0,), places.unordered, places.cells, places.point, settle=places.settle)
    return planner._draws.settled(points)


def configurations(places: Places, points: Floats) -> list[dict[str, Any]]:
    return [places.space.from_unit(point) for point in places.whole(points)]


def keys(space: SearchSpace, params: list[dict[str, Any]]) -> list[str]:
    return [space.config_key(one) for one in params]


@settings(max_examples=60, deadline=None)
@given(space=spaces(), seed=st.integers(0, 2**32))
def test_a_place_is_its_configurations_and_only_its(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    places = places_of(space)
    points = rng.random((40, len(places.columns)))
    drawn = configurations(places, points)
    points = np.concatenate([points, np.where(rng.random(points.shape) < 0.2, rng.random(points.shape), points)])
    found = settled(places, points)
    params = configurations(places, found)
    read = np.stack([likeness.point(one, space) for one in params])[:, places.columns]
    canonical = places.canonical(found)
    np.testing.assert_allclose(np.where(np.isnan(read), 0.5, read), canonical, atol=1e-5)
    np.testing.assert_array_equal(places.canonical(canonical), canonical)
    np.testing.assert_array_equal(settled(places, found), found)
    assert len(set(keys(space, params))) == len(params)
    allowed = [one for one in drawn if not space.is_forbidden(one)]
    assert {_rough(one) for one in allowed} <= {_rough(one) for one in params}
    assert not any(map(space.is_forbidden, params)) or not allowed


def _rough(params: dict[str, Any]) -> str:
    """A configuration whose numbers may differ in their last digits."""
    return repr({name: round(value, 9) if isinstance(value, float) else value for name, value in params.items()})


@settings(max_examples=20, deadline=None)
@given(space=spaces(), seed=st.integers(0, 2**32))
def test_what_was_tried_is_no_candidate(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    tried = [space.sample(rng) for _ in range(12)]
    places = places_of(space, *tried)
    aside = rng.random((12, len(places.columns)))
    observed = np.stack([places.point(number) for number in range(12)])
    told = np.stack([space.to_unit(one) for one in tried])[:, places.columns]
    moved = np.where(np.isnan(told), aside, observed)  # differs only where a condition leaves a parameter out
    found = settled(places, np.concatenate([moved, aside]))
    assert not set(keys(space, configurations(places, found))) & set(keys(space, tried))
    again = settled(places_of(space, *tried, repeats=True), moved)
    assert set(keys(space, configurations(places, again))) == set(keys(space, tried))


def test_trials_that_begin_later_are_no_candidates_either_and_those_outside_the_space_do_not_count() -> None:
    space = SearchSpace.from_definition({"a": ROOTS["optimizer"], "b": {**ROOTS["layers"], "when": {"a": "sgd"}}})
    places = places_of(space)
    cube = np.random.default_rng(0).random((200, 2))
    assert len(settled(places, cube)) == 6  # sgd with four, adam, lion
    history = places._history
    later: list[dict[str, Any]] = [{"a": "adam"}, {"a": "sgd", "b": 2}, {"a": "sgd", "b": 9}, {"a": "old"}]
    for number, params in enumerate(later):
        history.enqueue(EnqueuedTrial(trial=number, params=params))
    left = configurations(places, settled(places, cube))
    expected = [{"a": "lion"}, *({"a": "sgd", "b": layers} for layers in (1, 3, 4))]
    assert sorted(map(str, left)) == sorted(map(str, expected))


@pytest.mark.parametrize("forbid", [[], [{"a": ["sgd", "adam", "lion"]}]])
def test_where_nothing_is_left_candidates_stay(forbid: list[Any]) -> None:
    space = SearchSpace.from_definition({"a": ROOTS["optimizer"], "b": {**ROOTS["layers"], "when": {"a": "sgd"}}})
    every = list(space.grid(1))
    found = settled(places_of(space, *every), np.random.default_rng(0).random((20, 2)))
    assert found.shape == (20, 2)


def test_spaces_without_conditions_keep_their_candidates_bit_for_bit() -> None:
    places = places_of(SearchSpace.from_definition({**ROOTS, "k": KINDS[4], "c": KINDS[-1]}))
    assert places.settle is None
    points = np.random.default_rng(0).random((50, 4))
    found = settled(places, points)
    free = places.cells == 0
    np.testing.assert_array_equal(found[:, free], points[:, free])
    assert free.tolist() == [True, False, False, True]  # k, layers, optimizer, rate


def test_a_space_of_few_values_on_logarithmic_axes_is_offered_each_configuration_once_and_none_that_was_tried() -> None:
    space = SearchSpace.from_definition(
        {
            "batch_size": {"type": "power_of_two", "low": 8, "high": 64},
            "units": {"type": "log_integer", "low": 1, "high": 5},
        }
    )
    tried = [{"batch_size": 8, "units": 1}, {"batch_size": 64, "units": 3}]
    places = places_of(space, *tried)
    found = configurations(places, settled(places, np.random.default_rng(1).random((400, 2))))
    assert len(found) == space.cardinality - len(tried) == len(set(keys(space, found)))
    assert all(one not in found for one in tried)
    endless = SearchSpace.from_definition({**{k: KINDS[5] for k in ("a", "b")}, "rate": KINDS[1]})
    assert places_of(endless).settle is None
