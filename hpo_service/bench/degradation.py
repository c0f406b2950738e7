"""What a harder variant of the same problems costs each method, and whether it costs one more than another.

Pure: from runs to numbers and a line of text. Compared are runs of one method, task, seed and number of workers, on
the variant and on the problem itself; a method's degradation is the mean over tasks of its seeds' means, with the
standard error that `statistics` has. Whether it differs from the reference's is Wilcoxon's signed-rank test over the
pairs of such changes of one task and seed, adjusted by Holm over the methods.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hpo_service.bench.runs import Run
from hpo_service.bench.statistics import Against, Estimate, Floats, beside, by_method, estimate

Regrets = Mapping[str, Mapping[str, Mapping[int, Floats]]]


@dataclass(frozen=True, slots=True)
class Cost:
    """What the variant costs one method: added regret at each reading, then in the mean over them, and beside the
    reference's."""

    method: str
    tasks: int
    seeds: int
    added: tuple[Estimate, ...]
    against: tuple[Against | None, ...]


@dataclass(frozen=True, slots=True)
class Degradation:
    """One variant of a collection; `costs` by the mean, the least first, and last those that lack some of the `tasks`.
    `reference` is None where it has no runs on both."""

    collection: str
    variant: str
    workers: int
    budget: float
    tasks: int
    reference: str | None
    costs: tuple[Cost, ...]


def degradations(runs: Iterable[Run], *, reference: str) -> list[Degradation]:
    """Every variant that was run beside the problems themselves, by collection, workers and budget."""
    gathered: dict[tuple[str, int, float], dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        gathered[run.collection, run.workers, run.budget][run.variant].append(run)
    found = []
    for (collection, workers, budget), variants in sorted(gathered.items()):
        plain = by_method(variants.pop("", ()))
        for variant, varied in sorted(variants.items()):
            added = _added(by_method(varied), plain)
            if added:
                costs = _costs(added, reference)
                known = reference if reference in added else None
                tasks = len({task for several in added.values() for task in several})
                found.append(Degradation(collection, variant, workers, budget, tasks, known, costs))
    return found


def told(one: Degradation) -> str:
    """The degradation in the mean over the readings, in a line."""
    workers = f"{one.workers} worker{'s' if one.workers > 1 else ''}"
    costs = ", ".join(f"{_said(cost.added[-1])} ({_named(cost, one)})" for cost in one.costs)
    compared = [(cost.method, cost.against[-1]) for cost in one.costs]
    worse = [method for method, against in compared if against is not None and against.worse]
    better = [method for method, against in compared if against is not None and against.better]
    marks = [
        f"significantly {which} than {one.reference}'s: {', '.join(methods)}"
        for which, methods in (("more", worse), ("less", better))
        if methods
    ]
    return "; ".join([f"{one.collection}, {one.variant}, {workers}: mean regret changes by {costs}", *marks])


def _added(varied: Regrets, plain: Regrets) -> dict[str, dict[str, dict[int, Floats]]]:
    """Method → task → seed → regret added, where there is a run of both."""
    found: dict[str, dict[str, dict[int, Floats]]] = defaultdict(dict)
    for method, tasks in varied.items():
        for task, seeds in tasks.items():
            base = plain.get(method, {}).get(task, {})
            shared = {seed: values - base[seed] for seed, values in seeds.items() if seed in base}
            if shared:
                found[method][task] = shared
    return found


def _costs(added: Regrets, reference: str) -> tuple[Cost, ...]:
    against = beside(added, reference)
    costs = [
        Cost(method, len(tasks), max(len(seeds) for seeds in tasks.values()), estimate(tasks), against[method])
        for method, tasks in added.items()
    ]
    return tuple(sorted(costs, key=lambda cost: (-cost.tasks, cost.added[-1].mean)))


def _named(cost: Cost, one: Degradation) -> str:
    return cost.method + (f", {cost.tasks} of {one.tasks} tasks" if cost.tasks < one.tasks else "")


def _said(one: Estimate) -> str:
    return f"{one.mean:+.3f}" + (f" ± {one.se:.3f}" if one.se is not None else "")
