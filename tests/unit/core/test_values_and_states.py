"""Numbers that may be NaN or infinite, and the transition table."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.core import values
from hpo_service.core.states import (
    STUDY_TRANSITIONS,
    TERMINAL_TRIAL,
    TRIAL_TRANSITIONS,
    StudyState,
    TrialState,
    goes_on_to,
    study_sources,
    trial_sources,
)

ANY = st.floats(allow_nan=True, allow_infinity=True)


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


@given(ANY)
def test_values_survive_storage_and_json(value: float) -> None:
    assert same(values.join(*values.split(value)), value)
    assert same(values.from_json(json.loads(json.dumps(values.to_json(value), allow_nan=False))), value)


@given(st.lists(ANY | st.none(), min_size=1), st.booleans())
def test_ranks_put_whatever_is_not_finite_last(found: list[float | None], maximize: bool) -> None:
    ranked = sorted(found, key=lambda v: values.rank_key(v, maximize=maximize))
    finite = [v for v in found if v is not None and math.isfinite(v)]
    assert ranked[: len(finite)] == sorted(finite, reverse=maximize)


@given(ANY, ANY, st.booleans(), st.floats(0, 10))
def test_a_better_value_ranks_before(value: float, than: float, maximize: bool, delta: float) -> None:
    if values.is_better(value, than, maximize=maximize, min_delta=delta):
        assert values.rank_key(value, maximize=maximize) < values.rank_key(than, maximize=maximize)
    assert not values.is_better(math.nan, than, maximize=maximize)
    assert not values.is_better(value, value, maximize=maximize)


@pytest.mark.parametrize("wrong", [True, "infinity", None, [1], "1.0"])
def test_other_json_is_no_value(wrong: object) -> None:
    with pytest.raises(ValueError, match="must be a number"):
        values.from_json(wrong)


def test_a_finite_kind_needs_its_number() -> None:
    with pytest.raises(ValueError, match="needs its number"):
        values.join("finite", None)


def test_terminal_trials_never_change() -> None:
    assert {state for state, targets in TRIAL_TRANSITIONS.items() if not targets} == TERMINAL_TRIAL
    assert set(TRIAL_TRANSITIONS) == set(TrialState)
    assert set(STUDY_TRANSITIONS) == set(StudyState)


@pytest.mark.parametrize("target", TrialState)
def test_trial_sources_are_the_table_read_backwards(target: TrialState) -> None:
    assert trial_sources(target) == {s for s in TrialState if target in TRIAL_TRANSITIONS[s]}


@pytest.mark.parametrize("target", StudyState)
def test_study_sources_are_the_table_read_backwards(target: StudyState) -> None:
    assert study_sources(target) == {s for s in StudyState if target in STUDY_TRANSITIONS[s]}
    assert target not in study_sources(target)


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("state", [s for s in StudyState if s not in (StudyState.PREFLIGHT, StudyState.RUNNING)])
def test_a_study_that_goes_on_was_tried_first(state: StudyState, begun: bool) -> None:
    target = goes_on_to(state, begun=begun)
    assert target in STUDY_TRANSITIONS[state]
    if state is StudyState.FAILED or (not begun and state is not StudyState.FINISHED):
        assert target is StudyState.PREFLIGHT
    else:
        assert target is StudyState.RUNNING
