"""One study's share of a batch of collected items, worked out in memory. Reads and writes no table.

`Batch.apply` takes the items in order and says what became of each; what is to be written lies in the batch's fields
afterwards. Rules: a report under an older fence is refused; the same report again is fine, another one contradicts; an
attempt that is over takes nothing more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo_service.core.events import EndedAttempt
from hpo_service.core.states import TERMINAL_TRIAL, TrialState
from hpo_service.store.blobstore import NewCheckpoint
from hpo_service.store.rows import (
    CheckpointItem,
    Collected,
    CollectItem,
    EndedItem,
    ReportItem,
    SavedItem,
    StartedItem,
)
from hpo_service.store.scoring import Goals, Number, improves, jsonable
from hpo_service.store.tx import clean, load_numbers

STORED, REPEATED = Collected(status="stored"), Collected(status="repeated")
AFTER: dict[str, TrialState] = {
    "reached": TrialState.PAUSED,
    "completed": TrialState.PAUSED,
    "paused": TrialState.WAITING,
    "cancelled": TrialState.STOPPED,
    "failed": TrialState.FAILED,
    "lost": TrialState.WAITING,
}
"""What a trial becomes after an attempt's outcome, before losses, stop marks and values are looked at."""


_STATES = {state.value: state for state in TrialState}


@dataclass(slots=True)
class Report:
    """A report as it is stored."""

    trial: int
    fence: int
    step: int
    resource: float
    metrics: dict[str, Number]


@dataclass(slots=True)
class Work:
    """A trial and its newest attempt as they stand in memory, with marks of what changed."""

    number: int
    state: TrialState
    fence: int
    resource: float
    step: int | None
    metrics: dict[str, Number]
    losses: int
    cost: int
    seconds: float
    stop_reason: str | None
    open: bool
    outcome: str | None
    last_step: int | None
    attempt_resource: float
    started: bool
    reported_at: int | None
    lease_s: float | None
    attempt_seconds: float
    before: dict[str, Number] = field(default_factory=dict)  # metrics as stored
    old_state: TrialState = TrialState.RUNNING
    old_resource: float = 0.0
    reason: str | None = None
    curve: dict[int, tuple[int, dict[str, Number]]] | None = None  # step → (fence, metrics), where best must be redone
    reported: bool = False
    ended: EndedItem | None = None
    failure: str | None = None
    ended_reason: str = ""

    @classmethod
    def of(cls, row: Sequence[Any]) -> Work:
        """Of the columns in the order of the fields, state and metrics as stored."""
        number, state, fence, resource, step, document, losses, cost, seconds, stop_reason, *attempt = row
        attempt_state, outcome, last_step, attempt_resource, started_at, reported_at, lease_s, attempt_seconds = attempt
        metrics = load_numbers(document)
        known = _STATES[state]
        return cls(
            number, known, fence, resource, step, metrics, losses, cost, seconds, stop_reason, attempt_state == "open",
            outcome, last_step, attempt_resource or 0.0, started_at is not None, reported_at, lease_s,
            attempt_seconds or 0.0, dict(metrics), known, resource,
        )  # fmt: skip

    @property
    def touched(self) -> bool:
        return self.reported or self.ended is not None

    def rank_value(self, metric: str) -> float | None:
        """The value where the trial ranks: finite and not failed."""
        value = self.metrics.get(metric)
        return value if isinstance(value, float) and self.state is not TrialState.FAILED else None


