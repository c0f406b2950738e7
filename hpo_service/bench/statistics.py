"""What runs say about methods: regret at each reading, ranks, and which differences are more than noise.

Pure: from runs to numbers. How they are shown is `tables` and `pictures`'.

A group is what may be compared: one collection, variant, number of workers and budget. Within it

- a method's regret on a task is the mean over its seeds, its regret the mean over the tasks, each task counting alike;
- the standard error is that of the seeds, the tasks being what they are. A seed's deviations from the means of its
  tasks are added up first, for what one seed does on several tasks need not be independent (clustered by seed):
  se² = S / (S − 1) · Σ_seed ( Σ_task (x[task, seed] − mean[task]) / (n[task] · T) )²,
  with S seeds, T tasks, n[task] seeds on the task. With all seeds on all tasks this is the plain standard error of the
  seeds' means over the tasks. None of a single seed;
- ranks are among the methods that ran on all tasks, on a task's mean regret, ties sharing theirs; Friedman's test
  (by permutations; of many tasks with Iman and Davenport's correction) and Nemenyi's critical difference follow Demšar
  2006 (Statistical comparisons of classifiers over multiple data sets), whose blocks are tasks: they say what to expect
  of other tasks;
- whether a method is better than the reference on these tasks is Wilcoxon's signed-rank test over the pairs of runs of
  one task and seed, adjusted by Holm over the methods of a reading (not over the readings). It takes it that without
  any difference either run of a pair might as well be the other's, and that pairs do not hang together: where a seed
  draws the same first configurations on several tasks they do a little, and p is a little too small.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hpo_service.bench import permutations
from hpo_service.bench.runs import Run

ALPHA = 0.05
ROUNDING = 1e-12
"""Differences of regrets up to that are none."""
Floats = npt.NDArray[np.float64]
MEAN = "mean"
"""The column after the readings: the mean over them."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over tasks and its standard error over seeds; None of a single seed."""

    mean: float
    se: float | None


@dataclass(frozen=True, slots=True)
class Friedman:
    """Do the methods differ over tasks at all? `rank` is each method's average rank, `difference` what two must differ
    by to be told apart (Nemenyi), `cliques` the largest sets of neighbours that are not told apart: all of them where
    the test finds no difference. `f` is None where all tasks agree; `permuted` tells p by permutations from F's."""

    tasks: int
    chi2: float
    f: float | None
    p: float
    difference: float
    rank: Mapping[str, float]
    cliques: tuple[tuple[str, ...], ...]
    permuted: bool = True


@dataclass(frozen=True, slots=True)
class Against:
    """A method beside the reference: mean of (its regret − the reference's) over pairs of runs, and Holm's p."""

    pairs: int
    difference: float
    p: float

    @property
    def better(self) -> bool:
        """Significantly less regret than the reference."""
        return self.p < ALPHA and self.difference < 0

    @property
    def worse(self) -> bool:
        """Significantly more regret than the reference."""
        return self.p < ALPHA and self.difference > 0


@dataclass(frozen=True, slots=True)
class Row:
    """One method: an estimate and a comparison per reading (in its order, then the mean over them)."""

    method: str
    tasks: int
    seeds: int
    regret: tuple[Estimate, ...]
    against: tuple[Against | None, ...]
    per_task: Mapping[str, tuple[Estimate, ...]]
    decision_mean_ms: float
    decision_worst_ms: float


