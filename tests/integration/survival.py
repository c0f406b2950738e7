"""Runs whole studies through the real store, fold and controller on the simulated executor, crashing at will.

A crash is an exception out of a fail-point: controller, fold and executor are thrown away as `kill -9` would, and new
ones go on from the database. What was acknowledged before the crash is remembered, to be looked for afterwards.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpo_service.controller.loop import Controller
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.states import TERMINAL_TRIAL, StudyState, TrialState
from hpo_service.executors.curves import PowerLaw
from hpo_service.executors.simulated import SimulatedExecutor
from hpo_service.executors.simulated_gpu import SimulatedGpus
from hpo_service.settings import Settings
from hpo_service.store import collecting, decisions, reading, studies
from hpo_service.store.database import Database, open_database
from hpo_service.store.rows import Collected, CollectItem, ReportItem, TrialRow
from workers.contract import Calibrated, Launch, WorkOrder

PASSES = 20_000


class Crash(BaseException):
    """The process is gone, here and now."""


@dataclass
class CrashAt:
    """A fail-point that crashes at its n-th call; `calls` counts and `names` collects."""

    at: int | None = None
    calls: int = 0
    names: list[str] = field(default_factory=list)

    def __call__(self, name: str) -> None:
        self.calls += 1
        self.names.append(name)
        if self.calls == self.at:
            raise Crash(name)


def definition(algorithm: Mapping[str, Any], **more: Any) -> StudyDefinition:
    """A study of a made-up function with a known optimum, metric `val_loss`."""
    return parse(
        {
            "name": f"survival {algorithm['name']}",
            "objective": {"metric": "val_loss", "direction": "minimize"},
            "space": {
                "lr": {"type": "loguniform", "low": 1e-5, "high": 1.0, "default": 1e-4},
                "optimizer": {"type": "choice", "values": ["sgd", "adam"]},
                "momentum": {"type": "uniform", "low": 0.0, "high": 0.99, "when": {"optimizer": "sgd"}},
            },
            "algorithm": algorithm,
            "trainer": {"function": "nowhere:train"},
            "parallel": 6,
            "seed": 7,
            **more,
        }
    )


@dataclass
class World:
    """A database that outlives its controllers. `acknowledged` holds the reports whose commit was confirmed."""

    url: str
    storage: Path
    cpus: float = 3.0
    loss_rate: float = 0.0
    failure_rate: float = 0.0
    holder: str = "controller"
    lease_s: float = 60.0
    calibrated: Callable[[WorkOrder], Calibrated | None] = lambda _: None
    narrows: Callable[[Launch], int | None] = lambda _: None
    device: Callable[[], SimulatedGpus | None] = lambda: None  # of each controller's executor
    launches: list[Launch] = field(default_factory=list)  # all that were sent
    idle_s: float = 0.0  # how long to wait when there is nothing to do, where another controller may lead
    acknowledged: set[tuple[str, int, int, int]] = field(default_factory=set)
    crashes: int = 0
    _numbers: Any = field(default_factory=itertools.count)
    _idle: threading.Event = field(default_factory=threading.Event)

    def run(self, study_id: str, failpoint: Callable[[str], None] | None = None) -> None:
        """Lead the study to its end; raises Crash where the fail-point says so."""
        db = open_database(self.url)
        try:
            if failpoint is not None:
                db.failpoint = failpoint
            self._lead(db, study_id)
        except Crash:
            self.crashes += 1
            db.failpoint = lambda _: None
            raise
        finally:
            db.close()

    def run_through(self, study_id: str, failpoint: Callable[[str], None] | None = None) -> None:
        """As `run`, going on with new controllers after every crash."""
        while True:
            try:
                return self.run(study_id, failpoint)
            except Crash:
                continue

    def _lead(self, db: Database, study_id: str) -> None:
        number = next(self._numbers)
        executor = SimulatedExecutor(
            PowerLaw(),
            cpus=self.cpus,
            seconds_per_resource=lambda params: 0.5 + abs(hash(round(params["lr"], 9))) % 7,
            seed=number,
            loss_rate=self.loss_rate,
            failure_rate=self.failure_rate,
            checkpoint_every=1.0,
            calibrated=self.calibrated,
            narrows=self.narrows,
            device=self.device(),
        )
        send = executor.launch

        def launch(sent: Launch) -> None:
            self.launches.append(sent)
            send(sent)

        executor.launch = launch  # type: ignore[method-assign]
        controller = Controller(
            db=db,
            executor=executor,
            settings=Settings(data=self.storage, lease_s=self.lease_s),
            holder=f"{self.holder} {number}",
            storage_root=self.storage,
        )
        if not self.idle_s:
            decisions.release_leases(db, f"{self.holder} {number - 1}")
        self._watch(controller)
        for _ in range(PASSES):
            again = controller.step()
            collected = controller.collector.collect_once()
            if again or collected:
                continue
            if studies.get_study(db, study_id).state is StudyState.FINISHED:
                return
            if self.idle_s:
                self._idle.wait(self.idle_s)
        study = studies.get_study(db, study_id)
        raise AssertionError(f"the study did not end within {PASSES} passes: {study}")

    def _watch(self, controller: Controller) -> None:
        """Note which reports were acknowledged: committed, and `collect` came back."""
        original = controller.collector.store

        def store(messages: Any) -> None:
            pending = [(m.key.study_id, m.key.trial, m.key.fence, m.step) for m in messages if hasattr(m, "metrics")]
            original(messages)
            self.acknowledged.update(pending)

        controller.collector.store = store  # type: ignore[method-assign]


def everything(db: Database, study_id: str) -> dict[int, TrialRow]:
    return {row.number: row for row in reading.iter_trials(db, study_id)}


def outcome(trials: Mapping[int, TrialRow]) -> dict[int, tuple[Any, ...]]:
    """What a synchronous study must agree on, however it was disturbed."""
    return {n: (t.params, t.state, t.resource, t.value, t.bracket, t.origin) for n, t in trials.items()}


def terminal(trials: Mapping[int, TrialRow]) -> dict[int, tuple[TrialState, int]]:
    return {n: (t.state, t.fence) for n, t in trials.items() if t.state in TERMINAL_TRIAL}


def collect_one(db: Database, item: CollectItem) -> Collected:
    return collecting.collect(db, [item])[0]


def stored_reports(db: Database, study_id: str) -> set[tuple[str, int, int, int]]:
    return {(study_id, r.trial, r.fence, r.step) for r in reading.iter_reports(db, study_id)}


__all__ = [
    "Crash",
    "CrashAt",
    "ReportItem",
    "World",
    "definition",
    "everything",
    "outcome",
    "stored_reports",
    "terminal",
]