@dataclass
class Batch:
    """The work on one study; `works` by trial number, `known` the stored reports that an item might repeat."""

    study_id: str
    goals: Goals
    retries: int
    now: int
    works: dict[int, Work]
    known: dict[tuple[int, int, int], Report] = field(default_factory=dict)
    saved: dict[tuple[int, int], dict[int, str]] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    started: list[StartedItem] = field(default_factory=list)
    checkpoints: list[NewCheckpoint] = field(default_factory=list)
    ended: list[EndedAttempt] = field(default_factory=list)
    late: list[tuple[Work, EndedItem]] = field(default_factory=list)  # charged after their study was stopped
    counts: Counter[str] = field(default_factory=Counter)

    def apply(self, item: CollectItem) -> Collected:
        """What became of the item."""
        work = self.works.get(item.trial)
        if work is None or item.fence > work.fence or item.fence < 1:
            return Collected(
                status="unknown",
                message=f"study {self.study_id} has no attempt {item.fence} of trial {item.trial}",
            )
        if item.fence < work.fence:
            return Collected(
                status="fenced",
                message=f"trial {item.trial} has a newer attempt: its fence is {work.fence}, but got {item.fence}",
            )
        if isinstance(item, ReportItem):
            return self._report(work, item)
        if isinstance(item, EndedItem):
            return self._end(work, item)
        if isinstance(item, SavedItem):
            return self._save(work, item)
        return self._start(work, item)

    def _start(self, work: Work, item: StartedItem) -> Collected:
        if work.started:
            return REPEATED
        if not work.open:
            return _closed(work)
        work.started = True
        self.started.append(item)
        return STORED

    def _report(self, work: Work, item: ReportItem) -> Collected:
        metrics = jsonable(item.metrics)
        key = (item.trial, item.fence, item.step)
        before = self.known.get(key)
        if before is not None:
            if before.metrics == metrics and before.resource == item.resource:
                return REPEATED
            return Collected(
                status="contradicted",
                message=f"a report never changes, but step {item.step} of trial {item.trial} under fence {item.fence} "
                f"is stored as {before.metrics} at resource {before.resource:g}, and got {metrics} at "
                f"{item.resource:g}",
            )
        if not work.open:
            return _closed(work)
        report = Report(item.trial, item.fence, item.step, float(item.resource), metrics)
        self.known[key] = report
        self.reports.append(report)
        self._take_in(work, report)
        return STORED

    def _take_in(self, work: Work, report: Report) -> None:
        work.reported = True
        work.last_step = report.step if work.last_step is None else max(work.last_step, report.step)
        work.attempt_resource = max(work.attempt_resource, report.resource)
        work.resource = max(work.resource, report.resource)
        best = self.goals.best
        if work.step is None or report.step >= work.step:
            work.step = report.step
            for name, value in report.metrics.items():
                if name not in best:
                    work.metrics[name] = value
        if work.curve is not None:
            work.curve[report.step] = (report.fence, report.metrics)
            self._redo_best(work)
            return
        for name, maximize in best.items():
            latest = report.metrics.get(name)
            if latest is not None and improves(latest, work.metrics.get(name), maximize=maximize):
                work.metrics[name] = latest

    def _redo_best(self, work: Work) -> None:
        """The best values over the whole canonical curve: a newer attempt's report replaced an older one's."""
        for name, maximize in self.goals.best.items():
            found: Number | None = None
            for _, (_, metrics) in sorted((work.curve or {}).items()):
                value: Number | None = metrics.get(name)
                if value is not None and improves(value, found, maximize=maximize):
                    found = value
            if found is not None:
                work.metrics[name] = found

    def _save(self, work: Work, item: SavedItem) -> Collected:
        if self._has(item.fence, item.trial, item.checkpoint):
            return REPEATED
        if not work.open:
            return _closed(work)
        self._keep(item.trial, item.fence, item.checkpoint)
        return STORED

    def _has(self, fence: int, trial: int, checkpoint: CheckpointItem) -> bool:
        return checkpoint.step in self.saved.get((trial, fence), {})

    def _keep(self, trial: int, fence: int, checkpoint: CheckpointItem) -> None:
        self.saved.setdefault((trial, fence), {})[checkpoint.step] = checkpoint.digest
        self.checkpoints.append(NewCheckpoint(self.study_id, trial, fence, checkpoint))

    def _end(self, work: Work, item: EndedItem) -> Collected:
        if not work.open:
            self._charge_late(work, item)
            return REPEATED if work.outcome == item.outcome else _closed(work)
        if item.checkpoint is not None and not self._has(item.fence, item.trial, item.checkpoint):
            self._keep(item.trial, item.fence, item.checkpoint)
        work.open = False
        work.outcome, work.ended, work.failure = item.outcome, item, item.failure
        work.attempt_resource = max(work.attempt_resource, float(item.resource))
        work.resource = max(work.resource, float(item.resource))
        work.cost += item.cost_microdollars
        work.seconds += item.seconds
        work.attempt_seconds = item.seconds
        work.ended_reason = reason_of(item.failure, item.reason)
        self._settle(work)
        self.ended.append(
            EndedAttempt(
                trial=item.trial,
                fence=item.fence,
                outcome=item.outcome,
                trial_state=work.state.value,
                resource=work.resource,
                reason=work.reason or "",
                cost_microdollars=item.cost_microdollars,
            )
        )
        return STORED

    def _charge_late(self, work: Work, item: EndedItem) -> None:
        """A stopped study closed the attempt before its worker could say what it had cost; that counts, once."""
        if work.outcome == "cancelled" and work.attempt_seconds == 0 and item.seconds > 0:
            work.attempt_seconds = item.seconds
            work.cost += item.cost_microdollars
            work.seconds += item.seconds
            self.late.append((work, item))

    def _settle(self, work: Work) -> None:
        """The state after the attempt, and why."""
        outcome = work.outcome or ""
        state, reason = AFTER[outcome], work.ended_reason or outcome
        if outcome in ("reached", "completed"):
            value = work.metrics.get(self.goals.metric)
            if not isinstance(value, float):
                state, work.failure = TrialState.FAILED, "missing_metric" if value is None else "diverged"
                what = "was never reported" if value is None else f"is {value}"
                reason = work.ended_reason = reason_of(work.failure, f"the objective {self.goals.metric!r} {what}")
        elif outcome == "lost":
            work.losses += 1
            if work.losses > self.retries:
                state = TrialState.FAILED
                reason = f"{reason}; lost {work.losses} times, and retries is {self.retries}"
        if work.stop_reason is not None and state not in TERMINAL_TRIAL:
            state, reason = TrialState.STOPPED, work.stop_reason
        elif work.stop_reason is not None and state is TrialState.STOPPED:
            reason = work.stop_reason
        self.counts[work.state.value] -= 1
        self.counts[state.value] += 1
        work.state, work.reason = state, reason


def reason_of(failure: str | None, reason: str) -> str:
    """The reason with the kind of failure as its first word."""
    text = clean(reason)
    if failure is None or text.startswith(failure):
        return text
    return f"{failure}: {text}" if text else failure


def _closed(work: Work) -> Collected:
    return Collected(
        status="closed",
        message=f"attempt {work.fence} of trial {work.number} is over: {work.outcome or 'never opened'}",
    )
