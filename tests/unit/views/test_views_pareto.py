"""The front against the definition, trial by trial."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpo_service.views.columns import Floats
from hpo_service.views.pareto import _dominated, front_of


def slow(losses: Floats) -> list[int]:
    return [
        i for i, row in enumerate(losses) if not any((other <= row).all() and (other < row).any() for other in losses)
    ]


TABLES = st.integers(1, 4).flatmap(
    lambda d: st.integers(0, 40).flatmap(
        lambda n: arrays(np.float64, (n, d), elements=st.one_of(st.integers(0, 6).map(float), st.floats(-1e3, 1e3)))
    )
)


@settings(deadline=None)
@given(TABLES)
def test_the_front_is_what_nothing_dominates(losses: Floats) -> None:
    found, whole = front_of(losses)
    assert whole
    assert found.tolist() == slow(losses)


@settings(deadline=None)
@given(st.integers(2, 4), st.integers(0, 2**32))
def test_large_tables_with_several_blocks(d: int, seed: int) -> None:
    losses = np.round(np.random.default_rng(seed).random((700, d)), 2)
    found, _ = front_of(losses)
    on = np.zeros(700, dtype=bool)
    on[found] = True
    assert not _dominated(losses[on], losses).any()
    assert _dominated(losses[~on], losses[on]).all()


def test_a_front_of_everything_is_given_up() -> None:
    x = np.linspace(0, 1, 5_000)
    found, whole = front_of(np.column_stack([x, 1 - x, np.zeros(5_000)]), most=1_000)
    assert not whole
    assert found.size == 1_000
