"""Statistics of runs against examples by hand and a published one."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.bench.runs import Decisions, Run, Scale
from hpo_service.bench.statistics import (
    Against,
    estimate,
    friedman,
    groups,
    holm,
    progress,
    readings,
    signed_rank,
)

SCALE = Scale(best=0.0, median=1.0, maximize=False)


def run(method: str, problem: str, seed: int, *trace: tuple[float, float], **changes: object) -> Run:
    given: dict[str, object] = {
        "method": method,
        "collection": "made",
        "problem": problem,
        "seed": seed,
        "workers": 1,
        "budget": 2.0,
        "scale": SCALE,
        "trace": trace,
    }
    return Run(**given | changes)  # type: ignore[arg-type]


def columns(found: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, np.ndarray]]:
    return {task: {seed: np.array([value]) for seed, value in seeds.items()} for task, seeds in found.items()}


DEMSAR = """
    0.763 0.768 0.771 0.798    0.599 0.591 0.590 0.569    0.954 0.971 0.968 0.967    0.628 0.661 0.654 0.657
    0.882 0.888 0.886 0.898    0.936 0.931 0.916 0.931    0.661 0.668 0.609 0.685    0.583 0.583 0.563 0.625
    0.775 0.838 0.866 0.875    1.000 1.000 1.000 1.000    0.940 0.962 0.965 0.962    0.619 0.666 0.614 0.669
    0.972 0.981 0.9751 0.975   0.957 0.978 0.946 0.970
