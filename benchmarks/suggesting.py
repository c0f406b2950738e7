"""What one proposal costs after 100 to 100,000 finished trials, beside Optuna's own, in memory, in CPU time.

Ours is `propose(1)` and observing all that follows from it (decided, reported, ended, finished), on an algorithm that
has folded that many trials; Optuna's is `ask`, the suggestions and `tell`. Three parameters, the same past trials, one
thread. Optuna's Gaussian process is not asked beyond 1,000 trials: its cost grows with their number's third power.
"""

from __future__ import annotations

import importlib
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
    "random": (100, 1000, 10_000, 100_000),
    "sobol": (100, 1000, 100_000),
    "grid": (100, 1000, 99_000),
    "tpe": (100, 1000, 10_000, 100_000),
    "gp": (100, 1000, 10_000),
}
QUICK = 1000
"""The most trials of a quick run."""
OURS: dict[str, dict[str, Any]] = {
    "random": {"name": "random", "max_resource": 1},
    "sobol": {"name": "sobol", "max_resource": 1},
    "grid": {"name": "grid", "points": 141, "max_resource": 1},
    "tpe": {"name": "bayesian", "surrogate": "tpe", "max_resource": 1},
    "gp": {"name": "bayesian", "surrogate": "gp", "max_resource": 1},
}
MOST_FOR_OPTUNA = {"gp": 1000, "tpe": 10_000}
BELOW_MS = {"tpe": 50.0, "gp": 300.0}
"""What a proposal may cost with 10,000 trials; all others: 1 ms with ten times as many."""


def run(options: Options) -> Outcome:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    importlib.import_module("torch").set_num_threads(1)
    rows: list[tuple[Any, ...]] = []
    for name, sizes in SIZES.items():
        for size in sizes:
            if options.quick and (size > QUICK or (name == "gp" and size > 100)):
                continue
            past = Past.of(OURS[name], size)
            ours = _timed(past.propose_one)
            theirs = None if size > MOST_FOR_OPTUNA.get(name, size) else _timed(_optuna_one(name, past.trials))
            rows.append((name, size, ours, theirs, theirs and ours / theirs, past.fold_s * 1e3))
    headings = ("sampler", "finished trials", "ours, ms", "Optuna, ms", "ours ÷ Optuna", "folding them again, ms")
    figures = [figure for row in rows for figure in _figures(*row[:5])]
    return Outcome(tables=[Table(headings=headings, rows=rows)], figures=figures)


def _figures(name: str, size: int, ours: float, theirs: float | None, ratio: float | None) -> list[Figure]:
    found = []
    if name in BELOW_MS and size == 1000 and ratio is not None:
        found.append(Figure(name=f"{name} at 1,000 trials: ours ÷ Optuna", value=ratio, unit="×"))
    if size >= (10_000 if name in BELOW_MS else 99_000):
        below = BELOW_MS.get(name, 1.0)
        found.append(Figure(name=f"{name} at {size:,} trials, a proposal", value=ours, unit="ms", below=below))
    return found


def _timed(once: Callable[[], object]) -> float:
    """Median CPU milliseconds of a call."""
    once()
    took: list[float] = []
    while len(took) < MIN_TIMES or (sum(took) < LONGEST_S and len(took) < MAX_TIMES):
        began = time.process_time()
        once()
        took.append(time.process_time() - began)
    return 1e3 * statistics.median(took)


def _sampler(name: str) -> optuna.samplers.BaseSampler:
    if name == "random":
        return optuna.samplers.RandomSampler(seed=0)
    if name == "sobol":
        return optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=0)
    if name == "grid":
        lr = [10 ** (-5 + 5 * i / 140) for i in range(141)]
        momentum = [0.85 + 0.1 * i / 140 for i in range(141)]
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
