"""`ask`, `heartbeat`, `reports`, `tell`: for workers in any language that train where they like."""

from __future__ import annotations

import math
from typing import Any

from fastapi import APIRouter

from hpo_service import decider
from hpo_service.api import schemas, telling
from hpo_service.api.access import Role
from hpo_service.api.requests import Ask, Heartbeat, Reports, Tell
from hpo_service.api.routing import role, router
from hpo_service.api.state import SharedDep, StudyDep
from hpo_service.core import seeds
from hpo_service.errors import Conflict
from hpo_service.store import external, reading
from hpo_service.store.rows import OpenAttempt, ReportItem, StudyRow

routes: APIRouter = router(prefix="/studies/{study_id}", tag="external workers")


@routes.post("/ask", openapi_extra=role(Role.RUNNER, natural=True))
def ask(study: StudyDep, body: Ask, shared: SharedDep) -> schemas.Asked:
    """Top the client's open trials up to n: asking again after a crash returns the same ones. `ended` says why there
    will be no more; an empty list without it means: ask again later."""
    opened, ended = decider.ask(
        shared.db, shared.decider, study.id, client_id=body.client_id, n=body.n, lease_s=body.lease_s
    )
    return schemas.Asked(trials=[_assignment(study, attempt) for attempt in opened], ended=ended)


@routes.post("/heartbeat", openapi_extra=role(Role.RUNNER, natural=True))
def heartbeat(study: StudyDep, body: Heartbeat, shared: SharedDep) -> schemas.Beats:
    """Keep the client's trials for another lease. A trial with `stop` is wanted no more: end it."""
    _require_external(study)
    keys = [(key.trial, key.fence) for key in body.trials or ()]
    held = external.heartbeat(shared.db, study.id, body.client_id, keys, body.lease_s)
    marks = external.stop_marks(shared.db, study.id, [trial for trial, _ in held])
    beats = [schemas.Beat(trial=trial, fence=fence, status="held", stop=trial in marks) for trial, fence in held]
    lost = [key for key in keys if key not in set(held)]
    return schemas.Beats(
        trials=beats + [schemas.Beat(trial=trial, fence=fence, status="closed", stop=True) for trial, fence in lost]
    )


@routes.post("/reports", openapi_extra=role(Role.RUNNER, natural=True))
def report(study: StudyDep, body: Reports, shared: SharedDep) -> schemas.Reported:
    """Store metric values. Answered once they are committed; each report has its own result, and a refused one does
    not keep the others from being stored. A refused single report is a 409."""
    _require_external(study)
    items = [
        ReportItem(
            study_id=study.id,
            trial=one.trial,
            fence=one.fence,
            step=one.step,
            resource=one.resource if one.resource is not None else float(one.step),
            metrics=one.metrics,
        )
        for one in body.reports
    ]
    results = shared.writer.submit(items)
    if len(results) == 1:
        telling.raise_refused(results[0])
    return schemas.Reported(
        results=[
            schemas.ReportResult(
                status=result.status, message=result.message, stop=result.status in ("fenced", "closed")
            )
            for result in results
        ]
    )


@routes.post("/tell", openapi_extra=role(Role.RUNNER, natural=True))
def tell(study: StudyDep, body: Tell, shared: SharedDep) -> schemas.Trial:
    """Say how a trial's attempt ended. Telling the same again is fine; telling something else is a 409."""
    _require_external(study)
    telling.tell(shared, study, body)
    shared.notify(study.id)
    return schemas.trial_answer(reading.trial(shared.db, study.id, body.trial))


def _require_external(study: StudyRow) -> None:
    if not study.external:
        raise Conflict(
            f"study {study.id} trains on the service's own workers",
            remedy="set trainer: {external: true} to train yourself",
        )


def _assignment(study: StudyRow, attempt: OpenAttempt) -> schemas.Assignment:
    checkpoint: dict[str, Any] | None = None
    if attempt.checkpoints:
        newest = attempt.checkpoints[0]
        checkpoint = {"trial": newest.trial, "resource": newest.resource, "step": newest.step, "digest": newest.digest}
    return schemas.Assignment(
        trial=attempt.trial,
        fence=attempt.fence,
        params=dict(attempt.params),
        seed=seeds.trial_seed(int(study.definition.get("seed", 0)), attempt.trial),
        from_resource=attempt.from_resource,
        target=None if math.isinf(attempt.target) else attempt.target,
        horizon=None if math.isinf(attempt.horizon) else attempt.horizon,
        checkpoint=checkpoint,
    )
