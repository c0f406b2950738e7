"""One parameter at a time: against a comparison trial by trial, and every suggestion is a legal single change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.views.sensitivity import sensitivity, suggestions
from tests.unit.views.columns_support import columns, definition

STUDY = definition()
SPACE = STUDY.search_space
BASE = SPACE.default_params()
CONFIGURATIONS = st.integers(0, 2**32).map(lambda seed: SPACE.sample(np.random.default_rng(seed)))
CHANGED = st.tuples(st.sampled_from(["lr", "layers", "momentum"]), st.integers(0, 2**32)).map(
    lambda pair: {**BASE, pair[0]: SPACE.parameters[pair[0]].sample(np.random.default_rng(pair[1]))}
)
OTHERS = st.sampled_from(["adam", "lion"]).flatmap(
    lambda name: st.sampled_from([0.9, 0.95]).map(
        lambda beta: {"lr": 1e-3, "layers": 3, "optimizer": name, "beta": beta}
    )
)


def slow(params: dict[str, Any]) -> str | None:
    """The one parameter in which it differs from the baseline."""
    differing = [name for name in params if name in BASE and params[name] != BASE[name]]
    moved = [name for name in params if name not in BASE and params[name] != SPACE.parameters[name].center]
    return differing[0] if len(differing) == 1 and not moved else None


@settings(deadline=None)
@given(st.lists(st.one_of(CONFIGURATIONS, CHANGED, OTHERS), max_size=12))
def test_points_are_the_trials_that_differ_in_one(configurations: list[dict[str, Any]]) -> None:
    params = [BASE, *configurations]
    rows: list[dict[str, Any]] = [{"params": p, "value": float(i)} for i, p in enumerate(params)]
    rows[0]["origin"] = "baseline"
    found = sensitivity(columns(STUDY, rows), lambda number: params[number])
    assert found["baseline"] == {"trial": 0, "params": BASE, "value": 0.0, "state": "finished"}
    mine = {(p["name"], point["trial"]) for p in found["parameters"] for point in p["points"]}
    assert mine == {(name, i) for i, p in enumerate(params) if i and (name := slow(p)) is not None}
    for parameter in found["parameters"]:
        for point in parameter["points"]:
            assert point["x"] == params[point["trial"]][parameter["name"]]


@settings(deadline=None)
@given(CONFIGURATIONS, st.data())
def test_suggestions_are_legal_and_change_one_thing(params: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(params)))
    found = suggestions(SPACE, params, name, [params[name]])
    assert 2 <= len(found) <= 4
    xs = [one["x"] for one in found]
    assert len(set(xs)) == len(xs)
    for one in found:
        assert SPACE.validate_params(one["params"]) == one["params"]
        assert one["params"][name] == one["x"] != params[name]
        assert all(value == params[k] for k, value in one["params"].items() if k in params and k != name)
    again = suggestions(SPACE, params, name, [params[name], *xs])
    assert not {one["x"] for one in again} & set(xs)


def test_what_is_forbidden_is_not_suggested() -> None:
    study = definition(forbid=[{"optimizer": "adam", "layers": 3}])
    found = suggestions(study.search_space, BASE, "optimizer", ["sgd"])
    assert [one["x"] for one in found] == ["lion"]


def test_without_a_baseline_trial_the_configuration_of_the_defaults_counts() -> None:
    params = [{**BASE, "lr": 0.1}, BASE]
    rows = [{"params": p, "value": 1.0} for p in params]
    assert sensitivity(columns(STUDY, rows), lambda n: params[n])["baseline"]["trial"] == 1


def test_a_missing_baseline_says_what_to_do() -> None:
    missing = sensitivity(columns(STUDY, []), lambda n: {})
    assert missing["baseline"] is None
    assert missing["missing"] == BASE
    assert "enqueue" in missing["note"]
    bare = definition(space={"lr": {"type": "uniform", "low": 0, "high": 1}})
    assert "default" in sensitivity(columns(bare, []), lambda n: {})["note"]


@pytest.mark.parametrize("number", [0, 1])
def test_around_any_trial(number: int) -> None:
    params = [{**BASE, "lr": 0.1}, {**BASE, "lr": 0.2}]
    found = sensitivity(columns(STUDY, [{"params": p, "value": 1.0} for p in params]), lambda n: params[n], number)
    (lr,) = [p for p in found["parameters"] if p["name"] == "lr"]
    assert [point["trial"] for point in lr["points"]] == [1 - number]


def test_of_a_wide_space_those_that_were_changed_most_are_shown() -> None:
    space = {f"p{k}": {"type": "uniform", "low": 0.0, "high": 1.0, "default": 0.5} for k in range(200)}
    base = dict.fromkeys(space, 0.5)
    rows = [{"params": {**base, name: 0.25}, "value": 1.0} for name in ("p7", "p199", "p199")]
    found = sensitivity(columns(definition(space=space), [{"params": base, "value": 0.0}, *rows]), lambda _: base, 0)
    shown = [one["name"] for one in found["parameters"]]
    assert shown == ["p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", *(f"p{k}" for k in range(8, 19)), "p199"]
    assert found["note"] == "Shown are 20 of 200 parameters."
