"""The service's own algorithms as methods: each in a study as a user would write it, run by the real controller.

What a study tells the algorithm: the space, the seed, how many run at the same time, and a budget of resource. Not
here: how it is run (`laboratory`), what the others do (`peers`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from hpo_service import algorithms
from hpo_service.bench.laboratory import METRIC, laboratory
from hpo_service.bench.problems.base import Problem
from hpo_service.bench.runs import Method, Recorder, Run, own_seed
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.states import StudyState

Spec = Callable[[int], dict[str, Any]]
"""The definition's `algorithm` for a full training of so many epochs."""


def _rungs(name: str, **options: Any) -> Spec:
    return lambda full: {"name": name, "min_resource": 1, "max_resource": full, **options}


def _whole(name: str, **options: Any) -> Spec:
    return lambda full: {"name": name, "max_resource": full, **options}


ALGORITHMS: Mapping[str, tuple[Spec, str, tuple[str, ...]]] = {
    "auto": (_whole("auto"), "what the service chooses by itself", ("torch",)),
    "random": (_whole("random"), "random search", ()),
    "sobol": (_whole("sobol"), "a scrambled Sobol sequence", ("scipy",)),
    "tpe": (_whole("bayesian", surrogate="tpe"), "TPE on whole trainings", ("optuna",)),
    "gp": (_whole("bayesian", surrogate="gp"), "a Gaussian process on whole trainings", ("torch",)),
    "cmaes": (_whole("cmaes"), "CMA-ES on whole trainings", ()),
    "hyperband": (_rungs("hyperband"), "Hyperband", ()),
    "bohb": (_rungs("bohb"), "Hyperband with TPE", ("optuna",)),
    "asha": (_rungs("asha"), "asynchronous halving; trials pause and go on", ()),
    "asha-tpe": (_rungs("asha", sampler="tpe"), "asynchronous halving with TPE", ("optuna",)),
    "asha-gp": (_rungs("asha", sampler="gp"), "asynchronous halving with a Gaussian process", ("torch",)),
    "pasha": (_rungs("pasha"), "asynchronous halving that raises its highest rung as needed", ()),
    "dehb": (_rungs("dehb"), "differential evolution over Hyperband's rungs", ()),
    "median": (_whole("median"), "random search with the median stopping rule", ()),
}


def methods() -> tuple[Method, ...]:
    """Those that this version of the service has."""
    return tuple(
        Method(name=name, search=partial(search, name=name, spec=spec), summary=summary, requires=requires)
        for name, (spec, summary, requires) in ALGORITHMS.items()
        if spec(1)["name"] in algorithms.VERSIONS
    )


def search(problem: Problem, seed: int, workers: int, budget: float, *, name: str, spec: Spec) -> Run:
    """One study by the algorithm `spec`; see `Searcher`."""
    recorder = Recorder(problem.maximize)
    study = definition(
        problem, spec(problem.max_resource), seed=own_seed(problem, seed), workers=workers, budget=budget
    )
    with laboratory() as place:
        place.remember(problem, study)
        row = place.run(problem, study, recorder, workers=workers, budget=budget)
    note = row.reason if row.state is StudyState.FINISHED else ""
    return recorder.run(name, problem, seed=seed, workers=workers, budget=budget, note=note)


def definition(
    problem: Problem, algorithm: Mapping[str, Any], *, seed: int, workers: int, budget: float
) -> StudyDefinition:
    """The study that a user would submit. A trial's value is its best report, which is what searches are judged by.

    The budget of resource is what the workers could train in the time at mean speed; the clock ends the search.
    """
    return parse(
        {
            "name": f"{problem.title} {algorithm['name']}",
            "objective": {
                "metric": METRIC,
                "direction": "maximize" if problem.maximize else "minimize",
                "at": "best",
            },
            "space": dict(problem.space),
            "forbid": [dict(clause) for clause in problem.forbid],
            "algorithm": dict(algorithm),
            "trainer": {"function": "problem:train"},  # a name alone: nothing imports it
            "budget": {"resource": workers * budget * problem.max_resource},
            "resources": {"cpu": 1, "lanes": "off"},
            "parallel": workers,
            "seed": seed,
        }
    )
