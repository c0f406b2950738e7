"""Guessed spaces: they hold what was seen, and conditions are only found where they are."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.foreign.history import OldTrial
from hpo_service.foreign.inference import inferred, legal_names, renamed_legally, space_of, with_conditions
from search_spaces.space import NAME

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**9), 10**9), st.floats(-1e9, 1e9, width=32), st.text(max_size=4)
)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.fixed_dictionaries({"a": scalars, "b": st.integers(1, 5)}), min_size=1, max_size=12))
def test_a_guessed_space_holds_every_configuration(configurations: list[dict[str, Any]]) -> None:
    space = space_of(inferred(configurations, []))
    for params in configurations:
        space.validate_params(params)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 3), st.floats(0.1, 1)), min_size=8, max_size=40))
def test_conditions_that_hold_make_every_configuration_legal(rows: list[tuple[str, int, float]]) -> None:
    configurations: list[dict[str, Any]] = [
        {"kind": kind, "depth": depth, **({"extra": extra} if kind != "z" else {})} for kind, depth, extra in rows
    ]
    notes: list[str] = []
    found = with_conditions(inferred(configurations, notes), configurations, notes)
    space = space_of(found)
    both = {kind for kind, _, _ in rows} > {"z"}
    if both and found["extra"].when is not None:
        for params in configurations:
            space.validate_params(params)
    elif both:
        assert any("no other parameter says which" in note for note in notes)


def test_numbers_that_are_each_a_trial_s_own_say_nothing() -> None:
    configurations = [{"lr": k / 100, **({"m": 1.0} if k % 2 else {})} for k in range(1, 60)] + [{"lr": 0.02}]
    notes: list[str] = []
    found = with_conditions(inferred(configurations, notes), configurations, notes)
    assert found["m"].when is None
    assert any("space.m: some trials lack it" in note for note in notes)


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=8))
def test_names_become_legal_and_stay_apart(names: list[str]) -> None:
    notes: list[str] = []
    legal = legal_names(names, notes)
    assert set(legal) == set(names)
    assert len(set(legal.values())) == len(legal)
    assert all(NAME.match(name) for name in legal.values())
    assert all(name == known or any(name in note for note in notes) for known, name in legal.items())


@pytest.mark.parametrize("name", ["n units", "ünï", "1st", "a/b", "."])
def test_trials_follow_their_names(name: str) -> None:
    notes: list[str] = []
    (trial,) = renamed_legally([OldTrial(params={name: 1}, state="finished")], notes)
    assert list(trial.params.values()) == [1]
    assert NAME.match(next(iter(trial.params)))
    assert len(notes) == 1
