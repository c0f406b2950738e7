"""HEBO (Cowen-Rivers et al. 2022; HEBO 0.3): a warped Gaussian process and several acquisitions at once, on full
trainings. It knows nothing of trials that are still running; what diverged or failed counts as the worst seen.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from hpo_service.bench.peers.clock import Order
from hpo_service.bench.peers.plain import Category, Range, plain
from hpo_service.bench.problems.base import Problem
from search_spaces.convert.optuna import decode


class HeboPeer:
    """One optimiser. HEBO draws from the global generators of numpy and torch: they are seeded."""

    def __init__(self, problem: Problem, seed: int) -> None:
        import torch
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        self._space = problem.search_space
        self._plain = plain(self._space)
        self._full = problem.max_resource
        space = DesignSpace().parse([_parameter(name, one) for name, one in self._plain.items()])
        self._hebo = HEBO(space, scramble_seed=seed)
        self._asked: list[Any] = []
        self._worst = 0.0

    def ask(self) -> Order:
        asked = self._hebo.suggest(1)
        self._asked.append(asked)
        found = asked.iloc[0].to_dict()
        internal = {
            name: str(found[name]) if isinstance(one, Category) else _number(one, found[name])
            for name, one in self._plain.items()
        }
        return Order(len(self._asked) - 1, decode(self._space, internal), self._full)

    def report(self, trial: int, epoch: int, loss: float) -> bool:
        return True

    def ended(self, trial: int, loss: float, *, failed: bool) -> None:
        lost = failed or not math.isfinite(loss)
        self._worst = self._worst if lost else max(self._worst, loss)
        self._hebo.observe(self._asked[trial], np.array([[self._worst if lost else loss]]))


def _parameter(name: str, one: Range | Category) -> dict[str, Any]:
    if isinstance(one, Category):
        return {"name": name, "type": "cat", "categories": list(one.values)}
    kind = {(False, False): "num", (True, False): "pow", (False, True): "int", (True, True): "pow_int"}
    return {"name": name, "type": kind[one.log, one.whole], "lb": one.low, "ub": one.high}


def _number(one: Range, value: float) -> float:
    return round(value) if one.whole else min(one.high, max(one.low, float(value)))
