"""Ours beside Optuna's samplers on cheap functions of several objectives, at equal numbers of trials: the hypervolume,
mean and standard error over seeds. Not part of the test suite:

    python -m tests.benchmarks.several_objectives --trials 200 --seeds 5 nsga2 tpe optuna-nsga2 optuna-tpe
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import optuna
from optuna._hypervolume import compute_hypervolume

from hpo_service import algorithms
from hpo_service.core import events
from hpo_service.core.definition import parse
from hpo_service.core.proposals import Start

Function = Callable[[Any], list[float]]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def zdt1(x: Any) -> list[float]:
    """Zitzler, Deb & Thiele 2000: a convex front."""
    g = 1 + 9 * float(np.mean(x[1:]))
    return [float(x[0]), g * (1 - math.sqrt(x[0] / g))]


def zdt2(x: Any) -> list[float]:
    """A front that is not convex."""
    g = 1 + 9 * float(np.mean(x[1:]))
    return [float(x[0]), g * (1 - (x[0] / g) ** 2)]


def dtlz2(x: Any) -> list[float]:
    """Deb, Thiele, Laumanns & Zitzler 2005: three objectives, an eighth of a sphere."""
    g = float(np.sum((x[2:] - 0.5) ** 2))
    a, b = x[0] * math.pi / 2, x[1] * math.pi / 2
    return [
        (1 + g) * math.cos(a) * math.cos(b),
        (1 + g) * math.cos(a) * math.sin(b),
        (1 + g) * math.sin(a),
    ]


PROBLEMS: dict[str, tuple[Function, int, list[float]]] = {
    "zdt1": (zdt1, 10, [1.1, 3.1]),
    "zdt2": (zdt2, 10, [1.1, 3.1]),
    "dtlz2": (dtlz2, 8, [1.5, 1.5, 1.5]),
}
OURS: dict[str, dict[str, Any]] = {
    "nsga2": {"name": "nsga2"},
    "tpe": {"name": "bayesian"},
    "gp": {"name": "bayesian", "surrogate": "gp"},
    "random": {"name": "random"},
}
THEIRS: dict[str, Callable[[int], Any]] = {
    "optuna-nsga2": lambda seed: optuna.samplers.NSGAIISampler(seed=seed),
    "optuna-tpe": lambda seed: optuna.samplers.TPESampler(seed=seed),
    "optuna-gp": lambda seed: optuna.samplers.GPSampler(seed=seed),
}


def ours(algorithm: dict[str, Any], problem: str, *, trials: int, seed: int) -> Any:
    """The objectives of each trial, shape (trials, objectives), one worker."""
    function, dimensions, worst = PROBLEMS[problem]
    definition = parse(
        {
            "objective": [{"metric": f"f{k}"} for k in range(len(worst))],
            "space": {f"x{i:02d}": {"type": "uniform", "low": 0.0, "high": 1.0} for i in range(dimensions)},
            "algorithm": {"max_resource": 1, **algorithm},
            "trainer": {"external": True},
            "budget": {"trials": trials},
            "seed": seed,
        }
    )
    fold = algorithms.fold(definition)
    found: list[list[float]] = []
    log: list[int] = []

    def record(payload: Any) -> None:
        log.append(0)
        fold.observe(events.Event(study_id="s", seq=len(log), payload=payload, at=NOON))

    while proposals := fold.propose(1):
        record(
            events.Decided(
                decision=len(log) + 1,
                observed_seq=len(log),
                algorithm=fold.name,
                algorithm_version=fold.version,
                proposals=tuple(proposals),
            )
        )
        for start in (p for p in proposals if isinstance(p, Start)):
            values = function(np.array([start.params[name] for name in sorted(start.params)]))
            found.append(values)
            row = events.ReportRow(trial=start.trial, fence=1, step=1, resource=1.0, values=tuple(values))
            record(events.Reported(reports=(row,)))
            ended = events.EndedAttempt(
                trial=start.trial, fence=1, outcome="reached", trial_state="paused", resource=1.0
            )
            record(events.AttemptsEnded(attempts=(ended,)))
    return np.array(found)


def theirs(sampler: Any, problem: str, *, trials: int) -> Any:
    """The same of one of Optuna's samplers."""
    function, dimensions, worst = PROBLEMS[problem]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["minimize"] * len(worst), sampler=sampler)
    study.optimize(
        lambda trial: tuple(function(np.array([trial.suggest_float(f"x{i:02d}", 0, 1) for i in range(dimensions)]))),
        n_trials=trials,
    )
    return np.array([trial.values for trial in study.trials])


def volume(values: Any, worst: list[float]) -> float:
    """The hypervolume before `worst`."""
    inside = values[(values < worst).all(axis=1)]
    return float(compute_hypervolume(inside, np.array(worst))) if len(inside) else 0.0


def main() -> None:
    """Print a line per problem and method."""
    parser = argparse.ArgumentParser()
    parser.add_argument("methods", nargs="*", default=[*OURS, *THEIRS])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    for problem, (_, _, worst) in PROBLEMS.items():
        for method in options.methods:
            found = [
                ours(OURS[method], problem, trials=options.trials, seed=seed)
                if method in OURS
                else theirs(THEIRS[method](seed), problem, trials=options.trials)
                for seed in range(options.seeds)
            ]
            volumes = np.array([volume(values, worst) for values in found])
            error = volumes.std(ddof=1) / math.sqrt(len(volumes)) if len(volumes) > 1 else math.nan
            print(f"{problem:6} {method:13} {volumes.mean():.3f} ± {error:.3f}", flush=True)


if __name__ == "__main__":
    main()
