"""Other searchers under the same protocol: the same space, budget and seeds, on the same virtual clock.

Each adapter is small and imports its library when it is asked to search: where a library is not installed, its methods
are named and left out. Nothing of the service's own algorithms is used here.
"""

from __future__ import annotations

from functools import partial

from hpo_service.bench.peers import halving, optuna
from hpo_service.bench.peers.clock import Maker, search
from hpo_service.bench.runs import Method

_METHODS: tuple[tuple[str, str, tuple[str, ...], Maker], ...] = (
    ("optuna-random", "Optuna's RandomSampler, full trainings", ("optuna",), optuna.maker(optuna.random_sampler)),
    ("optuna-tpe", "Optuna's TPESampler, full trainings", ("optuna",), optuna.maker(optuna.tpe)),
    ("optuna-gp", "Optuna's GPSampler, full trainings", ("optuna", "torch"), optuna.maker(optuna.gp)),
    (
        "optuna-tpe-hyperband",
        "Optuna's TPESampler with HyperbandPruner",
        ("optuna",),
        optuna.maker(optuna.tpe, optuna.hyperband),
    ),
    (
        "optuna-random-halving",
        "Optuna's RandomSampler with SuccessiveHalvingPruner",
        ("optuna",),
        optuna.maker(optuna.random_sampler, optuna.halving),
    ),
    (
        "asha-resume",
        "reference of asynchronous halving that takes paused trials up",
        (),
        lambda problem, seed, workers, budget: halving.Asha(problem, seed),
    ),
    (
        "one-epoch",
        "one epoch of many, the best in full: half of the budget each",
        (),
        lambda problem, seed, workers, budget: halving.OneEpochThenBest(problem, seed),
    ),
)


def methods() -> tuple[Method, ...]:
    """All peers, installed or not."""
    return tuple(
        Method(name=name, search=partial(search, name=name, make=make), summary=summary, requires=requires, peer=True)
        for name, summary, requires, make in _METHODS
    )
