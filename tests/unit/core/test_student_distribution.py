"""Student's t against scipy's, and what must hold of any distribution."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hpo_service.core import student

FREEDOM = st.floats(0.5, 1e6)


@given(t=st.floats(-1e6, 1e6), freedom=FREEDOM)
def test_p_is_scipys(t: float, freedom: float) -> None:
    expected = 2 * stats.t.sf(abs(t), freedom)
    assert student.two_sided_p(t, freedom) == pytest.approx(expected, rel=1e-8, abs=1e-300)


@given(level=st.floats(0.001, 0.9999), freedom=st.floats(0.5, 1e5))
def test_quantiles_are_scipys_and_invert_p(level: float, freedom: float) -> None:
    found = student.quantile(level, freedom)
    assert found == pytest.approx(stats.t.ppf(level, freedom), rel=1e-7, abs=1e-9)
    assert student.two_sided_p(found, freedom) == pytest.approx(2 * min(level, 1 - level), rel=1e-6)


@given(freedom=FREEDOM, t=st.floats(0, 1e3), more=st.floats(0, 1e3))
def test_p_falls_with_distance_and_is_symmetric(freedom: float, t: float, more: float) -> None:
    p = student.two_sided_p(t, freedom)
    assert 0 <= student.two_sided_p(t + more, freedom) <= p + 1e-12 <= 1 + 1e-12
    assert student.two_sided_p(-t, freedom) == p


def test_the_ends() -> None:
    assert student.two_sided_p(0.0, 4) == 1.0
    assert student.two_sided_p(math.inf, 4) == 0.0
    assert student.two_sided_p(1.959963984540054, math.inf) == pytest.approx(0.05)
    assert student.quantile(0.975, 4) == pytest.approx(2.7764451051977987, rel=1e-12)  # as every table has it
    with pytest.raises(ValueError, match="between 0 and 1"):
        student.quantile(1.0, 4)
