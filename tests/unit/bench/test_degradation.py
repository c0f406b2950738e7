"""What a variant costs each method, by examples that can be reckoned by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hpo_service.bench.degradation import degradations, told
from hpo_service.bench.runs import Decisions, Run, Scale


def run(method: str, variant: str, regret: float, *, seed: int = 0, problem: str = "p", workers: int = 1) -> Run:
    """One that is there from the first reading on, so that all readings are its regret."""
    return Run(
        method=method,
        collection="c",
        problem=problem,
        variant=variant,
        seed=seed,
        workers=workers,
        budget=2.0,
        scale=Scale(best=0.0, median=1.0, maximize=False),
        trace=((0.5, regret),),
        decisions=Decisions(),
    )


def test_what_a_variant_costs_is_told_for_each_method() -> None:
    runs = [run("a", "", 0.2), run("a", "noisy", 0.5), run("b", "", 0.4), run("b", "noisy", 0.45)]
    (found,) = degradations(runs, reference="a")
    assert told(found) == "c, noisy, 1 worker: mean regret changes by +0.050 (b), +0.300 (a)"
    assert [round(one.mean, 3) for one in found.costs[1].added] == [0.3, 0.3, 0.3]


def test_only_runs_of_the_same_task_and_seed_are_compared() -> None:
    """Seed 1 was run on the problem alone: it must not look like a gain."""
    runs = [run("a", "", 0.2), run("a", "", 0.8, seed=1), run("a", "noisy", 0.3)]
    (found,) = degradations(runs, reference="a")
    assert found.costs[0].added[-1].mean == pytest.approx(0.1)
    assert found.costs[0].seeds == 1


def test_the_standard_error_is_that_of_the_changes() -> None:
    """The seeds differ much, the changes little: .1 and .3 on one task, so a mean of .2 and an error of .1."""
    runs = [run("a", "", 0.1), run("a", "", 0.6, seed=1), run("a", "noisy", 0.2), run("a", "noisy", 0.9, seed=1)]
    (found,) = degradations(runs, reference="a")
    assert (found.costs[0].added[-1].mean, found.costs[0].added[-1].se) == (pytest.approx(0.2), pytest.approx(0.1))
    assert told(found).endswith("+0.200 ± 0.100 (a)")


def test_a_cost_beyond_the_references_is_marked() -> None:
    runs = []
    for seed in range(12):
        base = 0.3 + seed / 100
        runs += [run(method, "", base, seed=seed) for method in ("auto", "worse", "better", "level")]
        runs += [
            run("auto", "failing", base + 0.1, seed=seed),
            run("worse", "failing", base + 0.2 + seed / 1000, seed=seed),
            run("better", "failing", base + 0.02 - seed / 1000, seed=seed),
            run("level", "failing", base + 0.1 + (seed % 2 - 0.5) / 100, seed=seed),
        ]
    (found,) = degradations(runs, reference="auto")
    assert told(found).split("; ")[1:] == [
        "significantly more than auto's: worse",
        "significantly less than auto's: better",
    ]


def test_variants_workers_and_collections_are_kept_apart() -> None:
    runs = [run("a", "", 0.2), run("a", "noisy", 0.5), run("a", "failing", 0.3), run("a", "noisy", 0.9, workers=4)]
    runs += [replace(one, collection="d") for one in runs[:2]]
    found = [(one.collection, one.variant, one.workers) for one in degradations(runs, reference="a")]
    assert found == [("c", "failing", 1), ("c", "noisy", 1), ("d", "noisy", 1)]


def test_without_the_reference_costs_are_told_and_nothing_is_compared() -> None:
    (found,) = degradations([run("a", "", 0.2), run("a", "noisy", 0.5)], reference="auto")
    assert found.reference is None
    assert found.costs[0].against == (None, None, None)


def test_the_same_cost_for_all_is_no_difference() -> None:
    """Added to whatever a run had, .05 is not the same number any more in its last digits."""
    runs = []
    for seed in range(12):
        for method, base in (("auto", 0.3), ("also", 0.123), ("same", 0.7)):
            plain = base + seed / 97
            runs += [run(method, "", plain, seed=seed), run(method, "noisy", plain + 0.05, seed=seed)]
    (found,) = degradations(runs, reference="auto")
    assert "significantly" not in told(found)


def test_a_method_that_lacks_tasks_is_last_and_says_so() -> None:
    runs = [run("b", "", 0.4), run("b", "noisy", 0.45)]
    for problem, cost in (("p", 0.0), ("q", 0.4)):
        runs += [run("a", "", 0.2, problem=problem), run("a", "noisy", 0.2 + cost, problem=problem)]
    (found,) = degradations(runs, reference="a")
    assert told(found) == "c, noisy, 1 worker: mean regret changes by +0.200 (a), +0.050 (b, 1 of 2 tasks)"
