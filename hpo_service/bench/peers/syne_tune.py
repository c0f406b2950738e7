"""Syne Tune's schedulers, driven as its tuner drives them (Salinas et al. 2022).

MOBSTER (Klein et al. 2020), a Gaussian process over rungs that pauses and resumes, is in Syne Tune up to 0.13;
conformal quantile regression (Salinas et al. 2023) as it is driven here, by itself on full trainings and over rungs
that stop trials, is in later ones.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np

from hpo_service.bench.peers.clock import Maker, Order
from hpo_service.bench.peers.halving import ETA
from hpo_service.bench.peers.plain import Category, Range, plain
from hpo_service.bench.problems.base import Problem
from search_spaces.convert.optuna import decode

LOSS, EPOCH, FULL = "loss", "epoch", "epochs"
WORST = 1e9
"""What a trial without any number is told as: the libraries' models take no infinities."""
SchedulerMaker = Callable[[dict[str, Any], int, int], Any]


class SyneTunePeer:
    """One scheduler. Its suggestions start a trial or resume a paused one."""

    def __init__(self, problem: Problem, make: SchedulerMaker, seed: int) -> None:
        from syne_tune.backend.trial_status import Trial

        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        np.random.seed(seed % 2**32)  # brackets are drawn from it
        self._trial = Trial
        self._space = problem.search_space
        self._full = problem.max_resource
        self._plain = plain(self._space)
        space = {name: _domain(one) for name, one in self._plain.items()} | {FULL: self._full}
        self._scheduler = make(space, self._full, seed)
        self._numbered = "trial_id" in inspect.signature(self._scheduler.suggest).parameters
        self._trials: list[Any] = []
        self._said: dict[int, str] = {}
        self._last: dict[int, dict[str, float]] = {}

    def ask(self) -> Order | None:
        number = len(self._trials)
        found = self._scheduler.suggest(trial_id=number) if self._numbered else self._scheduler.suggest()
        if found is None:
            return None
        if found.spawn_new_trial_id:
            trial = self._trial(number, found.config, datetime.fromtimestamp(0))
            self._trials.append(trial)
            self._scheduler.on_trial_add(trial)
        else:
            number = int(found.checkpoint_trial_id)
            trial = self._trials[number]
        internal = {name: trial.config[name] for name in self._plain}
        return Order(number, decode(self._space, internal), self._full)

    def report(self, trial: int, epoch: int, loss: float) -> bool:
        self._last[trial] = {LOSS: min(loss, WORST), EPOCH: epoch}
        self._said[trial] = "CONTINUE"
        if epoch < self._full:
            self._said[trial] = self._scheduler.on_trial_result(self._trials[trial], self._last[trial])
        return self._said[trial] == "CONTINUE"

    def ended(self, trial: int, loss: float, *, failed: bool) -> None:
        if failed:
            self._scheduler.on_trial_error(self._trials[trial])
        elif self._said[trial] != "CONTINUE":
            self._scheduler.on_trial_remove(self._trials[trial])
        else:
            self._scheduler.on_trial_result(self._trials[trial], self._last[trial])
            self._scheduler.on_trial_complete(self._trials[trial], self._last[trial])


def _domain(one: Range | Category) -> Any:
    from syne_tune import config_space as domains

    if isinstance(one, Category):
        return domains.choice(list(one.values))
    if one.whole:
        return (domains.lograndint if one.log else domains.randint)(int(one.low), int(one.high))
    return (domains.loguniform if one.log else domains.uniform)(one.low, one.high)


def maker(scheduler: SchedulerMaker) -> Maker:
    """Peers of a scheduler, made of a space, the epochs of a full training and a seed."""
    return lambda problem, seed, workers, budget: SyneTunePeer(problem, scheduler, seed)


def mobster(space: dict[str, Any], full: int, seed: int) -> Any:
    """Of Syne Tune up to 0.13."""
    from syne_tune.optimizer.baselines import MOBSTER

    return MOBSTER(
        space,
        metric=LOSS,
        mode="min",
        resource_attr=EPOCH,
        max_resource_attr=FULL,
        type="promotion",
        grace_period=1,
        reduction_factor=ETA,
        random_seed=seed % 2**31,
        search_options={"debug_log": False},
    )


def cqr(space: dict[str, Any], full: int, seed: int) -> Any:
    """On full trainings; from Syne Tune 0.14 on."""
    from syne_tune.optimizer.baselines import CQR

    return CQR(space, metric=LOSS, do_minimize=True, random_seed=seed % 2**31)


def asha_cqr(space: dict[str, Any], full: int, seed: int) -> Any:
    """Over rungs that stop trials; from Syne Tune 0.14 on."""
    from syne_tune.optimizer.baselines import ASHACQR

    return ASHACQR(
        space,
        metric=LOSS,
        time_attr=EPOCH,
        max_t=full,
        do_minimize=True,
        random_seed=seed % 2**31,
        reduction_factor=ETA,
    )
