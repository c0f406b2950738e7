"""Friedman's statistic by permutations, against all orders written out, a published table, and its own draws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from hpo_service.bench import permutations


def spread(ranks: list[list[int]]) -> int:
    return sum(sum(column) ** 2 for column in zip(*ranks, strict=True))


@given(st.integers(2, 3).flatmap(lambda k: st.lists(st.lists(st.integers(0, 3), min_size=k, max_size=k), max_size=4)))
def test_it_is_the_share_of_all_orders_that_lie_as_far_apart(losses: list[list[int]]) -> None:
    ranks = [[int(2 * rank) for rank in rankdata(task)] for task in losses if task]
    if not ranks:
        return
    found = [spread(list(map(list, every))) for every in itertools.product(*map(itertools.permutations, ranks))]
    share = sum(value >= spread(ranks) for value in found) / len(found)
    assert permutations.p_value(ranks) == pytest.approx(share)


@pytest.mark.parametrize(
    ("sums", "ranks", "p"),
    [
        ((5, 7, 12), ((1, 2, 3), (1, 2, 3), (1, 2, 3), (2, 1, 3)), 0.042),  # χ² = 6.5
        ((3, 7, 8), ((1, 2, 3), (1, 2, 3), (1, 3, 2)), 0.194),  # χ² = 4.667
        ((3, 6, 9, 12), ((1, 2, 3, 4),) * 3, 0.0017),  # χ² = 9
    ],
)
def test_friedmans_table(sums: tuple[int, ...], ranks: tuple[tuple[int, ...], ...], p: float) -> None:
    assert tuple(map(sum, zip(*ranks, strict=True))) == sums
    assert permutations.p_value(ranks) == pytest.approx(p, abs=6e-4)


def test_draws_agree_with_all_orders_and_are_the_same_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    ranks = [[2 * int(rank) for rank in rng.permutation(4)] for _ in range(5)]
    exact = permutations.p_value(ranks)
    monkeypatch.setattr(permutations, "_all", lambda tasks: None)
    drawn = permutations.p_value(ranks)
    assert exact is not None
    assert drawn == pytest.approx(exact, abs=0.01)
    permutations._drawn.cache_clear()
    assert permutations.p_value(ranks[::-1]) == drawn


def test_what_is_too_much_is_left_to_others() -> None:
    ranks = [list(range(12))] * permutations.TASKS
    assert permutations.p_value(ranks) == pytest.approx(1 / (permutations.DRAWN + 1))
    assert permutations.p_value([*ranks, ranks[0]]) is None
