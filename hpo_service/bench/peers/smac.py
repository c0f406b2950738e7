"""SMAC3's multi-fidelity facade, asked and told (Lindauer et al. 2022; SMAC 2.4): random forests over Hyperband.

SMAC knows nothing of checkpoints; a configuration that it wants at a higher budget goes on where it stands, which costs
it less than SMAC reckons. Budgets are rounded to whole epochs.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

from hpo_service.bench.peers.clock import Order
from hpo_service.bench.peers.halving import ETA
from hpo_service.bench.problems.base import Problem
from search_spaces.convert.configspace import to_configspace

TRIALS = 100_000
"""SMAC's own bound, out of reach: the virtual clock ends the search."""


class SmacPeer:
    """One facade, whose files go with it."""

    def __init__(self, problem: Problem, seed: int) -> None:
        import smac  # optional
        from smac.runhistory import StatusType, TrialValue

        self._value, self._status = TrialValue, StatusType
        folder = tempfile.mkdtemp(prefix="hpo-bench-smac-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        space = problem.search_space
        scenario = smac.Scenario(
            to_configspace(space, seed=seed),
            deterministic=True,
            n_trials=TRIALS,
            min_budget=1,
            max_budget=problem.max_resource,
            seed=seed,
            output_directory=Path(folder),
        )
        facade = smac.MultiFidelityFacade
        self._facade = facade(
            scenario,
            _never_called,
            intensifier=facade.get_intensifier(scenario, eta=ETA),
            overwrite=True,
            logging_level=False,
        )
        self._full = problem.max_resource
        self._numbers: dict[Any, int] = {}
        self._asked: dict[int, Any] = {}
        self._worst = 0.0

    def ask(self) -> Order:
        info = self._facade.ask()
        trial = self._numbers.setdefault(info.config, len(self._numbers))
        self._asked[trial] = info
        params = {name: getattr(value, "item", lambda v=value: v)() for name, value in dict(info.config).items()}
        return Order(trial, params, min(self._full, max(1, round(info.budget or self._full))))

    def report(self, trial: int, epoch: int, loss: float) -> bool:
        return True

    def ended(self, trial: int, loss: float, *, failed: bool) -> None:
        lost = failed or not math.isfinite(loss)
        self._worst = self._worst if lost else max(self._worst, loss)
        status = self._status.CRASHED if lost else self._status.SUCCESS
        value = self._value(cost=self._worst if lost else loss, time=1.0, status=status)
        self._facade.tell(self._asked.pop(trial), value, save=False)


def _never_called(config: Any, seed: int = 0, budget: float = 0.0) -> float:
    """What SMAC would train with; it only looks at the names of the arguments."""
    raise AssertionError(f"asked and told, SMAC trains nothing: {config}, {seed}, {budget}")
