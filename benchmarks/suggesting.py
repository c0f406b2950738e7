"""What one proposal costs after 100, 1,000 and 10,000 finished trials, beside Optuna's own, in memory.

Ours is `propose(1)` and observing all that follows from it (decided, reported, ended, finished), on an algorithm that
has folded that many trials; Optuna's is `ask`, the suggestions and `tell`. Three parameters, the same past trials.
"""

from __future__ import annotations

import math
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import optuna

from benchmarks.fold import Past
from benchmarks.harness import Figure, Options, Outcome, Table

LONGEST_S = 8.0  # per cell, once MIN_TIMES are done
MIN_TIMES, MAX_TIMES = 3, 100
SIZES = {
    "random": (100, 1000, 10_000),
    "sobol": (100, 1000),
    "grid": (100, 1000),
    "tpe": (100, 1000, 10_000),
    "gp": (100, 1000),
}
OURS: dict[str, dict[str, Any]] = {
    "random": {"name": "random", "max_resource": 1},
    "sobol": {"name": "sobol", "max_resource": 1},
    "grid": {"name": "grid", "points": 60, "max_resource": 1},
    "tpe": {"name": "bayesian", "surrogate": "tpe", "max_resource": 1},
    "gp": {"name": "bayesian", "surrogate": "gp", "max_resource": 1},
}


def run(options: Options) -> Outcome:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    rows, figures = [], []
    for name, sizes in SIZES.items():
        for size in sizes:
            if options.quick and (size > 1000 or (name == "gp" and size > 100)):
                continue
            past = Past.of(OURS[name], size)
            ours = _timed(past.propose_one)
            theirs = _timed(_optuna_one(name, past.trials))
            rows.append((name, size, ours, theirs, ours / theirs, past.fold_s * 1e3))
    for name, size, _, _, ratio, _ in rows:
        if name in ("tpe", "gp") and size == 1000:
            figures.append(Figure(name=f"{name} at 1,000 trials: ours ÷ Optuna", value=ratio, unit="×"))
    headings = ("sampler", "finished trials", "ours, ms", "Optuna, ms", "ours ÷ Optuna", "folding them again, ms")
    return Outcome(tables=[Table(headings=headings, rows=rows)], figures=figures)


def _timed(once: Callable[[], object]) -> float:
    """Median milliseconds of a call."""
    once()
    took: list[float] = []
    while len(took) < MIN_TIMES or (sum(took) < LONGEST_S and len(took) < MAX_TIMES):
        began = time.perf_counter()
        once()
        took.append(time.perf_counter() - began)
    return 1e3 * statistics.median(took)


def _sampler(name: str) -> optuna.samplers.BaseSampler:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=0)
    if name == "sobol":
        return optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=0)
    if name == "grid":
        lr = [10 ** (-5 + 5 * i / 59) for i in range(60)]
        momentum = [0.85 + 0.1 * i / 59 for i in range(60)]
        return optuna.samplers.GridSampler({"lr": lr, "momentum": momentum, "batch_log2": [4, 5, 6, 7, 8]}, seed=0)
    if name == "tpe":
        return optuna.samplers.TPESampler(seed=0, multivariate=True, constant_liar=True)
    return optuna.samplers.GPSampler(seed=0)


def _optuna_one(name: str, past: list[tuple[dict[str, Any], float]]) -> Callable[[], None]:
    """One ask and tell on a study that holds the past trials."""
    study = optuna.create_study(sampler=_sampler(name), direction="minimize")
    space: dict[str, optuna.distributions.BaseDistribution] = {
        "lr": optuna.distributions.FloatDistribution(1e-5, 1.0, log=True),
        "batch_log2": optuna.distributions.IntDistribution(4, 8),
        "momentum": optuna.distributions.FloatDistribution(0.85, 0.95),
    }
    for params, value in past:
        own = {"lr": params["lr"], "momentum": params["momentum"], "batch_log2": int(math.log2(params["batch_size"]))}
        study.add_trial(optuna.trial.create_trial(params=own, distributions=space, value=value))

    def once() -> None:
        trial = study.ask()
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        trial.suggest_int("batch_log2", 4, 8)
        trial.suggest_float("momentum", 0.85, 0.95)
        study.tell(trial, abs(math.log10(lr) + 2))

    return once