@dataclass(frozen=True, slots=True)
class Group:
    """What can be compared with each other; `rows` by their mean regret, those that lack tasks last. `friedman` has one
    test per column, None where there are fewer than two methods or tasks."""

    collection: str
    variant: str
    workers: int
    budget: float
    readings: tuple[float, ...]
    reference: str | None
    tasks: tuple[str, ...]
    rows: tuple[Row, ...]
    friedman: tuple[Friedman | None, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The readings as text, then `mean`."""
        return (*(f"{reading:g}" for reading in self.readings), MEAN)

    @property
    def complete(self) -> tuple[str, ...]:
        """The methods that ran on all tasks: only their means can be compared."""
        return tuple(row.method for row in self.rows if row.tasks == len(self.tasks))

    @property
    def least(self) -> tuple[float, ...]:
        """The least regret of each column, of the methods that ran on all tasks."""
        rows = [row for row in self.rows if row.method in self.complete]
        return tuple(min((row.regret[i].mean for row in rows), default=math.nan) for i in range(len(self.columns)))

    @property
    def title(self) -> str:
        """lcbench, 4 workers, 8 FTE each."""
        variant = f" ({self.variant})" if self.variant else ""
        workers = "one worker" if self.workers == 1 else f"{self.workers} workers"
        return f"{self.collection}{variant}, {workers}, {self.budget:g} FTE{'' if self.workers == 1 else ' each'}"


def readings(budget: float) -> tuple[float, ...]:
    """1, 2, 4, … up to the budget; the budget alone where it is less than two full trainings."""
    return tuple(2.0**i for i in range(int(math.log2(budget)) + 1)) if budget >= 2 else (budget,)


def groups(runs: Iterable[Run], *, reference: str = "auto") -> list[Group]:
    """Every group of the runs, by collection, variant, workers and budget. `reference` counts where it is among the
    methods."""
    gathered: dict[tuple[str, str, int, float], list[Run]] = defaultdict(list)
    for run in runs:
        gathered[run.collection, run.variant, run.workers, run.budget].append(run)
    return [_group(found, reference) for _, found in sorted(gathered.items())]


def progress(runs: Iterable[Run], group: Group, at: Sequence[float]) -> dict[str, tuple[Estimate, ...]]:
    """Each method's regret after so many FTE, in the order of the group's rows; of the group's runs among all."""
    key = (group.collection, group.variant, group.workers, group.budget)
    found: dict[str, dict[str, dict[int, Floats]]] = {row.method: defaultdict(dict) for row in group.rows}
    for run in runs:
        if (run.collection, run.variant, run.workers, run.budget) == key:
            found[run.method][run.problem][run.seed] = np.array([run.regret_at(fte) for fte in at])
    return {method: estimate(tasks) for method, tasks in found.items()}


def _group(runs: Sequence[Run], reference: str) -> Group:
    at = readings(runs[0].budget)
    regrets = by_method(runs)
    tasks = tuple(dict.fromkeys(run.problem for run in runs))
    against = beside(regrets, reference)
    rows = [_row(method, found, against[method], runs) for method, found in regrets.items()]
    whole = {row.method: row.per_task for row in rows if row.tasks == len(tasks)}
    return Group(
        collection=runs[0].collection,
        variant=runs[0].variant,
        workers=runs[0].workers,
        budget=runs[0].budget,
        readings=at,
        reference=reference if reference in regrets else None,
        tasks=tasks,
        rows=tuple(sorted(rows, key=lambda row: (-row.tasks, row.regret[-1].mean))),
        friedman=tuple(_ranked(whole, tasks, column) for column in range(len(at) + 1)),
    )


def by_method(runs: Iterable[Run]) -> dict[str, dict[str, dict[int, Floats]]]:
    """Method → task → seed → the regret at each reading, then the mean over them, of runs of one budget."""
    found: dict[str, dict[str, dict[int, Floats]]] = defaultdict(lambda: defaultdict(dict))
    for run in runs:
        values = [run.regret_at(reading) for reading in readings(run.budget)]
        found[run.method][run.problem][run.seed] = np.array([*values, sum(values) / len(values)])
    return found


def _row(
    method: str, found: Mapping[str, Mapping[int, Floats]], against: tuple[Against | None, ...], runs: Sequence[Run]
) -> Row:
    decided = [run.decisions for run in runs if run.method == method and run.decisions.count]
    count = sum(one.count for one in decided)
    return Row(
        method=method,
        tasks=len(found),
        seeds=max(len(seeds) for seeds in found.values()),
        regret=estimate(found),
        against=against,
        per_task={task: estimate({task: seeds}) for task, seeds in found.items()},
        decision_mean_ms=sum(one.mean_ms * one.count for one in decided) / count if count else 0.0,
        decision_worst_ms=max((one.worst_ms for one in decided), default=0.0),
    )


def estimate(found: Mapping[str, Mapping[int, Floats]]) -> tuple[Estimate, ...]:
    """Mean and standard error of each column, from task → seed → columns. The formula is the module's."""
    means = {task: np.mean(list(seeds.values()), axis=0) for task, seeds in found.items()}
    mean = np.mean(list(means.values()), axis=0)
    deviations: dict[int, Floats] = defaultdict(lambda: np.zeros_like(mean))
    for task, seeds in found.items():
        for seed, values in seeds.items():
            deviations[seed] = deviations[seed] + (values - means[task]) / (len(seeds) * len(found))
    count = len(deviations)
    if count < 2 or min(len(seeds) for seeds in found.values()) < 2:
        return tuple(Estimate(float(value), None) for value in mean)
    se = np.sqrt(count / (count - 1) * np.sum(np.square(list(deviations.values())), axis=0))
    return tuple(Estimate(float(value), float(error)) for value, error in zip(mean, se, strict=True))


def beside(
    regrets: Mapping[str, Mapping[str, Mapping[int, Floats]]], reference: str
) -> dict[str, tuple[Against | None, ...]]:
    """Every method beside the reference, a comparison per column; None for the reference and without shared runs."""
    columns = max(len(values) for found in regrets.values() for seeds in found.values() for values in seeds.values())
    pairs = {method: _pairs(found, regrets.get(reference, {})) for method, found in regrets.items()}
    compared = [method for method in regrets if method != reference and len(pairs[method])]
    found: dict[str, list[Against | None]] = {method: [] for method in regrets}
    for column in range(columns):
        adjusted = holm([signed_rank(pairs[method][:, column]) for method in compared])
        for method in regrets:
            if method not in compared:
                found[method].append(None)
                continue
            differences = pairs[method][:, column]
            p = adjusted[compared.index(method)]
            found[method].append(Against(len(differences), float(differences.mean()), p))
    return {method: tuple(several) for method, several in found.items()}


def _pairs(one: Mapping[str, Mapping[int, Floats]], other: Mapping[str, Mapping[int, Floats]]) -> Floats:
    shared = [
        seeds[seed] - other[task][seed]
        for task, seeds in sorted(one.items())
        for seed in sorted(seeds)
        if seed in other.get(task, {})
    ]
    return np.array(shared)


def signed_rank(differences: Sequence[float] | Floats) -> float:
    """Wilcoxon's two-sided p that they are symmetric about 0; zeros are left out, 1 where nothing else is there."""
    from scipy.stats import wilcoxon  # slow to import

    given = np.asarray(differences, dtype=float)
    given = given[np.abs(given) > ROUNDING]
    return float(wilcoxon(given).pvalue) if len(given) else 1.0


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of several p (1979)."""
    adjusted, least = [0.0] * len(p), 0.0
    for place, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        least = max(least, min(1.0, (len(p) - place) * p[i]))
        adjusted[i] = least
    return adjusted


def _ranked(
    whole: Mapping[str, Mapping[str, Sequence[Estimate]]], tasks: Sequence[str], column: int
) -> Friedman | None:
    if len(whole) < 2 or len(tasks) < 2:
        return None
    return friedman({method: [found[task][column].mean for task in tasks] for method, found in whole.items()})


def friedman(losses: Mapping[str, Sequence[float]]) -> Friedman:
    """Of each method's losses on the same tasks (lower is better), by Demšar 2006, section 3.2.2.

    χ² = 12 N / (k (k + 1)) · (Σ rank² − k (k + 1)² / 4), F = (N − 1) χ² / (N (k − 1) − χ²) with k − 1 and
    (k − 1)(N − 1) degrees of freedom; critical difference q √(k (k + 1) / (6 N)), q the studentised range's over √2.
    With few tasks or methods p is that of χ² over all orders of each task's ranks (`permutations`), for F is too sure
    there; F's is at least (k!)^−(N − 1), what all tasks agreeing comes to by chance.
    """
    from scipy.stats import f as f_distribution
    from scipy.stats import rankdata, studentized_range

    ranks = rankdata(np.array(list(losses.values())).round(12), axis=0)
    k, n = ranks.shape
    mean = ranks.mean(axis=1)
    chi2 = 12 * n / (k * (k + 1)) * (float(np.square(mean).sum()) - k * (k + 1) ** 2 / 4)
    left = n * (k - 1) - chi2
    f = (n - 1) * chi2 / left if left > 1e-9 else None
    p = permutations.p_value(np.rint(2 * ranks).astype(int).T.tolist())
    permuted = p is not None
    if p is None:
        least = math.exp(-(n - 1) * math.lgamma(k + 1))
        p = least if f is None else max(least, float(f_distribution.sf(f, k - 1, (k - 1) * (n - 1))))
    q = float(studentized_range.ppf(1 - ALPHA, k, math.inf)) / math.sqrt(2)
    difference = q * math.sqrt(k * (k + 1) / (6 * n))
    rank = dict(sorted(zip(losses, map(float, mean), strict=True), key=lambda item: item[1]))
    cliques = _cliques(rank, difference) if p < ALPHA else (tuple(rank),)
    return Friedman(n, chi2, f, p, difference, rank, cliques, permuted)


def _cliques(rank: Mapping[str, float], difference: float) -> tuple[tuple[str, ...], ...]:
    names, places = list(rank), list(rank.values())
    ends = [max(j for j in range(i, len(names)) if places[j] - place <= difference) for i, place in enumerate(places)]
    starts = [0, *(i for i, (before, end) in enumerate(pairwise(ends), start=1) if end > before)]
    return tuple(tuple(names[i : ends[i] + 1]) for i in starts if ends[i] > i)
