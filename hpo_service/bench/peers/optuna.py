"""Optuna's samplers and pruners, asked and told (Optuna 5).

Defaults everywhere, but for what makes the comparison fair: rungs from one epoch with the reduction factor of all,
seeds, TPE's constant liar where several workers run, and a name for the study, by which Optuna assigns brackets.
Pruned trials end: Optuna cannot resume them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from hpo_service.bench.peers.clock import Maker, Order
from hpo_service.bench.peers.halving import ETA
from hpo_service.bench.problems.base import Problem
from search_spaces.convert.optuna import decode, to_optuna

TRIES = 1_000
"""Of drawing a configuration that no clause forbids; Optuna is told that the others failed."""
SamplerMaker = Callable[[int, int], Any]
PrunerMaker = Callable[[int], Any]


class OptunaPeer:
    """One study in memory."""

    def __init__(self, problem: Problem, sampler: Any, pruner: Any, *, name: str) -> None:
        import optuna  # heavy and optional

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._states = optuna.trial.TrialState
        self._space = problem.search_space
        self._full = problem.max_resource
        self._distributions = to_optuna(self._space)
        self._prunes = pruner is not None
        pruner = pruner if self._prunes else optuna.pruners.NopPruner()
        self._study = optuna.create_study(study_name=name, sampler=sampler, pruner=pruner)
        self._trials: dict[int, Any] = {}
        self._pruned: set[int] = set()

    def ask(self) -> Order:
        for _ in range(TRIES):
            trial = self._study.ask(self._distributions)
            params = decode(self._space, trial.params)
            if not self._space.is_forbidden(params):
                self._trials[trial.number] = trial
                return Order(trial.number, params, self._full)
            self._study.tell(trial, state=self._states.FAIL)
        raise RuntimeError(f"Optuna proposed {TRIES} forbidden configurations in a row; allow more combinations")

    def report(self, trial: int, epoch: int, loss: float) -> bool:
        if not self._prunes:
            return True
        self._trials[trial].report(loss, epoch)
        if epoch < self._full and self._trials[trial].should_prune():
            self._pruned.add(trial)
            return False
        return True

    def ended(self, trial: int, loss: float, *, failed: bool) -> None:
        told = self._trials.pop(trial)
        if failed:
            self._study.tell(told, state=self._states.FAIL)
        elif trial in self._pruned:
            self._study.tell(told, state=self._states.PRUNED)
        else:
            self._study.tell(told, loss if math.isfinite(loss) else math.inf)


def maker(sampler: SamplerMaker, pruner: PrunerMaker = lambda full: None) -> Maker:
    """Peers of a sampler (by seed and workers) and a pruner (by the epochs of a full training)."""

    def make(problem: Problem, seed: int, workers: int, budget: float) -> OptunaPeer:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is experimental in Optuna says so at each start
            return OptunaPeer(
                problem, sampler(seed, workers), pruner(problem.max_resource), name=f"{problem.title} {seed}"
            )

    return make


def random_sampler(seed: int, workers: int) -> Any:
    """Uniform draws."""
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def tpe(seed: int, workers: int) -> Any:
    """Tree-structured Parzen estimators; with several workers, running trials count as poor ones."""
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, constant_liar=workers > 1)


def gp(seed: int, workers: int) -> Any:
    """A Gaussian process with expected improvement."""
    import torch
    from optuna.samplers import GPSampler

    torch.set_num_threads(1)
    return GPSampler(seed=seed)


def hyperband(full: int) -> Any:
    """Brackets of halving with different first rungs."""
    from optuna.pruners import HyperbandPruner

    return HyperbandPruner(min_resource=1, max_resource=full, reduction_factor=ETA)


def halving(full: int) -> Any:
    """Asynchronous halving that stops trials and never takes one up again."""
    from optuna.pruners import SuccessiveHalvingPruner

    return SuccessiveHalvingPruner(min_resource=1, reduction_factor=ETA)
