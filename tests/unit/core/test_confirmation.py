"""What new seeds say about a winner: golden values, properties, and how often it is wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hpo_service.core import confirmation
from hpo_service.core.confirmation import Tried, Verdict, against, spread, verdict

VALUES = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=3, max_size=8)
A = (0.961, 0.958, 0.964, 0.960, 0.957)
B = (0.951, 0.948, 0.955, 0.950, 0.949)


def _verdict(winner: Sequence[float], *others: Sequence[float], maximize: bool = True) -> Verdict:
    tried = [Tried(trial=10 + i, values=tuple(v)) for i, v in enumerate((winner, *others))]
    return verdict(tried[0], tried[1:], metric="val_accuracy", maximize=maximize)


def test_a_spread_is_the_textbooks() -> None:
    found = spread(A)
    assert found is not None
    low, high = stats.t.interval(0.95, 4, loc=np.mean(A), scale=stats.sem(A))
    assert [found.n, found.mean, found.sd] == pytest.approx([5, 0.96, np.std(A, ddof=1)])
    assert [found.low, found.high] == pytest.approx([low, high])
    assert spread(()) is None
    one = spread((0.5,))
    assert one is not None
    assert (one.sd, one.low) == (None, None)


@given(a=VALUES, b=VALUES)
def test_p_is_welchs(a: list[float], b: list[float]) -> None:
    found = against(1, a, b, maximize=True)
    assert found.p is not None
    if min(np.ptp(a), np.ptp(b)) > 1e-5 * max(1.0, *map(abs, a), *map(abs, b)):  # scipy warns of less
        expected = stats.ttest_ind(a, b, equal_var=False)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-5, abs=1e-12)
        interval = expected.confidence_interval(0.95)
        assert found.low == pytest.approx(interval.low, rel=1e-5, abs=1e-6 * (1 + abs(interval.low)))


@given(a=VALUES, b=VALUES, scale=st.sampled_from([1e-3, 1.0, 1e3]))
def test_turning_the_metric_around_turns_the_verdict(a: list[float], b: list[float], scale: float) -> None:
    one = _verdict(a, b)
    other = _verdict([-v * scale for v in a], [-v * scale for v in b], maximize=False)
    assert one.kind == other.kind
    assert one.words == other.words
    assert one.better == other.better


@given(others=st.lists(VALUES, min_size=1, max_size=4), winner=VALUES)
def test_what_a_verdict_holds(winner: list[float], others: list[list[float]]) -> None:
    found = _verdict(winner, *others)
    named = set(found.better) | set(found.within)
    assert named <= {one.trial for one in found.against}
    assert (found.kind == "luck") == bool(found.better)
    assert (found.kind == "real") == (not named)
    assert all(one.corrected is not None and one.p is not None and one.corrected >= one.p for one in found.against)
    assert found.words.endswith(".")


def test_a_real_winner() -> None:
    found = _verdict(A, B, [v - 0.02 for v in B])
    assert found.kind == "real"
    assert found.words == "The winner is real: trial 10 is better than trials 11 and 12 (p < 0.001)."
    welch = stats.ttest_ind(A, B, equal_var=False).pvalue
    assert found.against[0].corrected == pytest.approx(welch)  # the larger of two p is Holm's last
    assert found.cheapest is None


def test_a_winner_by_luck() -> None:
    found = _verdict(B, A, B[::-1])
    assert found.kind == "luck"
    assert found.better == (11,)
    assert found.words == "The winner, trial 10, was luck: trial 11 is better (p = 0.0012)."
    assert _verdict(B, A, maximize=False).kind == "real"


def test_within_noise_choose_by_cost() -> None:
    tried = [
        Tried(trial=4, values=A, cost=900.0),
        Tried(trial=3, values=(0.962, 0.957, 0.963, 0.959, 0.958), cost=100.0),
        Tried(trial=8, values=(0.962, 0.966, 0.958, 0.961, 0.959), cost=300.0),
        Tried(trial=9, values=tuple(v - 0.1 for v in A), cost=1.0),
    ]
    found = verdict(tried[0], tried[1:], metric="val_accuracy", maximize=True)
    assert found.words == (
        "The winner, trial 4, is within noise of trials 3 and 8: choose by cost; better than trial 9 (p < 0.001)."
    )
    assert (found.within, found.cheapest) == ((3, 8), 3)
    assert found.notes == ("Trial 8 averages better than the winner; that could be luck.",)


@pytest.mark.parametrize("unit", [1e-200, 1.0, 1e200])
def test_numbers_of_any_size_are_compared(unit: float) -> None:
    found = _verdict([unit * v for v in (5.0, 5.1, 4.9, 5.2)], [unit * v for v in (1.0, 1.1, 0.9, 1.2)])
    assert found.kind == "real"
    assert found.against[0].p == pytest.approx(9.46e-9, rel=1e-3)
    assert found.detectable == pytest.approx(0.31 * unit, rel=0.2)


@pytest.mark.parametrize(("seeds", "words"), [(1, "One seed tells nothing"), (2, "2 seeds tell nothing")])
def test_too_few_seeds_tell_nothing_however_far_apart(seeds: int, words: str) -> None:
    found = _verdict(A[:seeds], [0.1] * seeds)
    assert found.kind == "untold"
    assert found.words.startswith(words)
    assert all(one.p is None for one in found.against)


def test_without_a_value_or_without_others() -> None:
    nothing = verdict(Tried(trial=2, values=(), open=5), [Tried(trial=3, values=A)], metric="m", maximize=True)
    assert (nothing.kind, nothing.going) == ("open", True)
    assert _verdict(A).kind == "alone"


def test_an_unfinished_one_says_so_far() -> None:
    found = verdict(
        Tried(trial=1, values=A[:4], open=1), [Tried(trial=2, values=B)], metric="val_accuracy", maximize=True
    )
    assert found.words.startswith("So far: The winner is real")
    assert "With fewer than five seeds" in found.notes[0]


def test_failed_seeds_are_named() -> None:
    found = verdict(Tried(trial=1, values=A[:3], failed=2), [Tried(trial=2, values=B)], metric="m", maximize=True)
    assert found.notes[0] == "Trial 1 failed with 2 of 5 seeds; its mean is of those that did not."


def test_seeds_that_change_nothing() -> None:
    found = _verdict([0.9] * 5, [0.8] * 5, [0.9] * 5)
    assert found.against[0].corrected == pytest.approx(2 * 2 / math.comb(10, 5))  # exact, and Holm's
    assert found.against[1].p == 1.0
    assert "No seed changed val_accuracy" in found.notes[0]
    assert [found.against[0].low, found.against[0].high] == pytest.approx([0.1, 0.1])


def test_among_equals_a_winner_is_rarely_called_real_or_luck() -> None:
    rng = np.random.default_rng(1)
    wrong = sum(bool(len(_verdict(*rng.normal(size=(5, 5)).tolist()).within) < 4) for _ in range(500))
    assert 0.01 < wrong / 500 < 0.07  # five per cent of families at most, and not far below


def test_a_detectable_difference_is_found_about_four_times_in_five() -> None:
    rng = np.random.default_rng(2)
    found, sizes = 0, []
    for _ in range(400):
        detectable = _verdict(rng.normal(size=5).tolist(), rng.normal(size=5).tolist()).detectable
        assert detectable is not None
        sizes.append(detectable)
    apart = math.sqrt(float(np.mean(np.square(sizes))))
    for _ in range(400):
        found += _verdict((rng.normal(size=5) + apart).tolist(), rng.normal(size=5).tolist()).kind == "real"
    assert 0.75 < found / 400 < 0.9


@given(seeds=st.integers(1, 6), count=st.integers(1, 6), stop=st.integers(0, 36))
def test_every_stretch_tries_all_about_equally(seeds: int, count: int, stop: int) -> None:
    order = confirmation.pairs(seeds, count)
    assert len(set(order)) == seeds * count
    times = [sum(place == i for _, place in order[:stop]) for i in range(count)]
    assert max(times) - min(times) <= 1