"""
"""Table 6 of Demšar 2006: AUC of four variants of C4.5 on 14 data sets. The paper ranks the last but one's third before
its fourth, both printed as 0.975: a digit more says so here."""


def test_demsars_example() -> None:
    rows = np.array(DEMSAR.split(), dtype=float).reshape(14, 4)
    names = ("C4.5", "C4.5+m", "C4.5+cf", "C4.5+m+cf")
    found = friedman({name: list(-rows[:, i]) for i, name in enumerate(names)})
    assert {name: round(rank, 3) for name, rank in found.rank.items()} == {
        "C4.5": 3.143, "C4.5+m": 2.000, "C4.5+cf": 2.893, "C4.5+m+cf": 1.964,
    }  # fmt: skip
    assert round(found.chi2, 2) == 9.28
    assert round(found.f, 2) == 3.69
    assert found.p < 0.05  # F(3, 39) = 2.85 at 0.05
    assert found.difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    assert round(found.difference, 2) == 1.25
    assert found.cliques == (("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5"),)


def test_cliques_are_the_largest_sets_within_the_critical_difference() -> None:
    # On 40 tasks always a before b, c and d equal: ranks 1, 2, 3.5, 3.5; critical difference 0.74.
    found = friedman({"d": [4.0] * 40, "a": [1.0] * 40, "c": [4.0] * 40, "b": [2.0] * 40})
    assert dict(found.rank) == {"a": 1.0, "b": 2.0, "d": 3.5, "c": 3.5}
    assert found.cliques == (("d", "c"),)
    # All in the same order: χ² = N (k − 1) but for the tie, F far out.
    assert found.p < 1e-6


@pytest.mark.parametrize(
    ("methods", "tasks", "p"),
    [(2, 2, 1 / 2), (2, 3, 1 / 4), (2, 4, 1 / 8), (3, 2, 1 / 6), (3, 3, 1 / 36), (4, 2, 1 / 24)],
)
def test_few_tasks_that_agree_completely_say_as_much_as_by_chance(methods: int, tasks: int, p: float) -> None:
    found = friedman({f"m{i}": [float(i)] * tasks for i in range(methods)})
    assert found.chi2 == pytest.approx(tasks * (methods - 1))
    assert (found.f, found.permuted) == (None, True)
    assert found.p == pytest.approx(p)  # all orders of the first task, for each one order of the others
    if p >= 0.05:
        assert found.cliques == (tuple(f"m{i}" for i in range(methods)),)


def test_ties_are_permuted_as_they_are() -> None:
    # Ranks 1.5, 1.5, 3 twice: the third is last in both in one of three cases.
    assert friedman({"a": [1.0, 1.0], "b": [1.0, 1.0], "c": [2.0, 2.0]}).p == pytest.approx(1 / 3)
    assert friedman({"a": [1.0, 1.0], "b": [1.0, 1.0]}).p == 1.0


def test_of_many_tasks_p_is_that_of_f_but_never_below_what_chance_gives() -> None:
    from scipy.stats import f

    losses = np.random.default_rng(3).normal(size=(20, 12)) + np.linspace(0.0, 0.9, 20)[:, None]
    found = friedman({f"m{i}": list(row) for i, row in enumerate(losses)})
    assert not found.permuted
    assert found.f is not None
    assert found.p == pytest.approx(float(f.sf(found.f, 19, 19 * 11)))
    agreeing = friedman({f"m{i}": [float(i)] * 12 for i in range(20)})
    assert agreeing.f is None
    assert 0.0 < agreeing.p == pytest.approx(math.exp(-11 * math.lgamma(21)))


def test_the_standard_error_of_complete_runs_is_that_of_the_seeds_means() -> None:
    found = estimate(columns({"a": {0: 0.2, 1: 0.4, 2: 0.6}, "b": {0: 0.5, 1: 0.5, 2: 0.2}}))[0]
    means = np.array([0.35, 0.45, 0.4])
    assert found.mean == pytest.approx(0.4)
    assert found.se == pytest.approx(means.std(ddof=1) / math.sqrt(3))


def test_tasks_count_alike_however_many_seeds_they_have() -> None:
    found = estimate(columns({"a": {0: 0.0, 1: 0.2}, "b": {0: 0.9, 1: 1.0, 2: 1.0, 3: 1.0}}))[0]
    assert found.mean == pytest.approx((0.1 + 0.975) / 2)
    # Deviations / (seeds × tasks): a ∓0.1 / 4, b −0.075 and 0.025 / 8; summed by seed, squared, times 4 / 3.
    by_seed = [-0.025 - 0.009375, 0.025 + 0.003125, 0.003125, 0.003125]
    assert found.se == pytest.approx(math.sqrt(4 / 3 * sum(one**2 for one in by_seed)))


def test_a_single_seed_has_no_standard_error() -> None:
    assert estimate(columns({"a": {0: 0.2}, "b": {0: 0.4}}))[0].se is None


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_never_helps(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(before <= after <= 1 for before, after in zip(p, adjusted, strict=True))
    by_p = [adjusted[i] for i in sorted(range(len(p)), key=lambda i: p[i])]
    assert by_p == sorted(by_p)


def test_signed_rank() -> None:
    # Five differences of one sign: 2 of the 32 equally likely signs are as extreme.
    assert signed_rank([0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx(2 / 32)
    assert signed_rank([0.0, 0.0]) == 1.0
    assert signed_rank([]) == 1.0


def test_readings_double_up_to_the_budget() -> None:
    assert readings(32) == (1, 2, 4, 8, 16, 32)
    assert readings(4) == (1, 2, 4)
    assert readings(10) == (1, 2, 4, 8)
    assert readings(0.5) == (0.5,)


def made() -> list[Run]:
    """On two tasks with seven seeds: `good` finds 0.1 at once, `auto` 0.5 at once and 0.3 after 2 FTE; `half` ran on
    the first task alone."""
    found = []
    for task in ("a", "b"):
        for seed in range(7):
            worse = 0.001 * seed
            found.append(run("good", task, seed, (0.5, 0.1 + worse), decisions=Decisions(4, 2.0, 5.0)))
            found.append(run("auto", task, seed, (0.5, 0.5 + worse), (2.0, 0.3 - worse)))
            if task == "a":
                found.append(run("half", task, seed, (1.5, 0.9)))
    return found


def test_a_group_reads_regret_ranks_and_what_is_better_than_the_reference() -> None:
    (group,) = groups(made())
    assert (group.title, group.columns, group.reference) == ("made, one worker, 2 FTE", ("1", "2", "mean"), "auto")
    assert [row.method for row in group.rows] == ["good", "auto", "half"]  # what lacks tasks comes last
    assert group.complete == ("good", "auto")
    good, auto, half = group.rows
    assert [one.mean for one in auto.regret] == pytest.approx([0.503, 0.297, 0.4])
    assert [one.mean for one in half.regret] == pytest.approx([1.0, 0.9, 0.95])
    assert good.per_task["b"][0].mean == pytest.approx(0.103)
    assert (good.decision_mean_ms, good.decision_worst_ms) == (2.0, 5.0)
    assert auto.against == (None, None, None)
    first = good.against[0]
    assert first is not None
    assert (first.pairs, round(first.difference, 6), first.better, first.worse) == (14, -0.4, True, False)
    worse = half.against[1]
    assert worse is not None
    assert (worse.pairs, worse.worse) == (7, True)
    last = group.friedman[-1]
    assert last is not None
    assert dict(last.rank) == {"good": 1.0, "auto": 2.0}
    assert group.least == pytest.approx((0.103, 0.103, 0.103))


def test_groups_are_kept_apart() -> None:
    runs = [
        run("auto", "a", 0, (1.0, 0.5)),
        run("auto", "a", 0, (1.0, 0.5), workers=4),
        run("auto", "a", 0, (1.0, 0.5), variant="noisy"),
        run("auto", "a", 0, (1.0, 0.5), collection="other"),
    ]
    assert [group.title for group in groups(runs)] == [
        "made, one worker, 2 FTE",
        "made, 4 workers, 2 FTE each",
        "made (noisy), one worker, 2 FTE",
        "other, one worker, 2 FTE",
    ]


def test_without_the_reference_nothing_is_compared_with_it() -> None:
    (group,) = groups([one for one in made() if one.method != "auto"])
    assert group.reference is None
    assert all(against is None for row in group.rows for against in row.against)


def test_progress_follows_the_traces() -> None:
    runs = made()
    (group,) = groups(runs)
    found = progress(runs, group, (0.25, 1.0, 2.0))
    assert [one.mean for one in found["auto"]] == pytest.approx([1.0, 0.503, 0.297])
    assert list(found) == ["good", "auto", "half"]


def test_a_difference_counts_by_its_sign() -> None:
    assert Against(10, -0.1, 0.01).better
    assert Against(10, 0.1, 0.01).worse
    assert not Against(10, -0.1, 0.2).better
