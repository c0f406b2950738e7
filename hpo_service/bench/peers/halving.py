"""Two references that need no library: asynchronous halving that resumes, and "one epoch of many, then the best".

Both draw configurations at random. Not here: what other libraries do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpo_service.bench.peers.clock import Order
from hpo_service.bench.problems.base import Problem

ETA = 3
"""The reduction factor of every method with rungs, the libraries' own default or not: none has a finer ladder."""


def rungs(full: int, eta: int = ETA) -> tuple[int, ...]:
    """1, eta, eta², … below `full`, and `full`."""
    found = [1]
    while found[-1] * eta < full:
        found.append(found[-1] * eta)
    return (*found, full) if full > 1 else (1,)


class _Drawing:
    """Random configurations under numbers, by a generator of the seed's own."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._space = problem.search_space
        self._rng = np.random.default_rng(seed)
        self._params: list[Mapping[str, Any]] = []

    def new(self, until: int) -> Order:
        self._params.append(self._space.sample(self._rng))
        return self.order(len(self._params) - 1, until)

    def order(self, trial: int, until: int) -> Order:
        return Order(trial, self._params[trial], until)


class Asha:
    """Asynchronous successive halving (Li et al. 2020, algorithm 2): a free worker takes up the best third of a rung
    was not taken up yet, from the highest rung down, else a new configuration. Paused trials go on where they stand."""

    def __init__(self, problem: Problem, seed: int, *, eta: int = ETA) -> None:
        self._drawing = _Drawing(problem, seed)
        self._eta = eta
        self._rungs = rungs(problem.max_resource, eta)
        self._reached: list[list[tuple[float, int]]] = [[] for _ in self._rungs]
        self._promoted: list[set[int]] = [set() for _ in self._rungs]
        self._at: dict[int, int] = {}

    def ask(self) -> Order:
        for rung in reversed(range(len(self._rungs) - 1)):
            trial = self._promotable(rung)
            if trial is not None:
                self._promoted[rung].add(trial)
                self._at[trial] = rung + 1
                return self._drawing.order(trial, self._rungs[rung + 1])
        order = self._drawing.new(self._rungs[0])
        self._at[order.trial] = 0
        return order

    def _promotable(self, rung: int) -> int | None:
        best = sorted(self._reached[rung])[: len(self._reached[rung]) // self._eta]
        waiting = (t for loss, t in best if t not in self._promoted[rung] and math.isfinite(loss))
        return next(waiting, None)

    def report(self, trial: int, epoch: int, loss: float) -> bool:
        return True

    def ended(self, trial: int, loss: float, *, failed: bool) -> None:
        self._reached[self._at[trial]].append((math.inf if failed else loss, trial))


class OneEpochThenBest:
    """New configurations for one epoch, and the best of them in full, half of what is spent on each.

    Always the best not trained in full yet; a full training begins as soon as the epochs of trials begun for one epoch
    exceed those given to full trainings by half a full training. So half of any budget goes to either, whatever the
    budget is, and at every reading. After "1-Epoch" of Egelé et al. 2023 (Is one epoch all you need for multi-fidelity
    hyperparameter optimization?), who train the best three in full when the budget ends.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self._drawing = _Drawing(problem, seed)
        self._full = problem.max_resource
        self._screened = 0
        self._trained = 0.0
        self._waiting: list[tuple[float, int]] = []
        self._whole: set[int] = set()

    def ask(self) -> Order:
        if self._screened >= self._trained + self._full / 2 and self._waiting:
            best = min(self._waiting)
            self._waiting.remove(best)
            self._whole.add(best[1])
            self._trained += self._full - 1
            return self._drawing.order(best[1], self._full)
        self._screened += 1
        return self._drawing.new(1)

    def report(self, trial: int, epoch: int, loss: float) -> bool:
        return True

    def ended(self, trial: int, loss: float, *, failed: bool) -> None:
        if trial not in self._whole and not failed and math.isfinite(loss):
            self._waiting.append((loss, trial))
