"""The service itself on a virtual clock, for one study at a time: real controller, store and algorithm, no training.

A laboratory is a database of its own in a temporary folder, whose clock is the simulation's, and a simulated executor
that trains along a problem's curves. Its database does not wait for the disk: nothing in it outlives the process, and
an instrument should not measure the disk. The product's own settings are untouched. Knows no method by name.
"""

from __future__ import annotations

import heapq
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event

from hpo_service.bench.problems.base import Problem
from hpo_service.bench.runs import Recorder
from hpo_service.controller.loop import Controller
from hpo_service.core.algorithm import Algorithm
from hpo_service.core.algorithm_specs import RandomSpec
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.events import Event
from hpo_service.core.proposals import Continue, Proposal, Start
from hpo_service.core.states import StudyState, TrialState
from hpo_service.decider import Decider, Fold
from hpo_service.executors.base import Need
from hpo_service.executors.simulated import SimulatedExecutor
from hpo_service.settings import load_settings
from hpo_service.store import importing, studies
from hpo_service.store.database import Database, open_database
from hpo_service.store.rows import GivenTrial, StudyRow
from workers.contract import Ended, Message, Reported

EPOCH_US = 1_767_225_600_000_000
"""When the virtual clock starts, microseconds since 1970: 1 January 2026."""
NEVER_S = 1e9
"""A lease that no virtual time outlasts."""
METRIC = "value"
ONE = Need(study_id="", cpu=1.0, gpu=0.0)


class Died(RuntimeError):
    """What a configuration's training raises where the problem says that it fails."""


class Simulation(SimulatedExecutor):
    """Trains along the problem's curves and tells `recorder` of every report. A virtual second is one epoch of mean
    speed.

    A poll goes on until an attempt ended: only then does a worker want something to do, and no algorithm of the service
    interrupts a segment; so deciding once per ended attempt is what deciding after every report would come to.
    """

    def __init__(self, problem: Problem, recorder: Recorder, *, workers: int, budget: float) -> None:
        def curve(params: Mapping[str, Any], resource: float, _: int) -> dict[str, float]:
            epoch, dies = round(resource), problem.fails_after(params)
            if dies is not None and epoch > dies:
                raise Died(f"training failed in epoch {epoch}")
            return {METRIC: float(problem.curve(params)[epoch - 1])}

        super().__init__(curve, cpus=workers, seconds_per_resource=problem.speed if workers > 1 else 1.0)
        self.full = problem.max_resource
        self.end = budget * self.full  # virtual seconds; nothing happens later
        self._recorder = recorder

    def poll(self, timeout_s: float) -> Sequence[Message]:
        found: list[Message] = []
        while not any(isinstance(message, Ended) for message in found):
            more = super().poll(timeout_s) if self._more() else ()
            if not more:
                break
            found += more
        for message in found:
            if isinstance(message, Reported):
                self._recorder.tell(message.sent_at / self.full, message.metrics[METRIC])
                self._recorder.epochs += 1
        return found

    def _more(self) -> bool:
        """Whether anything is still to happen, or to be said, before the time is over."""
        while self._heap and self._heap[0][2].over:
            heapq.heappop(self._heap)
        return bool(self._outbox) or bool(self._heap and self._heap[0][0] <= self.end + 1e-9)


class Timed:
    """An algorithm whose time to decide is noted: taking in what happened since, and proposing. Everything else is the
    algorithm's own."""

    def __init__(self, algorithm: Algorithm, recorder: Recorder) -> None:
        self._algorithm = algorithm
        self._recorder = recorder
        self._since_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._algorithm, name)

    def observe(self, event: Event) -> None:
        began = time.process_time()
        self._algorithm.observe(event)
        self._since_s += time.process_time() - began

    def propose(self, slots: int, *, most: int | None = None) -> Sequence[Proposal]:
        began = time.process_time()
        proposals = self._algorithm.propose(slots, most=most)
        self._since_s += time.process_time() - began
        placed = [p for p in proposals if isinstance(p, Start | Continue)]
        for _ in placed:  # asked once for several workers: each has its share
            self._recorder.decided(1e3 * self._since_s / len(placed))
        self._recorder.trials += sum(isinstance(p, Start) for p in placed)
        if placed:
            self._since_s = 0.0
        return proposals


