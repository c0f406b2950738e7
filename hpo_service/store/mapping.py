"""From table rows to the values that leave the store, and from values to columns. No statements."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Row

from hpo_service.core import values
from hpo_service.core.constraints import Constraint
from hpo_service.core.states import AttemptState, Origin, StudyState, TrialState
from hpo_service.store.rows import AttemptRow, CheckpointRow, ReportRecord, StudyRow, TrialRow
from hpo_service.store.tables import TRIAL_STATES
from hpo_service.store.tx import clean, dump, to_datetime, to_datetime_or_none

AnyRow = Row[Any]


@functools.lru_cache(maxsize=512)
def _definition(text: str) -> Mapping[str, Any]:
    """Read once for all who look at the study; nobody may write into it."""
    document: dict[str, Any] = json.loads(text)
    return document


def study_row(r: AnyRow) -> StudyRow:
    """A study of a row with every column of `studies`."""
    return StudyRow(
        id=r.id,
        name=r.name,
        project=r.project,
        created_by=r.created_by,
        created_at=to_datetime(r.created_at),
        state=StudyState(r.state),
        reason=r.reason,
        definition=_definition(r.definition),
        definition_version=r.definition_version,
        space_version=r.space_version,
        space_digest=r.space_digest,
        priority=r.priority,
        parallel=r.parallel,
        tags=tuple(json.loads(r.tags)),
        notes=r.notes,
        external=bool(r.external),
        last_seq=r.last_seq,
        decision=r.decision,
        epoch=r.epoch,
        next_trial=r.next_trial,
        counts={state: getattr(r, state) for state in TRIAL_STATES},
        imported=r.imported,
        open_attempts=r.open_attempts,
        best_trial=r.best_trial,
        best_value=r.best_value,
        best_resource=r.best_resource,
        best_violation=r.best_violation,
        resource=r.resource,
        cost_microdollars=r.cost_microdollars,
        started_at=to_datetime_or_none(r.started_at),
        ended_at=to_datetime_or_none(r.ended_at),
        ending_reason=r.ending_reason,
    )


def trial_row(r: AnyRow) -> TrialRow:
    """A trial of a row with every column of `trials`."""
    return TrialRow(
        study_id=r.study_id,
        number=r.number,
        state=TrialState(r.state),
        reason=r.reason,
        origin=Origin(r.origin),
        params=json.loads(r.params),
        space_version=r.space_version,
        retry_of=r.retry_of,
        parent=r.parent,
        parent_resource=r.parent_resource,
        bracket=r.bracket,
        rung=r.rung,
        fence=r.fence,
        target=r.target,
        horizon=r.horizon,
        resource=r.resource,
        step=r.step,
        value=joined(r.value_kind, r.value),
        values=load_metrics(r.metrics),
        attempts=r.attempts,
        losses=r.losses,
        cost_microdollars=r.cost_microdollars,
        seconds=r.seconds,
        created_at=to_datetime(r.created_at),
        started_at=to_datetime_or_none(r.started_at),
        ended_at=to_datetime_or_none(r.ended_at),
        tags=tuple(json.loads(r.tags)),
        notes=r.notes,
        violation=r.violation,
    )


def attempt_row(r: AnyRow) -> AttemptRow:
    """An attempt of a row with every column of `attempts`."""
    return AttemptRow(
        study_id=r.study_id,
        trial=r.trial,
        fence=r.fence,
        state=AttemptState(r.state),
        outcome=r.outcome,
        failure=r.failure,
        reason=r.reason,
        traceback=r.traceback,
        launch=r.launch,
        lane=r.lane,
        width=r.width,
        method=r.method,
        worker_id=r.worker_id,
        node=r.node,
        device=r.device,
        client_id=r.client_id,
        lease_expires_at=to_datetime_or_none(r.lease_expires_at),
        from_resource=r.from_resource,
        target=r.target,
        resumed_from=r.resumed_from,
        resumed_path=r.resumed_path,
        horizon=r.horizon,
        resource=r.resource,
        seconds=r.seconds,
        cost_microdollars=r.cost_microdollars,
        peak_memory_bytes=r.peak_memory_bytes,
        gpu_peak_memory_bytes=r.gpu_peak_memory_bytes,
        gpu_utilisation=r.gpu_utilisation,
        environment_digest=r.environment_digest,
        code_digest=r.code_digest,
        data_digest=r.data_digest,
        opened_at=to_datetime(r.opened_at),
        started_at=to_datetime_or_none(r.started_at),
        reported_at=to_datetime_or_none(r.reported_at),
        ended_at=to_datetime_or_none(r.ended_at),
    )


def report_record(r: AnyRow) -> ReportRecord:
    """A report of a row with every column of `reports`."""
    return ReportRecord(
        study_id=r.study_id,
        trial=r.trial,
        fence=r.fence,
        step=r.step,
        resource=r.resource,
        metrics=load_metrics(r.metrics),
        at=to_datetime(r.at),
    )


def checkpoint_row(r: AnyRow) -> CheckpointRow:
    """A checkpoint of a row of `checkpoints` joined with its blob's size."""
    return CheckpointRow(
        trial=r.trial,
        fence=r.fence,
        step=r.step,
        resource=r.resource,
        path=r.path,
        digest=r.digest,
        size_bytes=r.size_bytes,
    )


def joined(kind: str | None, number: float | None) -> float | None:
    """The value of a kind and a number; None where there is no kind."""
    return None if kind is None else values.join(kind, number)


def metrics_json(metrics: Mapping[str, float]) -> dict[str, float | str]:
    """Metric values for JSON, non-finite ones as words."""
    return {name: values.to_json(value) for name, value in metrics.items()}


def constraints_column(constraints: Sequence[Constraint]) -> str | None:
    """A definition's constraints for their column."""
    return dump([one.model_dump(mode="json", exclude_none=True) for one in constraints]) if constraints else None


def load_metrics(document: str) -> dict[str, float]:
    """Inverse of dumping `metrics_json`."""
    loaded: dict[str, Any] = json.loads(document)
    return {name: value if type(value) is float else values.from_json(value) for name, value in loaded.items()}


def limit(value: float | None) -> float | None:
    """A target for its column: unlimited is null."""
    return None if value is None or math.isinf(value) else float(value)


def unlimited(value: float | None) -> float:
    """Inverse of `limit`."""
    return math.inf if value is None else value


def param_rows(
    study_id: str, trial: int, params: Mapping[str, Any]
) -> list[tuple[str, int, str, float | None, str | None]]:
    """One row of `trial_params` per parameter: numbers as numbers, everything else as text."""
    rows: list[tuple[str, int, str, float | None, str | None]] = []
    for name, value in params.items():
        if isinstance(value, str):
            rows.append((study_id, trial, clean(name), None, clean(value)))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            rows.append((study_id, trial, clean(name), _finite(value), None))
        else:
            rows.append((study_id, trial, clean(name), None, clean(json.dumps(value))))
    return rows


def _finite(value: float) -> float | None:
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


PARAM_COLUMNS = ("study_id", "trial", "name", "number", "text")
PARAM_CONFLICT = "ON CONFLICT (study_id, trial, name) DO UPDATE SET number = excluded.number, text = excluded.text"
