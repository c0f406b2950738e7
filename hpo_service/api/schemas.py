"""What goes over the wire: response and request models with examples, and how rows of the store become them.

Times are RFC 3339 UTC, money integer micro-dollars, non-finite numbers the strings "NaN", "Infinity", "-Infinity".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from hpo_service.api.notes import notes_html
from hpo_service.core import constraints as constrained
from hpo_service.core.constraints import Constraint
from hpo_service.core.states import AttemptState, Origin, StudyState, TrialState
from hpo_service.store.curve_stats import CurveStats as StoredStats
from hpo_service.store.rows import AttemptRow, ReportRecord, StudyRow, TokenRow, TrialRow, WorkerRow

Item = TypeVar("Item", bound=BaseModel)
_FEASIBLE = "Whether it keeps all constraints; null where the study has none, and where that is not known."
_BREAKS = "Which constraints it breaks by how much, and what is not known, in words; empty where it keeps all."


class Answer(BaseModel):
    """Base of every response."""

    model_config = ConfigDict(ser_json_inf_nan="strings", extra="forbid")


class Page(Answer, Generic[Item]):
    """One page of a list; `next_cursor` is null at the end."""

    items: list[Item]
    next_cursor: str | None = None
    total: int | None = Field(default=None, description="How many there are in all, where that is cheap to know.")


class Items(Answer, Generic[Item]):
    """A list that comes whole."""

    items: list[Item]


class Best(Answer):
    """The best trial: of those that keep all constraints; where none does, the one that breaks them least."""

    trial: int
    value: float | None
    resource: float | None
    params: dict[str, Any]
    feasible: bool | None = Field(default=None, description=_FEASIBLE)
    breaks: str = Field(default="", description=_BREAKS, examples=["breaks latency_ms by 3.2"])


class Rate(Answer):
    """What a study does in an hour, measured over the last minutes (`seconds`)."""

    trials_per_hour: float = Field(description="Trials that came to rest: finished, stopped, failed or paused.")
    resource_per_hour: float
    seconds: float


class BudgetRow(Answer):
    name: str = Field(examples=["trials"])
    used: float | None = Field(description="Null where only the algorithm knows: patience.")
    limit: float | None = Field(description="Null for `patience: auto`, which is a rule and no number.")
    unit: str


class Chosen(Answer):
    """What `algorithm: auto` picked when the study was made."""

    method: str = Field(examples=["gp"])
    reason: str
    text: str


class WarmSource(Answer):
    study: str
    name: str
    trials: int = Field(description="Results that were taken of it.")
    shared: list[str] = Field(description="The parameters that both have.")
    likeness: float = Field(description="How alike the spaces are, 0 to 1.")


class WarmStart(Answer):
    """What the study began from."""

    mode: str = Field(examples=["auto"])
    text: str
    sources: list[WarmSource]
    portfolio: list[dict[str, Any]] = Field(description="Configurations that are tried after the defaults.")


class Sparkline(Answer):
    """Best so far at whatever resource: when the study's best changed, in hours since the first dispatch, and the best
    value that led by then, which never becomes worse."""

    hours: list[float]
    value: list[float]


class Study(Answer):
    """A study as it stands."""

    id: str = Field(examples=["s7h2k9x"])
    name: str = Field(examples=["digits-hyperband"])
    project: str = Field(examples=["default"])
    created_by: str
    created_at: datetime
    state: StudyState
    reason: str
    ending_reason: str = Field(description="Why nothing more is started while running segments end; else empty.")
    metric: str = Field(default="", description="Of the first objective.", examples=["val_accuracy"])
    direction: str = Field(default="", examples=["maximize"])
    definition: dict[str, Any] | None = Field(description="Null in lists, unless ?definition=1.")
    definition_version: int
    space_version: int
    space_digest: str
    priority: float
    parallel: int
    tags: list[str]
    notes: str
    external: bool
    last_seq: int
    counts: dict[str, int] = Field(
        examples=[{"waiting": 0, "running": 4, "paused": 9, "finished": 31, "stopped": 0, "failed": 1}]
    )
    trials: int = Field(examples=[45])
    open_attempts: int
    best: Best | None
    resource: float
    cost_microdollars: int
    started_at: datetime | None
    ended_at: datetime | None
    budget: list[BudgetRow] = Field(default_factory=list, description="Every bound that is set, with what is used.")
    rate: Rate | None = Field(default=None, description="Null unless it runs, and in its first seconds.")
    time_left_s: float | None = Field(
        default=None, description="What is left of the budget at this rate; null where that cannot be foreseen."
    )
    decision_reason: str | None = Field(default=None, description="Of the newest decision. Null in lists.")
    last_report_at: datetime | None = Field(default=None, description="Null in lists.")
    notes_html: str | None = Field(default=None, description="The notes' Markdown as safe HTML. Null in lists.")
    sparkline: Sparkline | None = Field(default=None, description="In lists, with ?sparkline=1.")
    chosen: Chosen | None = Field(default=None, description="What `auto` picked; null for other algorithms, in lists.")
    warm_start: WarmStart | None = Field(default=None, description="Past studies that it began from. Null in lists.")


class Trial(Answer):
    """One configuration under test."""

    study_id: str
    number: int = Field(examples=[17])
    state: TrialState
    reason: str
    origin: Origin
    params: dict[str, Any] = Field(examples=[{"lr": 0.003, "batch_size": 64}])
    space_version: int
    retry_of: int | None
    parent: int | None
    parent_resource: float | None
    bracket: int | None
    rung: int | None
    fence: int
    target: float | None
    horizon: float | None
    resource: float
    step: int | None
    value: float | None
    values: dict[str, float] = Field(examples=[{"val_accuracy": 0.971, "val_loss": 0.11}])
    attempts: int
    losses: int
    cost_microdollars: int
    seconds: float
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    tags: list[str]
    notes: str
    feasible: bool | None = Field(default=None, description=_FEASIBLE)
    violations: dict[str, float | None] = Field(
        default_factory=dict,
        description="By constrained metric how much it breaks the bound, in the metric's own units; 0 or less: it "
        "keeps it, null: not known.",
        examples=[{"latency_ms": 3.2}],
    )
    breaks: str = Field(default="", description=_BREAKS, examples=["breaks latency_ms by 3.2"])


class CurveStats(Answer):
    """What a trial's curve of one metric comes to. `first` and `last` may be "NaN" or infinite, the others are of its
    finite values; `best` is null where it is not known whether more or less is better."""

    first: float
    last: float
    best: float | None
    min: float | None
    max: float | None


class ListedTrial(Trial):
    stats: dict[str, CurveStats] | None = Field(
        default=None,
        exclude_if=lambda stats: stats is None,
        description="By metric, with `?stats=`; a metric that the trial did not report is missing.",
    )


class Attempt(Answer):
    """One placement of a trial on a worker, for one segment."""

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
    client_id: str | None
    lease_expires_at: datetime | None
    from_resource: float
    target: float | None
    resumed_from: float | None
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
    ended_at: datetime | None


class TrialWithAttempts(Trial):
    attempt_rows: list[Attempt]
    notes_html: str = Field(description="The notes' Markdown as safe HTML.")


class Report(Answer):
    step: int = Field(examples=[3])
    resource: float = Field(examples=[3.0])
    fence: int = Field(examples=[1])
    metrics: dict[str, float] = Field(examples=[{"val_loss": 0.21}])
    at: datetime


class TrialNumbers(Answer):
    trials: list[int] = Field(examples=[[45, 46]])


class OutsideSpace(Answer):
    trial: int
    message: str


class Imported(Answer):
    trials: list[int] = Field(examples=[[0, 1]])
    outside: list[OutsideSpace] = Field(description="Parameters that the study's space does not allow; at most 1,000.")
    outside_count: int = Field(description="How many of the trials have such parameters.")


class Log(Answer):
    text: str
    next: int = Field(description="Pass as ?after= to read on.")
    fence: int


class RungAnswer(Answer):
    bracket: int
    rung: int
    resource: float
    size: int | None
    entered: int = Field(description="How many trials came here.")
    promoted: int = Field(description="How many of them went on.")
    trials: list[int] = Field(description="Those that came here, best first where they are ranked.")
    promoted_trials: list[int]
    values: list[float | None] = Field(description="Of `trials`, at this rung.")


class LogEvent(Answer):
    seq: int
    kind: str
    at: datetime
    epoch: int
    payload: dict[str, Any]


class Estimate(Answer):
    """What the planned trials would cost; null where nothing was measured yet."""

    dollars: float | None
    hours: float | None
    per: dict[str, float | None] = Field(description="The prices and the seconds per resource that went in.")
    basis: str


class PlanAnswer(Answer):
    brackets: list[dict[str, Any]]
    trials: int | None
    total_resource: float | None
    notes: list[str]


class Validated(Answer):
    valid: bool = True
    definition: dict[str, Any]
    plan: PlanAnswer
    estimate: Estimate
    space_digest: str


class Assignment(Answer):
    """A trial given to the client: train it from `from_resource` to `target`, null: as far as you like."""

    trial: int
    fence: int
    params: dict[str, Any]
    seed: int
    from_resource: float
    target: float | None
    horizon: float | None
    checkpoint: dict[str, Any] | None


class Asked(Answer):
    trials: list[Assignment]
    ended: str | None


class Beat(Answer):
    trial: int
    fence: int
    status: str = Field(description="held, or closed: the attempt is over, or another client has the trial.")
    stop: bool = Field(description="The trial is wanted no more.")


class Beats(Answer):
    trials: list[Beat]


class ReportResult(Answer):
    status: str = Field(description="stored, repeated, fenced, contradicted, closed or unknown.")
    message: str
    stop: bool = Field(default=False, description="The trial is wanted no more.")


class Reported(Answer):
    results: list[ReportResult]


class Worker(Answer):
    id: str
    node: str
    state: str = Field(examples=["busy"])
    device: str
    cpu: float
    gpu: float
    detail: dict[str, Any]
    controller: str
    seen_at: datetime


class Token(Answer):
    id: str
    name: str
    role: str = Field(examples=["editor"])
    project: str
    may_submit_code: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    used_at: datetime | None


class NewToken(Answer):
    """The only answer that ever holds the secret."""

    token: Token
    secret: str


class Check(Answer):
    name: str
    ok: bool
    detail: str
    remedy: str


class Doctor(Answer):
    checks: list[Check]


class Health(Answer):
    status: str = Field(examples=["ok"])


def feasible(violation: float | None) -> bool | None:
    """Whether a trial keeps all constraints, by what the store has of it; None where there are none, or it is not
    known."""
    return None if violation is None else violation == 0


def study_answer(
    row: StudyRow, params: Mapping[str, Any] | None, *, definition: bool = True, breaks: str = ""
) -> Study:
    """The wire form of a study; `params` are those of its best trial, and `breaks` what that one breaks."""
    fields = {name: getattr(row, name) for name in Study.model_fields if hasattr(row, name)}
    counts = {state.value: int(row.counts.get(state.value, 0)) for state in TrialState}
    best = None
    if row.best_trial is not None:
        best = Best(trial=row.best_trial, value=row.best_value, resource=row.best_resource, params=dict(params or {}))
        best.feasible, best.breaks = feasible(row.best_violation), breaks
    objective = row.definition.get("objective") or {}
    objective = objective[0] if isinstance(objective, list) else objective
    fields |= {
        "metric": objective.get("metric", ""),
        "direction": objective.get("direction", ""),
        "definition": dict(row.definition) if definition else None,
        "counts": counts,
        "trials": sum(counts.values()),
        "best": best,
        "tags": list(row.tags),
    }
    return Study.model_construct(**fields)


_STORED = Trial.model_fields.keys() - {"feasible", "violations", "breaks"}


def trial_answer(row: TrialRow, constraints: Sequence[Constraint] = ()) -> Trial:
    """The wire form of a trial; `constraints` are those of its study."""
    return Trial.model_construct(**_trial_fields(row, constraints))


def listed_trial(
    row: TrialRow, stats: Mapping[str, StoredStats] | None, constraints: Sequence[Constraint] = ()
) -> ListedTrial:
    """The wire form of a trial on a page, with statistics of its curves where they were asked for."""
    by_metric = None if stats is None else {name: CurveStats.model_construct(**asdict(s)) for name, s in stats.items()}
    return ListedTrial.model_construct(**_trial_fields(row, constraints), stats=by_metric)


def trial_with_attempts(
    row: TrialRow, attempts: list[AttemptRow], constraints: Sequence[Constraint] = ()
) -> TrialWithAttempts:
    """The wire form of a trial and all its attempts, oldest first."""
    return TrialWithAttempts.model_construct(
        **_trial_fields(row, constraints),
        attempt_rows=[Attempt.model_construct(**asdict(a)) for a in attempts],
        notes_html=notes_html(row.notes),
    )


def _trial_fields(row: TrialRow, constraints: Sequence[Constraint]) -> dict[str, Any]:
    fields = {name: getattr(row, name) for name in _STORED}
    fields |= {"params": dict(row.params), "values": dict(row.values), "tags": list(row.tags)}
    return fields | {
        "feasible": feasible(row.violation),
        "violations": constrained.judged(constraints, row.values),
        "breaks": constrained.breaks(constraints, row.values),
    }


def report_answer(row: ReportRecord) -> Report:
    """The wire form of a report."""
    return Report(step=row.step, resource=row.resource, fence=row.fence, metrics=dict(row.metrics), at=row.at)


def worker_answer(row: WorkerRow) -> Worker:
    """The wire form of a worker."""
    return Worker(**{name: getattr(row, name) for name in Worker.model_fields} | {"detail": dict(row.detail)})


def token_answer(row: TokenRow) -> Token:
    """The wire form of a token; it has no secret."""
    return Token(**{name: getattr(row, name) for name in Token.model_fields})
