"""How far new trials go first: to where values differ, as far as is known."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from hpo_service.samplers.freeze_thaw.evidence import Seen
from hpo_service.samplers.freeze_thaw.looks import ENOUGH, first_look

LEVELS = (2.0, 3.0, 4.0, 6.0, 9.0, 13.0, 18.0, 26.0)


def level_at(resource: float, alike: int, apart: int) -> list[Seen]:
    """Trials that came to `resource`: so many with one value, and others with values of their own."""
    same = [Seen(n, resource, 0.1) for n in range(alike)]
    return same + [Seen(alike + n, resource, 0.2 + 0.01 * n) for n in range(apart)]


@given(st.integers(0, 30), st.integers(0, 30))
def test_a_level_is_passed_over_where_half_of_enough_trials_are_alike(alike: int, apart: int) -> None:
    passed = alike + apart >= ENOUGH and alike >= apart
    assert first_look(LEVELS, level_at(2.0, alike, apart)) == (3.0 if passed else 2.0)


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from(LEVELS), st.floats(0, 1)), max_size=60))
def test_where_no_two_values_are_the_same_nothing_changes(found: list[tuple[int, float, float]]) -> None:
    different = {round(value, 12): Seen(trial, level, round(value, 12)) for trial, level, value in found}
    assert first_look(LEVELS, list(different.values())) == LEVELS[0]


@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from(LEVELS), st.sampled_from([0.1, 0.5])), max_size=60))
def test_it_is_a_level_of_the_first_third(found: list[tuple[int, float, float]]) -> None:
    assert first_look(LEVELS, [Seen(*one) for one in found]) in LEVELS[:4]


def test_who_goes_on_and_leaves_the_plateau_shows_where_it_ends() -> None:
    """Ten trials alike at 2 and 3 epochs, and different at 4."""
    seen = [Seen(n, level, 0.1) for n in range(10) for level in (2.0, 3.0)]
    assert first_look(LEVELS, seen) == 4.0
    assert first_look(LEVELS, [*seen, *(Seen(n, 4.0, 0.2 + 0.01 * n) for n in range(10))]) == 4.0
    assert first_look(LEVELS, [*seen, *(Seen(n, 4.0, 0.1) for n in range(10))]) == 6.0


def test_one_that_began_further_on_tells_nothing_of_the_levels_below() -> None:
    seen = level_at(2.0, 5, 4)
    assert first_look(LEVELS, [*seen, *(Seen(20 + n, 6.0, 0.3 + 0.01 * n) for n in range(9))]) == 3.0


def test_what_failed_is_not_alike() -> None:
    assert first_look(LEVELS, [Seen(n, 2.0, math.nan) for n in range(20)]) == 2.0
    assert first_look(LEVELS, [*level_at(2.0, 3, 6), *(Seen(20 + n, 2.0, math.nan) for n in range(20))]) == 2.0


def test_short_ladders_have_one_first_look() -> None:
    assert first_look((1.0, 2.0), level_at(1.0, 20, 0)) == 1.0
    assert first_look((1.0,), level_at(1.0, 20, 0)) == 1.0
