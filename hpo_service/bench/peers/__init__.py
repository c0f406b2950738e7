"""Other searchers under the same protocol: the same space, budget and seeds, on the same virtual clock.

Each adapter is small and imports its library when it is asked to search: where a library is not installed, its methods
are named and left out. Nothing of the service's own algorithms is used here.
"""

from __future__ import annotations

from functools import partial

from hpo_service.bench.peers import bohb, halving, hebo, optuna, smac, syne_tune
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
    (
        "smac",
        "SMAC3's multi-fidelity facade",
        ("smac", "ConfigSpace"),
        lambda problem, seed, workers, budget: smac.SmacPeer(problem, seed),
    ),
    (
        "ray-bohb",
        "Ray Tune's BOHB",
        ("ray", "hpbandster", "ConfigSpace", "optuna"),
        lambda problem, seed, workers, budget: bohb.BohbPeer(problem, seed),
    ),
    (
        "hebo",
        "HEBO, full trainings",
        ("hebo", "torch", "optuna"),
        lambda problem, seed, workers, budget: hebo.HeboPeer(problem, seed),
    ),
    (
        "syne-tune-mobster",
        "Syne Tune's MOBSTER (up to its version 0.13)",
        ("syne_tune.optimizer.schedulers.searchers.gp_multifidelity_searcher", "autograd", "optuna"),
        syne_tune.maker(syne_tune.mobster),
    ),
    (
        "syne-tune-cqr",
        "Syne Tune's CQR, full trainings (from its version 0.14)",
        ("syne_tune.optimizer.schedulers.single_objective_scheduler", "xgboost", "optuna"),
        syne_tune.maker(syne_tune.cqr),
    ),
    (
        "syne-tune-asha-cqr",
        "Syne Tune's CQR over rungs that stop trials (from its version 0.14)",
        ("syne_tune.optimizer.schedulers.asha", "xgboost", "optuna"),
        syne_tune.maker(syne_tune.asha_cqr),
    ),
)


def methods() -> tuple[Method, ...]:
    """All peers, installed or not."""
    return tuple(
        Method(name=name, search=partial(search, name=name, make=make), summary=summary, requires=requires, peer=True)
        for name, summary, requires, make in _METHODS
    )
