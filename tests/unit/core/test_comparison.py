"""Whether differences could be luck: closed forms against simulation, exact tests against enumeration, coverage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hpo_service.core import comparison
from hpo_service.core.comparison import compare_finals, compare_groups, final, groups, holm, smallest_p

VALUES = st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=12).map(np.array)
FEW = st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=5).map(np.array)


def test_no_value_no_final() -> None:
    assert final(np.array([]), maximize=True) is None
    assert compare_finals(np.array([]), np.array([1.0]), maximize=True) is None


def test_few_trials_have_no_interval() -> None:
    found = final(np.array([1.0, 3.0, 2.0]), maximize=True)
    assert found == comparison.Final(3.0, None, None, 3)


@pytest.mark.parametrize("n", [4, 7, 30, 200])
def test_the_closed_form_is_the_bootstrap(n: int) -> None:
    rng = np.random.default_rng(n)
    values = rng.normal(size=n)
    resampled = values[rng.integers(0, n, size=(40_000, n))].min(axis=1)
    found = final(values, maximize=False)
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.value == found.low == values.min()
    ordered = np.sort(values)
    near = np.searchsorted(ordered, np.quantile(resampled, [0.965, 0.985]))
    assert near[0] <= np.searchsorted(ordered, found.high) <= near[1]


@given(VALUES, st.booleans())
def test_a_final_lies_in_its_interval(values: np.ndarray, maximize: bool) -> None:
    found = final(values, maximize=maximize)
    assert found is not None
    assert found.value == (values.max() if maximize else values.min())
    if found.low is not None and found.high is not None:
        assert values.min() <= found.low <= found.value <= found.high <= values.max()
    mirrored = final(-values, maximize=not maximize)
    assert mirrored is not None
    assert mirrored.value == -found.value


@settings(deadline=None, max_examples=8)
@given(n=st.sampled_from([10, 40, 150]), shape=st.sampled_from(["normal", "uniform", "exponential"]))
def test_another_study_comes_at_least_to_the_near_end(n: int, shape: str) -> None:
    """The coverage of the interval's near end: by theory between 94 % and 98 %, whatever the distribution."""
    rng = np.random.default_rng(n)
    first, second = (getattr(rng, shape)(size=(1000, n)) for _ in range(2))
    lows = [final(values, maximize=True).low for values in first]  # type: ignore[union-attr]  # n is large enough
    covered = np.mean(second.max(axis=1) >= np.array(lows))
    assert 0.92 <= covered <= 0.99


@given(VALUES, VALUES, st.booleans())
def test_a_comparison_does_not_depend_on_the_order(a: np.ndarray, b: np.ndarray, maximize: bool) -> None:
    one, two = compare_finals(a, b, maximize=maximize), compare_finals(b, a, maximize=maximize)
    assert one is not None
    assert two is not None
    assert one.p is not None
    assert one.p == pytest.approx(two.p)
    assert 0 < one.p <= 1
    assert one.difference == -two.difference
    assert (one.low is None) == (min(a.size, b.size) < comparison.FEWEST)
    if one.low is not None and one.high is not None:
        assert one.low <= one.high
    if one.difference == 0:
        assert one.p == 1


@settings(deadline=None)
@given(FEW, FEW, st.booleans())
def test_the_chance_is_that_of_all_ways_to_share_the_trials_out(a: np.ndarray, b: np.ndarray, maximize: bool) -> None:
    found = compare_finals(a, b, maximize=maximize)
    assert found is not None
    pooled = np.concatenate([a, b])
    best = np.max if maximize else np.min
    seen, counted = abs(best(a) - best(b)), []
    for chosen in itertools.combinations(range(pooled.size), a.size):
        rest = [i for i in range(pooled.size) if i not in chosen]
        counted.append(abs(best(pooled[list(chosen)]) - best(pooled[rest])) >= seen)
    assert found.p == pytest.approx(np.mean(counted))


def test_equal_searches_seldom_look_different_and_unequal_ones_do() -> None:
    rng = np.random.default_rng(3)
    same = [compare_finals(*rng.normal(size=(2, 30)), maximize=True) for _ in range(400)]
    assert np.mean([t.p < 0.05 for t in same if t is not None and t.p is not None]) <= 0.07
    shifted = [compare_finals(rng.normal(3, 1, 30), rng.normal(0, 1, 30), maximize=True) for _ in range(100)]
    assert np.mean([t.p < 0.05 for t in shifted if t is not None and t.p is not None]) > 0.9


def test_groups_by_permutation_and_welch() -> None:
    a, b = np.array([0.91, 0.92, 0.93, 0.92]), np.array([0.88, 0.89, 0.90, 0.87])
    found = compare_groups(a, b)
    expected = stats.permutation_test((a, b), lambda x, y: x.mean() - y.mean(), n_resamples=np.inf)
    assert found.p == pytest.approx(expected.pvalue) == pytest.approx(2 / 70)
    welch = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((welch.low, welch.high), rel=1e-4)


@settings(deadline=None)
@given(FEW.filter(lambda v: v.size > 1), FEW.filter(lambda v: v.size > 1))
def test_groups_are_compared_the_same_both_ways(a: np.ndarray, b: np.ndarray) -> None:
    one, two = compare_groups(a, b), compare_groups(b, a)
    assert one.p is not None
    assert one.p == pytest.approx(two.p)
    assert smallest_p(a.size, b.size) - 1e-12 <= one.p <= 1
    assert one.low is not None
    assert one.high is not None
    assert one.low <= one.difference <= one.high
    assert one.difference == pytest.approx(-two.difference)


def test_few_replicates_cannot_show_much() -> None:
    assert smallest_p(3, 3) == pytest.approx(0.1)
    assert smallest_p(4, 4) == pytest.approx(2 / 70)
    assert smallest_p(3, 4) == pytest.approx(1 / 35)


@given(st.lists(st.none() | st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p(ps: list[float | None]) -> None:
    found = holm(ps)
    known = [(p, q) for p, q in zip(ps, found, strict=True) if p is not None and q is not None]
    assert len(known) == sum(p is not None for p in ps)
    assert all(p <= q <= 1 for p, q in known)
    assert [q for _, q in sorted(known)] == sorted(q for _, q in known)
    if known:
        assert min(q for _, q in known) == pytest.approx(min(1.0, min(p for p, _ in known) * len(known)))


def test_replicates_are_those_that_differ_in_nothing_that_counts() -> None:
    base = {"name": "a", "seed": 1, "space": {"lr": 1}, "tags": ["x"]}
    found = groups([base, {**base, "seed": 2, "name": "b"}, {**base, "space": {"lr": 2}}, {**base, "notes": "n"}])
    assert found == [[0, 1, 3], [2]]


@pytest.mark.parametrize("scale", [1e-300, 1e-100, 1e100, 1e300])
def test_groups_are_compared_whatever_the_unit(scale: float) -> None:
    """Losses of replicates that diverged are huge; their squares leave the range of a float."""
    a, b = np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 5.0])
    plain, scaled = compare_groups(a, b), compare_groups(a * scale, b * scale)
    assert scaled.p == plain.p
    for name in ("difference", "low", "high"):
        assert getattr(scaled, name) == pytest.approx(getattr(plain, name) * scale, rel=1e-9)


def test_finals_at_the_end_of_the_range_have_no_interval() -> None:
    a, b = np.array([1e308, -1e308, 0.0]), np.array([1.0, 2.0, 3.0])
    with np.errstate(over="ignore", invalid="ignore"):
        assert compare_groups(a, b).high == float("inf")
