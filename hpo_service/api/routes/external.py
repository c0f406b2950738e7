"""`ask`, `heartbeat`, `reports`, `tell`: for workers in any language that train where they like."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import Future
from typing import Any, TypeVar

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from hpo_service.api import schemas, telling
from hpo_service.api.access import Principal, Role
from hpo_service.api.requests import Ask, Heartbeat, Reports, Tell
from hpo_service.api.rounds import Wish
from hpo_service.api.routing import busy, role, router
from hpo_service.api.state import PrincipalDep, ServedDep, Shared, SharedDep, StudyDep, find_visible
from hpo_service.core import seeds
from hpo_service.errors import NotFound
from hpo_service.store import external
from hpo_service.store.asking import require_external
from hpo_service.store.rows import OpenAttempt, ReportItem

T = TypeVar("T")

routes: APIRouter = router(prefix="/studies/{study_id}", tag="external workers")


@routes.post("/ask", response_model=schemas.Asked, openapi_extra=role(Role.RUNNER, natural=True))
@busy(Ask)
async def ask(study_id: ServedDep, body: Ask, shared: SharedDep, caller: PrincipalDep) -> Response:
    """Top the client's open trials up to n: asking again after a crash returns the same ones. `ended` says why there
    will be no more; an empty list without it means: ask again later."""
    wish = Wish(client_id=body.client_id, n=body.n, lease_s=body.lease_s)
    given = await _served(shared, caller, study_id, shared.desk.ask(study_id, wish))
    seed = int(given.study.definition.get("seed", 0))
    trials = [_assignment(seed, attempt) for attempt in given.attempts]
    return _json(schemas.Asked.model_construct(trials=trials, ended=given.ended))


@routes.post("/heartbeat", openapi_extra=role(Role.RUNNER, natural=True))
def heartbeat(study: StudyDep, body: Heartbeat, shared: SharedDep) -> schemas.Beats:
    """Keep the client's trials for another lease. A trial with `stop` is wanted no more: end it."""
    require_external(study)
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
    require_external(study)
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


@routes.post("/tell", response_model=schemas.Trial, openapi_extra=role(Role.RUNNER, natural=True))
@busy(Tell)
async def tell(study_id: ServedDep, body: Tell, shared: SharedDep, caller: PrincipalDep) -> Response:
    """Say how a trial's attempt ended. Telling the same again is fine; telling something else is a 409."""
    row, heard = await _served(shared, caller, study_id, shared.desk.tell(study_id, telling.telling(body)))
    telling.raise_unheard(heard)
    shared.notify(study_id)
    if row is None:
        raise NotFound(f"study {study_id} has no trial {body.trial}", remedy="list them with `hpo trials`")
    return _json(schemas.trial_answer(row))


async def _served(shared: Shared, caller: Principal, study_id: str, future: Future[T]) -> T:
    """What the desk answers; an unknown study is refused as everywhere."""
    try:
        return await asyncio.wrap_future(future)
    except NotFound:
        await run_in_threadpool(find_visible, shared, caller, study_id)
        raise


def _json(answer: schemas.Answer) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


def _assignment(seed: int, attempt: OpenAttempt) -> schemas.Assignment:
    checkpoint: dict[str, Any] | None = None
    if attempt.checkpoints:
        newest = attempt.checkpoints[0]
        checkpoint = {"trial": newest.trial, "resource": newest.resource, "step": newest.step, "digest": newest.digest}
    return schemas.Assignment.model_construct(
        trial=attempt.trial,
        fence=attempt.fence,
        params=dict(attempt.params),
        seed=seeds.trial_seed(seed, attempt.trial),
        from_resource=attempt.from_resource,
        target=None if math.isinf(attempt.target) else attempt.target,
        horizon=None if math.isinf(attempt.horizon) else attempt.horizon,
        checkpoint=checkpoint,
    )
