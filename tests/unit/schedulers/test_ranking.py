"""A ranking is a sorted list, however it was filled and emptied."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.schedulers.ranking import Ranking

STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 60)), max_size=120)


@given(STEPS, st.integers(2, 7))
def test_it_is_a_sorted_list_of_what_is_in_it(steps: list[tuple[bool, int]], block: int) -> None:
    ranking: Ranking[int] = Ranking(block)
    held: set[int] = set()
    for adds, item in steps:
        if adds and item not in held:
            ranking.add(item)
            held.add(item)
        elif not adds and item in held:
            ranking.remove(item)
            held.remove(item)
        ordered = sorted(held)
        assert list(ranking) == ordered
        assert len(ranking) == len(ordered)
        assert bool(ranking) == bool(ordered)
        assert ranking.place(item) == bisect_left(ordered, item)
        assert [ranking.at(place) for place in range(len(ordered))] == ordered
        with pytest.raises(IndexError):
            ranking.at(len(ordered))
