"""A study's first state: what only the cluster or a worker can see is tried before anything is dispatched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hpo_service import algorithms
from hpo_service.controller import calibrations, orders
from hpo_service.controller.collector import Collector
from hpo_service.controller.flights import Flights
from hpo_service.controller.tried import Tried
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.states import StudyState
from hpo_service.executors.base import Executor
from hpo_service.store import decisions, studies
from hpo_service.store.database import Database
from hpo_service.store.rows import StudyRow
from workers.contract import FailureKind, Outcome

TRIES = 3
"""How often a preflight whose worker was lost is tried."""


@dataclass
class Preflights:
    """The preflights under way. `joining` says whether the cluster may still grow, so that lacking is not final;
    `knows_methods` whether a study's log says already how its trials are trained."""

    db: Database
    executor: Executor
    collector: Collector
    flights: Flights
    storage_root: Path
    joining: Callable[[], bool]
    knows_methods: Callable[[str], bool]
    _tries: dict[str, int] = field(default_factory=dict)
    _open: dict[str, Mapping[str, object]] = field(default_factory=dict)  # with the configuration that is tried

    def step(self, row: StudyRow, definition: StudyDefinition) -> bool:
        """Move the study's preflight on; True when it should be looked at again at once."""
        tried = self.collector.take_preflight(row.id)
        if tried is not None:
            return self._judge(row, definition, tried, self._open.pop(row.id, None))
        if row.id in self._open:
            return False
        lacking = self.executor.can_ever_fit(definition.resources.cpu, definition.resources.gpu)
        if lacking is not None:
            return False if self.joining() else self._fail(row, lacking)
        self._send(row, definition)
        return False

    def _send(self, row: StudyRow, definition: StudyDefinition) -> None:
        params = trial_params(definition)
        self._tries[row.id] = self._tries.get(row.id, 0) + 1
        self._open[row.id] = params
        launch = orders.preflight_launch(
            definition,
            row.id,
            params,
            target=algorithms.segment_target(definition, params),
            number=self._tries[row.id],
            storage_root=self.storage_root,
            calibrate=None if self.knows_methods(row.id) else calibrations.request(definition),
        )
        self.flights.add((o.key for o in launch.orders), cpu=launch.cpu, gpu=launch.gpu)
        self.executor.launch(launch)
        trials = definition.budget.trials
        wanted = row.parallel if trials is None else min(row.parallel, trials)
        self.executor.warm(launch.cpu, launch.gpu, wanted)  # the trials come right after

    def _judge(
        self, row: StudyRow, definition: StudyDefinition, tried: Tried, params: Mapping[str, object] | None
    ) -> bool:
        ended = tried.ended
        if ended.outcome is Outcome.LOST and self._tries.get(row.id, 0) < TRIES:
            return True
        if ended.outcome in (Outcome.PAUSED, Outcome.CANCELLED):  # never judged: the study was paused, or its turn lost
            return True
        self._tries.pop(row.id, None)
        if ended.failure in (FailureKind.TIMED_OUT, FailureKind.STALLED) and orders.may_be_quiet(definition):
            quiet = f"preflight passed as far as it went: no report within {orders.QUIET_S:g} s"
            return self._move(row, StudyState.RUNNING, quiet)
        if ended.outcome in (Outcome.FAILED, Outcome.LOST):
            return self._fail(row, "\n".join(part for part in (ended.reason, ended.traceback) if part))
        chosen = calibrations.first_event(params or trial_params(definition), tried)
        if chosen is not None:
            measured = calibrations.cached(definition, chosen.choices)
            chosen = calibrations.within(chosen, definition, self.executor.capacity())
            decisions.choose_methods(self.db, row.id, chosen, epoch=row.epoch, measured=measured)
        return self._move(row, StudyState.RUNNING, "preflight passed")

    def _fail(self, row: StudyRow, reason: str) -> bool:
        return self._move(row, StudyState.FAILED, f"preflight: {reason}")

    def _move(self, row: StudyRow, state: StudyState, reason: str) -> bool:
        """Only as the study was read: a user who paused or stopped it meanwhile wins, and it is tried again later."""
        studies.set_state(self.db, row.id, state, reason, epoch=row.epoch, decision=row.decision)
        return True


def trial_params(definition: StudyDefinition) -> dict[str, object]:
    """The configuration that preflight tries: the defaults where there are any, else the first draw."""
    space = definition.search_space
    if space.has_default:
        return dict(space.default_params())
    return dict(space.sample(np.random.default_rng(definition.seed)))
