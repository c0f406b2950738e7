"""What the store gives out and takes in: frozen values. ORM rows and connections never leave `store`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hpo_service.core.states import AttemptState, Origin, StudyState, TrialState


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyRow:
    """A study as it stands. Counts and best values are kept up to date in every commit, never recomputed."""

    id: str  # opaque, never reused
    name: str
    project: str
    created_by: str
    created_at: datetime
    state: StudyState
    reason: str
    definition: Mapping[str, Any]
    definition_version: int
    space_version: int
    space_digest: str
    priority: float
    parallel: int
    tags: tuple[str, ...]
    notes: str
    external: bool
    last_seq: int
    decision: int
    epoch: int
    next_trial: int
    counts: Mapping[str, int]  # trials by state
    imported: int  # of them, those that ended elsewhere: no budget counts them
    open_attempts: int
    best_trial: int | None  # of the first objective, among trials at the highest resource reached
    best_value: float | None
    best_resource: float | None
    best_violation: float | None  # 0: it keeps all constraints; None: there are none, or it is not known
    resource: float  # sum of the trials' progress
    cost_microdollars: int
    started_at: datetime | None  # first dispatch
    ended_at: datetime | None
    ending_reason: str  # why nothing more is started while running segments reach their target; else ""

    @property
    def kept_value(self) -> float | None:
        """`best_value`, where that trial keeps all constraints."""
        return self.best_value if self.best_violation == 0 or not self.definition.get("constraints") else None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRow:
    study_id: str
    number: int
    state: TrialState
    reason: str  # why it ended, or why it is where it is
    origin: Origin
    params: Mapping[str, Any]
    space_version: int
    retry_of: int | None
    parent: int | None
    parent_resource: float | None
    bracket: int | None
    rung: int | None
    fence: int  # of its newest attempt; 0 before the first
    target: float | None  # of its newest segment; None when unlimited or not started
    horizon: float | None
    resource: float  # reached
    step: int | None  # of its last report
    value: float | None  # of the first objective by `objective.at`; may be NaN or infinite
    values: Mapping[str, float]  # last (or best) value of every objective, last of every other metric
    attempts: int
    losses: int  # attempts that ended because a worker was lost
    cost_microdollars: int
    seconds: float  # trained
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    tags: tuple[str, ...] = ()
    notes: str = ""
    violation: float | None = None  # 0: it keeps all constraints; None: there are none, or it is not known


@dataclass(frozen=True, kw_only=True, slots=True)
class Improvement:
    """A change of a study's best trial, and what the study had spent by then."""

    seq: int  # the log position from which on it is so
    trial: int | None  # None: no trial ranks any more, or none keeps the constraints
    value: float | None
    resource: float | None
    at: datetime
    spent_resource: float
    cost_microdollars: int
    ended: int  # trials that had ended


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRow:
    study_id: str
    trial: int
    fence: int
    state: AttemptState
    outcome: str | None
    failure: str | None
    reason: str
    traceback: str
    launch: str
    lane: int
    width: int
    method: str
    worker_id: str | None
    node: str | None
    device: str | None
    client_id: str | None  # external workers
    lease_expires_at: datetime | None  # external workers
    from_resource: float
    target: float | None  # None: unlimited
    resumed_from: float | None
    resumed_path: str | None  # of the checkpoint that it went on from
    horizon: float | None  # None: unlimited
    resource: float
    seconds: float
    cost_microdollars: int
    peak_memory_bytes: int | None
    gpu_peak_memory_bytes: int | None
    gpu_utilisation: float | None
    environment_digest: str | None
    code_digest: str | None
    data_digest: str | None
    opened_at: datetime
    started_at: datetime | None
    reported_at: datetime | None  # its last report
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportRecord:
    study_id: str
    trial: int
    fence: int
    step: int
    resource: float
    metrics: Mapping[str, float]
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRow:
    """A stored checkpoint; `path` is relative to the storage root."""

    trial: int
    fence: int
    step: int
    resource: float
    path: str
    digest: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerRow:
    id: str
    node: str
    state: str
    device: str
    cpu: float
    gpu: float
    detail: Mapping[str, Any]
    controller: str
    seen_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRow:
    """A token without its secret: only the SHA-256 of that is stored."""

    id: str
    name: str
    role: str  # viewer | runner | editor | admin
    project: str  # "*" for every project
    may_submit_code: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where a proposal's attempt goes: its launch and lane, or the client that asked for it."""

    launch: str = ""
    lane: int = 0
    width: int = 1
    method: str = "plain"
    client_id: str | None = None
    lease_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenAttempt:
    """An attempt just opened: everything that a work order needs beside the definition."""

    study_id: str
    trial: int
    fence: int
    params: Mapping[str, Any]
    from_resource: float  # of the newest checkpoint that counts, else 0
    target: float  # math.inf when unlimited
    horizon: float
    launch: str
    lane: int
    width: int
    method: str
    checkpoints: tuple[CheckpointRow, ...] = ()  # newest first; a parent's where the trial has none
    parent: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Committed:
    seq: int
    decision: int
    opened: tuple[OpenAttempt, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class StartedItem:
    study_id: str
    trial: int
    fence: int
    worker_id: str
    node: str
    device: str
    resumed_from: float
    environment: Mapping[str, Any] = field(default_factory=dict)
    resumed_path: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportItem:
    study_id: str
    trial: int
    fence: int
    step: int
    resource: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointItem:
    path: str
    digest: str
    step: int
    resource: float
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenTrial:
    """A trial that ended elsewhere. `reports`: (step, resource, metrics), each step once."""

    params: Mapping[str, Any]
    state: TrialState  # finished, stopped or failed
    resource: float
    reports: Sequence[tuple[int, float, Mapping[str, float]]] = ()
    reason: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    tags: Sequence[str] = ()
    notes: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndedItem:
    """How an attempt ended; `outcome` and `failure` are words of `workers.contract`."""

    study_id: str
    trial: int
    fence: int
    outcome: str
    resource: float
    seconds: float
    failure: str | None = None
    reason: str = ""
    traceback: str = ""
    cost_microdollars: int = 0
    checkpoint: CheckpointItem | None = None
    peak_memory_bytes: int | None = None
    gpu_peak_memory_bytes: int | None = None
    gpu_utilisation: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedItem:
    """A checkpoint stored before the attempt's end."""

    study_id: str
    trial: int
    fence: int
    checkpoint: CheckpointItem


CollectItem = StartedItem | ReportItem | SavedItem | EndedItem


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """What became of one item: stored, repeated (same again, fine), fenced (a newer attempt exists),
    contradicted (another report is stored for that step), closed (the attempt is over), unknown."""

    status: str
    message: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remember:
    """An idempotency key: `scope` names who and where (principal, method, path); kept for 24 hours."""

    scope: str
    key: str
    request_digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page of rows and the opaque cursor of the next one, None at the end."""

    rows: Sequence[Any]
    next_cursor: str | None
    total: int | None = None
