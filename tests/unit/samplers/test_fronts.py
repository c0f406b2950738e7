"""Who dominates whom, how crowded a front is, and what of very many trials counts as the best."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hpo_service.samplers.fronts import crowding, fronts, ranking
from hpo_service.samplers.judged import Judged

LOSSES = arrays.arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(0, 4))


def naive(losses: np.ndarray) -> list[int]:
    """Fronts by the book: peel off what nobody left dominates."""
    left, found, which = set(range(len(losses))), [0] * len(losses), 0
    while left:
        best = [
            i for i in left if not any((losses[j] <= losses[i]).all() and (losses[j] < losses[i]).any() for j in left)
        ]
        for i in best:
            found[i] = which
        left -= set(best)
        which += 1
    return found


@settings(max_examples=30)
@given(losses=LOSSES)
def test_fronts_are_what_nobody_left_dominates(losses: np.ndarray) -> None:
    assert fronts(losses, np.zeros(len(losses))).tolist() == naive(losses)


def test_what_breaks_constraints_comes_after_what_keeps_them_and_failures_last() -> None:
    losses = np.array([[9.0, 9.0], [1.0, 1.0], [2.0, 2.0], [np.nan, 0.0], [0.0, 0.0]])
    found = fronts(losses, np.array([0.0, 0.5, 0.2, 0.0, np.inf]))
    assert found.tolist() == [0, 2, 1, 4, 3]


def test_the_ends_of_a_front_are_never_crowded() -> None:
    losses = np.array([[0.0, 4.0], [1.0, 2.0], [1.1, 1.9], [4.0, 0.0]])
    found = crowding(losses)
    assert np.isinf(found[[0, 3]]).all()
    assert found[1] == pytest.approx(1.1 / 4 + 2.1 / 4)
    order, front, _ = ranking(losses, np.zeros(4))
    assert set(order[:2].tolist()) == {0, 3}
    assert front.tolist() == [0, 0, 0, 0]


@settings(max_examples=30)
@given(losses=LOSSES, count=st.integers(0, 12))
def test_so_many_are_good_and_none_of_them_is_of_a_later_front(losses: np.ndarray, count: int) -> None:
    judged = Judged(
        losses=losses,
        excess=np.zeros((len(losses), 0)),
        violations=np.zeros(len(losses)),
        rested=np.ones(len(losses), dtype=np.bool_),
    )
    good, front = judged.good(count), np.array(naive(losses))
    assert good.sum() == min(count, len(losses))
    if good.any() and not good.all():
        assert front[good].max() <= front[~good].min()


def test_the_good_ones_of_a_cut_front_cover_the_most_volume() -> None:
    losses = np.array([[0.0, 10.0], [4.9, 5.0], [5.0, 4.9], [10.0, 0.0], [2.0, 6.0], [6.0, 2.0]])
    judged = Judged(
        losses=losses,
        excess=np.zeros((6, 0)),
        violations=np.zeros(6),
        rested=np.ones(6, dtype=np.bool_),
    )
    assert set(np.flatnonzero(judged.good(2)).tolist()) == {4, 5}
