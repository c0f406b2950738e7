"""Whether the rule for what TPE is fed costs quality: the same searches go on under the rule, and fed everything.

The rule: of more than 2,000 results the best 25 and an even spread of all others. Up to there both are the same
search, so each is run once, folded again and gone on with twice. Synthetic functions with a known optimum, no noise,
one trial at a time. A second table has the rule at an eighth of that number, where it leaves out far more.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import optuna

from benchmarks.fold import Past, definition
from benchmarks.harness import Figure, Options, Outcome, Table
from hpo_service.samplers import surrogate

EVERYTHING = 10**9
Params = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """A function to minimise; its least value is 0."""

    name: str
    space: dict[str, Any]
    value: Callable[[Params], float]


@dataclass(frozen=True)
class Plan:
    """How many searches of how many trials; `limit` is the rule's."""

    limit: int
    trials: int
    seeds: int


@dataclass(frozen=True)
class Search:
    """One search gone on with in two ways: the best value where they part, then what came of `ruled` and `full`."""

    parted: float
    ruled: float
    full: float
    ruled_typical: float
    full_typical: float
    ruled_ms: float
    full_ms: float


def run(options: Options) -> Outcome:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    plans = [Plan(300, 450, 1)] if options.quick else [Plan(2000, 3000, 2), Plan(250, 1250, 3)]
    problems = PROBLEMS[::3] if options.quick else PROBLEMS
    tables, figures = [], []
    for plan in plans:
        found = [(problem, [_search(problem, plan, seed) for seed in range(plan.seeds)]) for problem in problems]
        tables.append(_table(found, plan))
        every = [search for _, searches in found for search in searches]
        figures += _figures(every, plan)
    return Outcome(tables=tables, figures=figures, notes=NOTES)


def _search(problem: Problem, plan: Plan, seed: int) -> Search:
    document = definition({"name": "bayesian", "max_resource": 1}, space=problem.space, seed=seed, parallel=1)
    with _fed_at_most(plan.limit):
        begun = Past.begun(document, problem.value)
        while len(begun.trials) < plan.limit:
            begun.propose_one()
    parted = min(value for _, value in begun.trials)
    ends = []
    for limit in (plan.limit, EVERYTHING):
        with _fed_at_most(limit):
            past = begun.folded_again(document)
            began = time.process_time()
            while len(past.trials) < plan.trials:
                past.propose_one()
            ms = 1e3 * (time.process_time() - began) / (plan.trials - plan.limit)
        values = [value for _, value in past.trials]
        ends.append((min(values), statistics.median(values[plan.limit :]), ms))
    (ruled, ruled_typical, ruled_ms), (full, full_typical, full_ms) = ends
    return Search(parted, ruled, full, ruled_typical, full_typical, ruled_ms, full_ms)


def _fed_at_most(limit: int) -> AbstractContextManager[Any]:
    return mock.patch.dict(surrogate.FED, tpe=replace(surrogate.FED["tpe"], limit=limit))


def _table(found: Sequence[tuple[Problem, Sequence[Search]]], plan: Plan) -> Table:
    def row(problem: Problem, searches: Sequence[Search]) -> tuple[Any, ...]:
        def mean(pick: Callable[[Search], float]) -> float:
            return _geometric([pick(search) for search in searches])

        return (
            problem.name, len(searches), mean(lambda s: s.parted), mean(lambda s: s.ruled), mean(lambda s: s.full),
            mean(lambda s: s.ruled_typical), mean(lambda s: s.full_typical),
            statistics.fmean(s.ruled_ms for s in searches), statistics.fmean(s.full_ms for s in searches),
        )  # fmt: skip

    headings = (
        f"function, {plan.trials:,} trials", "searches", f"regret after {plan.limit:,}", "by the rule", "fed all",
        "typical later trial, rule", "fed all ", "CPU ms a trial, rule", "fed all  ",
    )  # fmt: skip
    return Table(headings=headings, rows=[row(problem, searches) for problem, searches in found])