class Laboratory:
    """One store and what runs on it, one study after another."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._now: Callable[[], float] = lambda: 0.0
        self._passed = 0.0  # virtual seconds of the studies before
        self._settings = load_settings(data=folder, lease_s=NEVER_S)
        self._settings.resolved_storage.mkdir(parents=True, exist_ok=True)
        self.db = open_database(self._settings.resolved_database_url, clock=self._clock)
        _in_no_hurry(self.db)

    def _clock(self) -> int:
        return EPOCH_US + round(1e6 * (self._passed + self._now()))

    def run(
        self, problem: Problem, definition: StudyDefinition, recorder: Recorder, *, workers: int, budget: float
    ) -> StudyRow:
        """Search until the budget (in FTE) is over or the study ends; the study as it stands then."""
        executor = Simulation(problem, recorder, workers=workers, budget=budget)
        self._now = lambda: executor.now
        controller = Controller(
            db=self.db,
            executor=executor,
            settings=self._settings,
            holder="bench",
            storage_root=self._settings.resolved_storage,
        )
        controller.decider.chose = controller.decider.ending = lambda _: None  # nobody looks at the models' views
        _time(controller.decider, recorder)
        study = studies.create_study(self.db, definition, created_by="bench", state=StudyState.RUNNING)
        end = executor.end
        while True:
            more = executor.now < end and (controller.step() or self._granted_more(controller, study.id, executor))
            if more and executor.free_workers(ONE) > 0:
                continue  # where none is free, nothing can begin before an attempt ends
            if not controller.collector.collect_once():
                break
        row = studies.get_study(self.db, study.id)
        if row.state is StudyState.RUNNING:
            studies.set_state(self.db, study.id, StudyState.STOPPED, "the budget is over")
        self._passed += executor.now
        self._now = lambda: 0.0
        executor.close()
        return row

    def _granted_more(self, controller: Controller, study_id: str, executor: Simulation) -> bool:
        """Raise the budget of resource where it keeps a worker idle before the time is over: trials failed, or were
        faster than the mean. A user with time left would."""
        if executor.free_workers(ONE) == 0:
            return False
        fold = controller.decider.fold(study_id)
        definition = fold.definition
        if "budget.resource" not in (fold.algorithm.ending() or ""):
            return False
        full, limit = executor.full, definition.budget.resource
        assert limit is not None
        more = max(full, math.ceil((executor.end - executor.now) * definition.parallel))
        budget = definition.budget.model_copy(update={"resource": limit + more})
        raised = definition.model_copy(update={"budget": budget})
        studies.patch_study(self.db, study_id, raised, changed=("budget.resource",), reason="there is time left")
        return True

    def remember(self, problem: Problem, definition: StudyDefinition) -> None:
        """Store what was found elsewhere as past studies of the definition's project."""
        for found in problem.elsewhere:
            objective = definition.objective.model_copy(
                update={"direction": "maximize" if found.maximize else "minimize"}
            )
            past = definition.model_copy(
                update={"name": found.title, "objectives": (objective,), "algorithm": RandomSpec()}
            )
            row = studies.create_study(self.db, past, created_by="bench", state=StudyState.PAUSED)
            given = [
                GivenTrial(
                    params=params,
                    state=TrialState.FINISHED if value is not None and math.isfinite(value) else TrialState.FAILED,
                    resource=resource,
                    reports=() if value is None else [(0, resource, {METRIC: value})],
                )
                for params, value, resource in found.trials
            ]
            importing.import_trials(self.db, row.id, given)

    def close(self) -> None:
        """Let go of the database."""
        self.db.close()


@contextmanager
def laboratory() -> Iterator[Laboratory]:
    """A laboratory in a temporary folder, which goes with it."""
    with tempfile.TemporaryDirectory(prefix="hpo-bench-", ignore_cleanup_errors=True) as folder:
        found = Laboratory(Path(folder))
        try:
            yield found
        finally:
            found.close()


def _time(decider: Decider, recorder: Recorder) -> None:
    """Have all of its folds' decisions timed, those too that it throws away and makes anew."""
    whole = decider.fold

    def fold(study_id: str) -> Fold:
        found = whole(study_id)
        if not isinstance(found.algorithm, Timed):
            found.algorithm = Timed(found.algorithm, recorder)
        return found

    decider.fold = fold  # type: ignore[method-assign]  # the controller makes its decider itself


def _in_no_hurry(db: Database) -> None:
    """Connections from now on do not wait until the disk has what they wrote."""
    db.engine.dispose()

    @event.listens_for(db.engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")
