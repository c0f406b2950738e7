"""What `tell` means: the final values as a last report, then the end of the attempt; the same again changes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping

from hpo_service import decider
from hpo_service.api.requests import Tell
from hpo_service.api.state import Shared
from hpo_service.core.definition import parse
from hpo_service.core.states import AttemptState
from hpo_service.errors import (
    Conflict,
    FenceRefused,
    FieldProblem,
    InvalidInput,
    NotFound,
    ReportContradicts,
)
from hpo_service.store import reading
from hpo_service.store.rows import AttemptRow, Collected, CollectItem, EndedItem, ReportItem, ReportRecord, StudyRow

# Words of the worker contract, which this side of the service does not import; a test holds them to it.
REACHED, COMPLETED, FAILED, EXCEPTION = "reached", "completed", "failed", "exception"
_REFUSALS = {"fenced": FenceRefused, "contradicted": ReportContradicts, "closed": Conflict, "unknown": NotFound}
_REMEDIES = {
    "fenced": "give the trial up: another worker has it",
    "contradicted": "report each step once",
    "closed": "give the trial up: its attempt is over",
    "unknown": "ask for a trial first",
}


def raise_refused(result: Collected) -> None:
    """Raises the error that a refused item means; nothing for one that is stored."""
    refusal = _REFUSALS.get(result.status)
    if refusal is not None:
        raise refusal(result.message or f"the item is {result.status}", remedy=_REMEDIES[result.status])


def tell(shared: Shared, study: StudyRow, told: Tell) -> None:
    """Record how the attempt ended. Raises FenceRefused under an older fence, Conflict where it ended otherwise before,
    InvalidInput where a completed trial has no value of the objective."""
    attempt = _attempt(shared, study, told)
    reports = reading.reports(shared.db, study.id, told.trial, fence=told.fence)
    last = reports[-1] if reports else None
    metrics = _metrics(study, told)
    if attempt.state is not AttemptState.OPEN:
        return _check_same(attempt, last, told, metrics)
    items = _items(shared, study, attempt, last, told, metrics)
    results = shared.writer.submit(items)
    for result in results:
        if result.status == "closed":  # another telling was faster: was it the same?
            return tell(shared, study, told)
        raise_refused(result)
    decider.settle(shared.db, shared.decider, study.id)
    return None


def _attempt(shared: Shared, study: StudyRow, told: Tell) -> AttemptRow:
    rows = {row.fence: row for row in reading.attempts(shared.db, study.id, told.trial)}
    newest = max(rows, default=0)
    if told.fence not in rows:
        raise NotFound(f"trial {told.trial} has no attempt {told.fence}", remedy=f"its newest attempt is {newest}")
    if told.fence < newest:
        raise FenceRefused(
            f"trial {told.trial} has the newer attempt {newest}, but this is about {told.fence}",
            remedy=_REMEDIES["fenced"],
        )
    return rows[told.fence]


def _metrics(study: StudyRow, told: Tell) -> dict[str, float]:
    names = [objective.metric for objective in parse(study.definition).objectives]
    if told.value is not None:
        return {names[0]: told.value}
    if isinstance(told.values, Mapping):
        return dict(told.values)
    if told.values is not None:
        if len(told.values) != len(names):
            rule = f"values are one per objective: {', '.join(names)}"
            raise InvalidInput.of(
                FieldProblem(path="values", rule=rule, value=told.values, remedy=f"send {len(names)}")
            )
        return dict(zip(names, told.values, strict=True))
    return dict(told.metrics or {})


def _items(
    shared: Shared,
    study: StudyRow,
    attempt: AttemptRow,
    last: ReportRecord | None,
    told: Tell,
    metrics: Mapping[str, float],
) -> list[CollectItem]:
    resource = _resource(attempt, last, told)
    items: list[CollectItem] = []
    if metrics and not _says(last, metrics, told.resource):
        step = last.step + 1 if last is not None else _first_step(shared, study, attempt)
        items.append(
            ReportItem(
                study_id=study.id, trial=told.trial, fence=told.fence, step=step, resource=resource, metrics=metrics
            )
        )
    objective = parse(study.definition).objective.metric
    known = {**(last.metrics if last is not None else {}), **metrics}
    if told.state == "completed" and objective not in known:
        rule = f"a completed trial has a value of the objective {objective!r}"
        raise InvalidInput.of(
            FieldProblem(path="value", rule=rule, remedy="send value, report the metric first, or tell it failed")
        )
    now = shared.db.now()
    items.append(
        EndedItem(
            study_id=study.id,
            trial=told.trial,
            fence=told.fence,
            outcome=_outcome(attempt, resource, told),
            resource=resource,
            seconds=max((now - attempt.opened_at).total_seconds(), 0.0),
            failure=EXCEPTION if told.state == "failed" else None,
            reason=told.reason,
        )
    )
    return items


def _outcome(attempt: AttemptRow, resource: float, told: Tell) -> str:
    if told.state == "failed":
        return FAILED
    target = attempt.target if attempt.target is not None else math.inf
    return REACHED if resource >= target else COMPLETED


def _resource(attempt: AttemptRow, last: ReportRecord | None, told: Tell) -> float:
    """As told; else where the last report was; else a completed attempt reached its target."""
    if told.resource is not None:
        return told.resource
    if last is not None:
        return last.resource
    if told.state == "completed" and attempt.target is not None:
        return attempt.target
    return attempt.from_resource


def _first_step(shared: Shared, study: StudyRow, attempt: AttemptRow) -> int:
    """The step after the last one of the attempts before; 0 for the first."""
    before = reading.reports(shared.db, study.id, attempt.trial)
    return max((report.step for report in before), default=-1) + 1


def _says(last: ReportRecord | None, metrics: Mapping[str, float], resource: float | None) -> bool:
    if last is None or (resource is not None and resource != last.resource):
        return False
    return all(name in last.metrics and _same(last.metrics[name], value) for name, value in metrics.items())


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _check_same(attempt: AttemptRow, last: ReportRecord | None, told: Tell, metrics: Mapping[str, float]) -> None:
    ended_well = attempt.outcome in (REACHED, COMPLETED)
    failed = attempt.outcome == FAILED
    same_end = ended_well if told.state == "completed" else failed
    if told.state == "completed" and failed and _says(last, metrics, told.resource):
        same_end = True  # a value that is not finite: told completed, stored as failed
    if not same_end or not (_says(last, metrics, told.resource) or not metrics):
        how = f"{attempt.outcome} {attempt.reason}".strip()
        raise Conflict(
            f"attempt {attempt.fence} of trial {attempt.trial} ended otherwise: {how}",
            remedy="tell each attempt's end once",
        )
