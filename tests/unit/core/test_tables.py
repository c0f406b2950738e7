"""Rung and bracket arithmetic against the papers' own examples."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.core.algorithm_specs import MedianSpec, SuccessiveHalvingSpec
from hpo_service.core.tables import (
    BracketPlan,
    HalvingTable,
    HyperbandTable,
    exact,
    halving,
    hyperband_round,
    judgements,
    levels_up,
    rung_count,
)


def table(plan: BracketPlan, entrants: int | None = None) -> list[tuple[int, float]]:
    return list(zip(plan.sizes(entrants), plan.levels, strict=True))


def test_the_table_of_li_et_al_2018_for_81_and_3() -> None:
    # Li et al. 2018, Algorithm 1 with R = 81, eta = 3: s_max = floor(log_3 81) = 4, B = 5·81 = 405.
    #   n = ceil(B/R · 3^s / (s + 1)):   s=4: ceil(5/5·81) = 81     s=3: ceil(5/4·27) = ceil(33.75) = 34
    #   s=2: ceil(5/3·9) = 15            s=1: ceil(5/2·3) = ceil(7.5) = 8         s=0: ceil(5/1·1) = 5
    #   n_i = floor(n · 3^-i), r_i = 81 · 3^(i - s)
    assert [table(plan) for plan in hyperband_round(1, 81, 3)] == [
        [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
        [(34, 3), (11, 9), (3, 27), (1, 81)],
        [(15, 9), (5, 27), (1, 81)],
        [(8, 27), (2, 81)],
        [(5, 81)],
    ]


def test_hyperband_measures_in_units_of_the_minimum() -> None:
    # R = 27 in units of 3: s_max = floor(log_3 9) = 2, levels 3, 9, 27.
    assert [table(plan) for plan in hyperband_round(3, 27, 3)] == [
        [(9, 3), (3, 9), (1, 27)],
        [(5, 9), (1, 27)],
        [(3, 27)],
    ]


def test_hyperband_takes_a_maximum_that_is_no_power_of_eta() -> None:
    # R = 100, eta = 4: s_max = floor(log_4 100) = 3, lowest level 100/64 = 1.5625.
    first = hyperband_round(1, 100, 4)[0]
    assert first.levels == (1.5625, 6.25, 25.0, 100.0)
    assert first.sizes() == (64, 16, 4, 1)


def test_successive_halving_as_jamieson_and_talwalkar_write_it() -> None:
    # 27 configurations, R = 9, eta = 3: 27 at 1, 9 at 3, 3 at 9. With keep = 5, at least five reach the top.
    plan = halving(SuccessiveHalvingSpec(trials=27, max_resource=9))
    assert table(plan) == [(27, 1), (9, 3), (3, 9)]
    # 27·1 + 9·2 + 3·6: each rung goes on from the one below.
    assert plan.cost() == 63
    assert table(halving(SuccessiveHalvingSpec(trials=27, max_resource=9, keep=5))) == [(27, 1), (9, 3), (5, 9)]
    assert table(halving(SuccessiveHalvingSpec(trials=2, max_resource=9))) == [(2, 1), (1, 3), (1, 9)]


@pytest.mark.parametrize(
    ("low", "high", "eta", "count"), [(1, 243, 3, 6), (1, 242, 3, 5), (1, 1, 3, 1), (0.1, 0.9, 3, 3), (1, 1000, 10, 4)]
)
def test_rungs_are_counted_without_rounding_errors(low: float, high: float, eta: int, count: int) -> None:
    assert rung_count(low, high, eta) == count


@given(st.integers(1, 9), st.integers(2, 10), st.floats(0.01, 100))
def test_levels_go_up_to_the_maximum(power: int, eta: int, low: float) -> None:
    levels = levels_up(low, low * eta**power, eta)
    assert len(levels) == power + 1
    assert levels[0] == pytest.approx(low)
    assert levels[-1] == pytest.approx(low * eta**power)
    assert list(levels) == sorted(set(levels))


@given(st.integers(1, 400), st.integers(2, 5), st.integers(1, 4), st.integers(1, 6), st.floats(0, 5000))
def test_a_cut_bracket_is_the_largest_that_fits(trials: int, eta: int, rungs: int, keep: int, room: float) -> None:
    levels = tuple(float(eta**i) for i in range(rungs))
    plan = BracketPlan(label="b", levels=levels, trials=trials, eta=eta, keep=keep)
    fit = plan.entrants_for(room)
    assert 0 <= fit <= trials
    assert plan.cost(fit) <= room * (1 + 1e-9)
    assert fit == trials or plan.cost(fit + 1) > room
    sizes = plan.sizes(fit)
    assert list(sizes) == sorted(sizes, reverse=True)


def test_hyperband_repeats_its_brackets_and_halving_does_not() -> None:
    brackets = hyperband_round(1, 9, 3)
    forever = HyperbandTable(brackets)
    assert [forever.plan(i, entered=0) for i in range(6)] == [*brackets, *brackets]
    once = HalvingTable(halving(SuccessiveHalvingSpec(trials=27, max_resource=9, keep=4)))
    assert once.plan(1, entered=27) is None
    rest = once.plan(1, entered=25)
    assert rest is not None
    assert table(rest) == [(2, 1), (2, 3), (2, 9)]


def test_whole_levels_stay_whole() -> None:
    assert exact(27 / 3**3) == 1.0
    assert exact(2.9999999999999996) == 3.0
    assert exact(1.5) == 1.5


def test_judgements_end_at_the_maximum() -> None:
    assert judgements(MedianSpec(max_resource=5, grace_resource=2, interval=1)) == (2, 3, 4, 5)
    assert judgements(MedianSpec(max_resource=5, grace_resource=1, interval=3)) == (1, 4, 5)
    assert judgements(MedianSpec(max_resource=1)) == (1,)
