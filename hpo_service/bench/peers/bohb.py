"""Ray Tune's BOHB (Falkner et al. 2018): its searcher over hpbandster's model, asked and told outside of Ray.

`TuneBOHB` proposes; the brackets are those of Ray's `HyperBandForBOHB`, which needs a running Tune to decide: the
largest bracket first, a rung's best third goes on where it stands once the whole rung is there, and a free worker that
would have to wait begins the next bracket.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hpo_service.bench.peers.clock import Order
from hpo_service.bench.peers.halving import ETA
from hpo_service.bench.peers.plain import Category, Range, plain
from hpo_service.bench.problems.base import Problem
from search_spaces.convert.optuna import decode


@dataclass(slots=True)
class Bracket:
    """`levels` are its rungs in epochs, `size` the trials it begins with; `results` those of the rung at hand."""

    levels: tuple[int, ...]
    size: int
    trials: list[int] = field(default_factory=list)
    rung: int = 0
    waiting: deque[int] = field(default_factory=deque)
    results: dict[int, float] = field(default_factory=dict)

    def add(self, trial: int) -> None:
        self.trials.append(trial)

    @property
    def filled(self) -> bool:
        return len(self.trials) >= self.size or self.rung > 0

    def result(self, trial: int, loss: float) -> list[int]:
        """Take the trial's loss at the rung's end; the trials that end here, once all results are there."""
        self.results[trial] = loss
        if not self.filled or len(self.results) < len(self.trials):
            return []
        last = self.rung == len(self.levels) - 1
        best = sorted((t for t in self.trials if math.isfinite(self.results[t])), key=self.results.__getitem__)
        kept = [] if last else best[: len(self.trials) // ETA]
        ended = [t for t in self.trials if t not in kept]
        self.trials, self.results, self.rung = kept, {}, self.rung + 1
        self.waiting.extend(kept)
        return ended


def brackets(full: int) -> list[Bracket]:
    """Hyperband's (Li et al. 2018), the largest first: of 52 epochs 27 from 1, 12 from 5, 6 from 17 and 4 in full."""
    most = int(math.log(full) / math.log(ETA) + 1e-9)
    return [
        Bracket(
            levels=tuple(max(1, int(full * ETA ** (i - s))) for i in range(s + 1)),
            size=math.ceil((most + 1) / (s + 1) * ETA**s),
        )
        for s in range(most, -1, -1)
    ]


class BohbPeer:
    """One searcher. hpbandster draws from numpy's global generator: it is seeded."""

    def __init__(self, problem: Problem, seed: int) -> None:
        from ray.tune.search.bohb import TuneBOHB

        np.random.seed(seed % 2**32)
        self._space = problem.search_space
        self._bohb = TuneBOHB(_configspace(plain(self._space)), metric="loss", mode="min", seed=seed % 2**32)
        self._full = problem.max_resource
        self._brackets: list[Bracket] = []
        self._next: list[Bracket] = []
        self._of: list[Bracket] = []
        self._params: list[Mapping[str, Any]] = []

    def ask(self) -> Order:
        for bracket in self._brackets:
            if bracket.waiting:
                trial = bracket.waiting.popleft()
                self._bohb.on_unpause(str(trial))
                return self._order(trial)
        if not self._brackets or self._brackets[-1].filled:
            self._next = self._next or brackets(self._full)
            self._brackets.append(self._next.pop(0))
        trial = len(self._params)
        found = self._bohb.suggest(str(trial)) or {}
        self._params.append(decode(self._space, found))
        self._of.append(self._brackets[-1])
        self._brackets[-1].add(trial)
        return self._order(trial)

    def _order(self, trial: int) -> Order:
        bracket = self._of[trial]
        return Order(trial, self._params[trial], bracket.levels[bracket.rung])

    def report(self, trial: int, epoch: int, loss: float) -> bool:
        return True

    def ended(self, trial: int, loss: float, *, failed: bool) -> None:
        bracket, lost = self._of[trial], failed or not math.isfinite(loss)
        budget = {"budget": bracket.levels[bracket.rung]}
        told = math.inf if lost else loss
        self._bohb.on_trial_result(str(trial), {"loss": told, "hyperband_info": budget})
        self._bohb.on_pause(str(trial))
        for one in bracket.result(trial, told):
            self._bohb.on_trial_complete(str(one))
        self._brackets = [one for one in self._brackets if one.trials or not one.filled]


def _configspace(given: Mapping[str, Range | Category]) -> Any:
    """hpbandster knows no ordinals, and no conditions on what is encoded as a number: all are asked for."""
    from ConfigSpace import ConfigurationSpace, hyperparameters

    space = ConfigurationSpace()
    for name, one in given.items():
        if isinstance(one, Category):
            space.add(hyperparameters.CategoricalHyperparameter(name, list(one.values)))
        elif one.whole:
            space.add(hyperparameters.UniformIntegerHyperparameter(name, int(one.low), int(one.high), log=one.log))
        else:
            space.add(hyperparameters.UniformFloatHyperparameter(name, one.low, one.high, log=one.log))
    return space