def _figures(searches: Sequence[Search], plan: Plan) -> list[Figure]:
    regret = [search.ruled / search.full for search in searches]
    typical = [search.ruled_typical / search.full_typical for search in searches]
    name = f"fed at most {plan.limit:,}, rule ÷ fed all"
    below = 1.1 if plan.limit >= surrogate.FED["tpe"].limit else None
    return [
        Figure(name=f"{name}: regret after {plan.trials:,} trials", value=_geometric(regret), unit="×", below=below),
        Figure(name=f"{name}: a typical later trial's distance", value=_geometric(typical), unit="×", below=below),
        Figure(name=f"{name}: searches no worse", value=sum(r <= 1 for r in regret), unit=f"of {len(regret)}"),
    ]


def _geometric(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(math.log(max(value, 1e-12)) for value in values))


def _hartmann(p: Params) -> float:
    """Hartmann 6 (Dixon & Szegö 1978), shifted to 0."""
    x = [p[f"x{i}"] for i in range(6)]
    terms = (
        a * math.exp(-sum(s * (xi - c) ** 2 for s, xi, c in zip(slopes, x, centers, strict=True)))
        for a, slopes, centers in HARTMANN
    )
    return 3.32236801141551 - sum(terms)


def _ackley(p: Params) -> float:
    """Ackley in 8 dimensions."""
    x = list(p.values())
    spread = math.sqrt(sum(v * v for v in x) / len(x))
    waves = sum(math.cos(2 * math.pi * v) for v in x) / len(x)
    return 20 - 20 * math.exp(-0.2 * spread) + math.e - math.exp(waves)


def _rosenbrock(p: Params) -> float:
    """Rosenbrock in 4 dimensions: a bent valley."""
    x = [p[f"x{i}"] for i in range(4)]
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(x))


def _tree(p: Params) -> float:
    """A choice between three functions of different parameters, and one of a kind and a depth that all have."""
    common = 0.05 * abs(p["depth"] - 7) + {"a": 0.3, "b": 0.0, "c": 0.1, "d": 0.6}[p["kind"]]
    if p["family"] == "branin":
        x, y = p["bx"], p["by"]
        bend = y - 5.1 / (4 * math.pi**2) * x * x + 5 / math.pi * x - 6
        return common + (bend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10 - 0.39788735772973816) / 10
    if p["family"] == "sphere":
        return common + 0.15 + p["sx"] ** 2 + p["sy"] ** 2 + p["sz"] ** 2
    return common + 0.05 + (math.log10(p["lr"]) + 2) ** 2


HARTMANN = (
    (1.0, (10, 3, 17, 3.5, 1.7, 8), (0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886)),
    (1.2, (0.05, 10, 17, 0.1, 8, 14), (0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991)),
    (3.0, (3, 3.5, 1.7, 10, 17, 8), (0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650)),
    (3.2, (17, 8, 0.05, 10, 0.1, 14), (0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381)),
)


def _box(count: int, low: float, high: float) -> dict[str, Any]:
    return {f"x{i}": {"type": "uniform", "low": low, "high": high} for i in range(count)}


PROBLEMS = (
    Problem("Hartmann, 6 dimensions", _box(6, 0, 1), _hartmann),
    Problem("Rosenbrock, 4 dimensions", _box(4, -2, 2), _rosenbrock),
    Problem("Ackley, 8 dimensions", _box(8, -5, 10), _ackley),
    Problem(
        "conditional and categorical",
        {
            "family": {"type": "choice", "values": ["branin", "sphere", "power"]},
            "kind": {"type": "choice", "values": ["a", "b", "c", "d"]},
            "depth": {"type": "integer", "low": 1, "high": 12},
            "bx": {"type": "uniform", "low": -5, "high": 10, "when": {"family": "branin"}},
            "by": {"type": "uniform", "low": 0, "high": 15, "when": {"family": "branin"}},
            **{f"s{a}": {"type": "uniform", "low": -2, "high": 2, "when": {"family": "sphere"}} for a in "xyz"},
            "lr": {"type": "loguniform", "low": 1e-5, "high": 1, "when": {"family": "power"}},
        },
        _tree,
    ),
)
NOTES = (
    "regret: the best value so far above the optimum; typical: the median value of the later trials above it; means "
    "over searches are geometric",
    "one search's regret varies from seed to seed by a factor of two and more, whatever it is fed: read the means",
)
