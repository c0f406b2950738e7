"""What `tell` means: the final values as a last report, then the end of the attempt; the same again changes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hpo_service.api.requests import Tell
from hpo_service.core.states import AttemptState
from hpo_service.errors import (
    Conflict,
    FenceRefused,
    FieldProblem,
    InvalidInput,
    NotFound,
    ReportContradicts,
)
from hpo_service.store.asking import Heard, Known, Telling
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


def telling(told: Tell) -> Telling:
    """What is told as the store hears it: its items, or what is wrong with it. Refused are values that do not fit the
    objectives or lack the first one (InvalidInput), and an end that differs from the stored one (Conflict)."""

    def items(study: StudyRow, known: Known, now: datetime) -> Sequence[CollectItem]:
        metrics = _metrics(study, told)
        if known.attempt.state is not AttemptState.OPEN:
            _check_same(known.attempt, known.last, told, metrics)
            return ()
        return _items(study, known, told, metrics, now)

    return Telling(trial=told.trial, fence=told.fence, items=items)


def raise_unheard(heard: Heard) -> None:
    """Raises what refuses the telling; nothing for one that is stored, or was before."""
    if heard.error is not None:
        raise heard.error
    for result in heard.results:
        raise_refused(result)


def _objectives(study: StudyRow) -> list[str]:
    """The objectives' metrics, of a definition that is stored and so well formed."""
    objective = study.definition["objective"]
    return [one["metric"] for one in (objective if isinstance(objective, list) else [objective])]


def _metrics(study: StudyRow, told: Tell) -> dict[str, float]:
    names = _objectives(study)
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
    study: StudyRow, known: Known, told: Tell, metrics: Mapping[str, float], now: datetime
) -> list[CollectItem]:  # fmt: skip
    last, attempt = known.last, known.attempt
    resource = _resource(attempt, last, told)
    key: dict[str, Any] = {"study_id": study.id, "trial": told.trial, "fence": told.fence}
    items: list[CollectItem] = []
    if metrics and not _says(last, metrics, told.resource):
        items.append(ReportItem(**key, step=known.next_step, resource=resource, metrics=metrics))
    objective = _objectives(study)[0]
    if told.state == "completed" and objective not in metrics and (last is None or objective not in last.metrics):
        rule = f"a completed trial has a value of the objective {objective!r}"
        raise InvalidInput.of(
            FieldProblem(path="value", rule=rule, remedy="send value, report the metric first, or tell it failed")
        )
    ended = EndedItem(
        **key,
        outcome=_outcome(attempt, resource, told),
        resource=resource,
        seconds=max((now - attempt.opened_at).total_seconds(), 0.0),
        failure=EXCEPTION if told.state == "failed" else None,
        reason=told.reason,
    )
    return [*items, ended]


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
