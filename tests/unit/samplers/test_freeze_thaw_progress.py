"""A search stands still that found nothing better for a quarter of what was trained, and for one whole training."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.samplers.freeze_thaw.evidence import Seen
from hpo_service.samplers.freeze_thaw.progress import standstill

END = 10.0


def still(*seen: Seen, resumes: bool = True) -> bool:
    return standstill(seen, size=1.0, end=END, resumes=resumes) > 0


def test_it_stands_still_once_a_full_training_brought_nothing_better() -> None:
    assert not still()
    assert not still(Seen(0, 1.0, 0.5), Seen(1, 9.0, 0.4))
    assert still(Seen(0, 1.0, 0.5), Seen(1, 9.0, 0.4), Seen(2, 1.0, 0.3))
    assert not still(Seen(0, 1.0, 0.5), Seen(1, 9.0, 0.4), Seen(2, 1.0, 0.6))


def test_a_longer_search_has_a_quarter_of_it() -> None:
    before = [Seen(n, END, 0.5 + 0.02 * n) for n in range(6)]
    assert not still(*before, Seen(6, END, 0.1))
    assert still(*before, Seen(6, END, 0.1), Seen(7, END, 0.2))


def test_it_tells_the_share_of_what_was_trained_that_brought_nothing() -> None:
    seen = [Seen(0, END, 0.5), Seen(1, END, 0.1), Seen(2, END, 0.2), Seen(3, END, 0.3)]
    assert standstill(seen, size=1.0, end=END, resumes=True) == pytest.approx(0.75)
    assert standstill([Seen(0, 1.0, 0.5)], size=1.0, end=END, resumes=True) == 0.0


def test_hardly_better_is_not_better_and_what_diverged_neither() -> None:
    assert still(Seen(0, 1.0, 0.5), Seen(1, END, 0.505))
    assert still(Seen(0, 1.0, 0.5), Seen(1, END, math.nan))


@pytest.mark.parametrize(("resumes", "expected"), [(True, False), (False, True)])
def test_what_begins_anew_pays_all_of_it_again(resumes: bool, expected: bool) -> None:
    seen = (Seen(0, 1.0, 0.5), Seen(1, 4.0, 0.1), Seen(1, 8.0, 0.2))
    assert still(*seen, resumes=resumes) is expected


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from([1.0, 4.0, END]), st.floats(0, 1)), max_size=12))
def test_one_that_just_became_better_does_not_stand_still(told: list[tuple[int, float, float]]) -> None:
    seen = [Seen(*one) for one in told]
    assert not still(*seen, Seen(9, 1.0, 2.0))
