"""The whole installation at a glance: nodes, workers and what they train, who shares them, what failed last.

The facts are read at most once a second for all who look. Callers of one project see what runs for others, but not
whose it is.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from hpo_service.api import schemas
from hpo_service.api.access import ANY_PROJECT, Principal
from hpo_service.api.schemas import Answer
from hpo_service.core.states import StudyState
from hpo_service.store import cluster as facts
from hpo_service.store import finding, workers
from hpo_service.store.cluster import Busy, Running
from hpo_service.store.database import Database
from hpo_service.store.rows import StudyRow, WorkerRow
from hpo_service.views.timeline import union

FRESH_S = 1.0
WINDOW = timedelta(minutes=5)
MAX_STUDIES = 50
"""So many active studies are looked at for how busy workers were."""
_SHARING = (StudyState.RUNNING, StudyState.PREFLIGHT)


class RunningAttempt(Answer):
    """An open attempt; of another project's study only since when it runs."""

    study: str | None
    study_name: str | None
    trial: int | None
    fence: int | None
    since: datetime


class BusyWorker(schemas.Worker):
    running: list[RunningAttempt] = Field(description="The lanes of one launch train together; others wait their turn.")
    utilisation: float = Field(description="The share of the last minutes in which it trained.", examples=[0.93])


class Gpu(Answer):
    name: str
    memory_bytes: int | None


class Node(Answer):
    node: str
    workers: int
    busy: int
    cpu: float = Field(description="Of its workers together.")
    gpu: float
    gpus: list[Gpu]


class Sharing(Answer):
    """An active study, and what it may have of the workers."""

    id: str
    name: str
    state: StudyState
    priority: float
    share: float = Field(description="Of the priorities of all studies that share the workers; 0 for external ones.")
    open: int
    waiting: int
    parallel: int


class FailedAttempt(Answer):
    study: str
    study_name: str
    trial: int
    fence: int
    at: datetime
    worker: str | None
    failure: str
    reason: str


class Cluster(Answer):
    seq: int
    nodes: list[Node]
    workers: list[BusyWorker]
    studies: list[Sharing]
    failures: list[FailedAttempt]


@dataclass(frozen=True, slots=True)
class _Facts:
    workers: Sequence[WorkerRow]
    studies: Sequence[StudyRow]
    running: Sequence[Running]
    busy: Busy


class Glance:
    """The facts, read anew when they are older than a second."""

    def __init__(self, db: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._clock = clock
        self._guard = threading.Lock()
        self._known: tuple[float, _Facts] | None = None

    def at(self, caller: Principal) -> Cluster:
        """The installation as the caller may see it."""
        found = self._facts()
        project = None if caller.project == ANY_PROJECT else caller.project
        visible = [study for study in found.studies if caller.sees(study.project)]
        names = {study.id: study.name for study in visible}
        by_worker: dict[str, list[RunningAttempt]] = defaultdict(list)
        for attempt in found.running:
            if attempt.worker_id is not None:
                by_worker[attempt.worker_id].append(_running(attempt, names))
        return Cluster(
            seq=sum(study.last_seq for study in found.studies),
            nodes=_nodes(found.workers),
            workers=[_worker(row, by_worker[row.id], found.busy) for row in found.workers],
            studies=_sharing(visible, found.studies),
            failures=[_failure(failure) for failure in facts.failures(self._db, project=project)],
        )

    def _facts(self) -> _Facts:
        with self._guard:
            now = self._clock()
            if self._known is None or now - self._known[0] >= FRESH_S:
                self._known = (now, self._read())
            return self._known[1]

    def _read(self) -> _Facts:
        active = finding.active_studies(self._db)
        newest = sorted((s for s in active if s.started_at), key=lambda s: s.started_at or s.created_at)[-MAX_STUDIES:]
        return _Facts(
            workers=workers.workers(self._db),
            studies=active,
            running=facts.running(self._db, [study.id for study in active]),
            busy=facts.busy(self._db, [study.id for study in newest if not study.external], window=WINDOW),
        )


def _running(attempt: Running, names: Mapping[str, str]) -> RunningAttempt:
    if attempt.study_id not in names:
        return RunningAttempt(study=None, study_name=None, trial=None, fence=None, since=attempt.since)
    return RunningAttempt(
        study=attempt.study_id,
        study_name=names[attempt.study_id],
        trial=attempt.trial,
        fence=attempt.fence,
        since=attempt.since,
    )


def _worker(row: WorkerRow, running: list[RunningAttempt], busy: Busy) -> BusyWorker:
    fields: dict[str, Any] = {name: getattr(row, name) for name in schemas.Worker.model_fields}
    return BusyWorker(**{**fields, "detail": dict(row.detail)}, running=running, utilisation=_utilisation(row, busy))


def _utilisation(row: WorkerRow, busy: Busy) -> float:
    """Of the window in which no attempt is missing; where nothing is known of it, whether the worker is busy now."""
    spans = busy.spans.get(row.id)
    window = busy.until - busy.since
    if spans is None or window <= 0:
        return 1.0 if row.state == "busy" else 0.0
    return round(min(union(spans) / window, 1.0), 4)


def _nodes(rows: Sequence[WorkerRow]) -> list[Node]:
    by_node: dict[str, list[WorkerRow]] = defaultdict(list)
    for row in rows:
        by_node[row.node].append(row)
    return [
        Node(
            node=node,
            workers=len(mine),
            busy=sum(row.state == "busy" for row in mine),
            cpu=sum(row.cpu for row in mine),
            gpu=sum(row.gpu for row in mine),
            gpus=[
                Gpu(name=str(row.detail["gpu_name"]), memory_bytes=row.detail.get("gpu_memory_bytes"))
                for row in mine
                if row.detail.get("gpu_name")
            ],
        )
        for node, mine in sorted(by_node.items())
    ]


def _sharing(visible: Sequence[StudyRow], everybody: Sequence[StudyRow]) -> list[Sharing]:
    total = sum(study.priority for study in everybody if _shares(study))
    return [
        Sharing(
            id=study.id,
            name=study.name,
            state=study.state,
            priority=study.priority,
            share=study.priority / total if _shares(study) else 0.0,
            open=study.open_attempts,
            waiting=int(study.counts.get("waiting", 0)),
            parallel=study.parallel,
        )
        for study in visible
    ]


def _shares(study: StudyRow) -> bool:
    return study.state in _SHARING and not study.external


def _failure(found: facts.Failure) -> FailedAttempt:
    return FailedAttempt(
        study=found.study_id,
        study_name=found.study_name,
        trial=found.trial,
        fence=found.fence,
        at=found.at,
        worker=found.worker_id,
        failure=found.failure,
        reason=found.reason,
    )
