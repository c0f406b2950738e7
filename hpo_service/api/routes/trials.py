"""`/studies/{id}/trials` and what trials add up to: best, rungs, export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from hpo_service.api import checkpoints, curve_metrics, exporting, schemas, viewing
from hpo_service.api.access import Role
from hpo_service.api.filters import SORTABLE, known_names, parse_filters, parse_sort
from hpo_service.api.requests import Annotate, Because, Configurations, Retry
from hpo_service.api.routes.studies import Cursor, Limit
from hpo_service.api.routing import role, router
from hpo_service.api.state import Shared, SharedDep, StudyDep
from hpo_service.api.viewing import names_of
from hpo_service.core import constraints
from hpo_service.core.definition import parse
from hpo_service.core.states import ENDED_STUDY, TERMINAL_TRIAL, Origin, StudyState, TrialState, goes_on_to
from hpo_service.errors import Conflict, FieldProblem, InvalidInput
from hpo_service.store import logs, reading, stopping, studies
from hpo_service.store.reading import Filter
from hpo_service.store.rows import StudyRow
from search_spaces import SpaceError

routes: APIRouter = router(tag="trials")

Number = Annotated[int, Path(ge=0, lt=2**53)]
OneFence = Annotated[int | None, Query(ge=1, lt=2**53, description="Of one attempt only.")]


@routes.get("/studies/{study_id}/trials", openapi_extra=role(Role.VIEWER))
def list_trials(
    study: StudyDep,
    shared: SharedDep,
    filter: Annotated[str, Query(description="lr>1e-3 state:failed optimizer:sgd tag:x value>=0.9")] = "",
    sort: Annotated[str, Query(description="A field, parameter or metric; a minus sorts descending.")] = "number",
    cursor: Cursor = None,
    limit: Limit = 50,
    stats: Annotated[str, Query(max_length=4096, description="Metrics whose curves are summed up: a,b")] = "",
) -> schemas.Page[schemas.ListedTrial]:
    """A page of trials: filtered, in any order; those without a value come last."""
    plain = not filter and not stats and sort.removeprefix("-") in SORTABLE  # no need to look up what other names mean
    names = known_names((), ()) if plain else names_of(shared, study)
    filters = parse_filters(filter, names)
    page = reading.trials(
        shared.db, study.id, filters=filters, sort=parse_sort(sort, names), cursor=cursor, limit=limit
    )  # fmt: skip
    total = page.total
    if total is None and cursor is None:  # the first page says how many match; only a long answer has to be counted
        total = viewing.count(shared, study, filters) if page.next_cursor else len(page.rows)
    wanted = curve_metrics.wanted(stats, names.metrics, study.definition)
    found = reading.curve_stats(shared.db, study.id, [row.number for row in page.rows], wanted)
    bounds = constraints.of(study.definition)
    items = [schemas.listed_trial(row, found.get(row.number, {}) if wanted else None, bounds) for row in page.rows]
    return schemas.Page[schemas.ListedTrial].model_construct(items=items, next_cursor=page.next_cursor, total=total)


@routes.post("/studies/{study_id}/trials", status_code=201, openapi_extra=role(Role.EDITOR))
def enqueue_trials(request: Request, study: StudyDep, body: Configurations, shared: SharedDep) -> schemas.TrialNumbers:
    """Give configurations by hand; they are tried before any that the algorithm draws."""
    definition = parse(study.definition)
    if definition.confirms is not None:
        raise Conflict(
            f"study {study.id} confirms trials of study {definition.confirms.study}, and trains no others",
            remedy="give the configuration to that study, or confirm other trials",
        )
    space = definition.search_space
    chosen, problems = [], []
    for index, configuration in enumerate(body.configurations):
        try:
            chosen.append(space.validate_params(configuration, path=f"configurations.{index}"))
        except SpaceError as error:
            problems += [FieldProblem(path=e.path, rule=e.rule, value=e.value, remedy=e.remedy) for e in error.errors]
    if problems:
        raise InvalidInput.of(*problems)
    numbers = studies.enqueue(shared.db, study.id, chosen, remember=request.state.remember)
    _go_on(shared, study.id, "configurations were given by hand")
    return schemas.TrialNumbers(trials=list(numbers))


@routes.post("/studies/{study_id}/retry", openapi_extra=role(Role.EDITOR))
def retry_trials(request: Request, study: StudyDep, body: Retry, shared: SharedDep) -> schemas.TrialNumbers:
    """Try failed trials again: each becomes a new trial of the same parameters, with `retry_of`."""
    chosen = _failed(shared, study) if body.failed else _terminal(shared, study, body.trials)
    if not chosen:
        return schemas.TrialNumbers(trials=[])
    numbers = studies.enqueue(
        shared.db,
        study.id,
        list(chosen.values()),
        origin=Origin.RETRY,
        retry_of=list(chosen),
        remember=request.state.remember,
    )
    _go_on(shared, study.id, "failed trials are tried again")
    return schemas.TrialNumbers(trials=list(numbers))


@routes.get("/studies/{study_id}/trials/{number}", openapi_extra=role(Role.VIEWER))
def get_trial(study: StudyDep, number: Number, shared: SharedDep) -> schemas.TrialWithAttempts:
    """One trial with all its attempts."""
    row = reading.trial(shared.db, study.id, number)
    attempts = list(reading.attempts(shared.db, study.id, number))
    return schemas.trial_with_attempts(row, attempts, constraints.of(study.definition))


@routes.patch("/studies/{study_id}/trials/{number}", openapi_extra=role(Role.EDITOR))
def annotate_trial(study: StudyDep, number: Number, body: Annotate, shared: SharedDep) -> schemas.Trial:
    """Set a trial's tags or notes."""
    studies.annotate_trial(shared.db, study.id, number, tags=body.tags, notes=body.notes)
    return schemas.trial_answer(reading.trial(shared.db, study.id, number), constraints.of(study.definition))


@routes.post("/studies/{study_id}/trials/{number}/stop", openapi_extra=role(Role.EDITOR))
def stop_trial(
    request: Request, study: StudyDep, number: Number, shared: SharedDep, body: Because | None = None
) -> schemas.Trial:
    """End one trial: a running one at its next report, an enqueued one at once. The study goes on without it."""
    why = body.reason if body is not None else ""
    reason = f"stopped by a user: {why}" if why else "stopped by a user"
    stopping.stop_trial(shared.db, study.id, number, reason, remember=request.state.remember)
    shared.notify(study.id)
    return schemas.trial_answer(reading.trial(shared.db, study.id, number), constraints.of(study.definition))


@routes.get("/studies/{study_id}/trials/{number}/reports", openapi_extra=role(Role.VIEWER))
def list_reports(
    study: StudyDep, number: Number, shared: SharedDep, fence: OneFence = None
) -> schemas.Items[schemas.Report]:
    """A trial's reports; without a fence its canonical curve: per step the newest attempt's report."""
    reading.trial(shared.db, study.id, number)
    rows = reading.reports(shared.db, study.id, number, fence=fence)
    return schemas.Items[schemas.Report].model_construct(items=[schemas.report_answer(row) for row in rows])


@routes.get("/studies/{study_id}/trials/{number}/log", openapi_extra=role(Role.VIEWER))
def read_log(
    study: StudyDep,
    number: Number,
    shared: SharedDep,
    fence: OneFence = None,
    after: Annotated[int, Query(ge=0, lt=2**53, description="`next` of the answer before.")] = 0,
) -> schemas.Log:
    """What a trial's newest attempt (or that of a fence) wrote to its output."""
    row = reading.trial(shared.db, study.id, number)
    which = fence if fence is not None else row.fence
    text, then = logs.read_log(shared.db, study.id, number, fence=which, after=after)
    return schemas.Log(text=text, next=then, fence=which)


@routes.get(
    "/studies/{study_id}/trials/{number}/checkpoint",
    openapi_extra=role(Role.VIEWER),
    response_class=FileResponse,
    responses={304: {"description": "The client has this checkpoint already."}},
)
def get_checkpoint(request: Request, study: StudyDep, number: Number, shared: SharedDep) -> Response:
    """The newest checkpoint's bytes; the ETag is their SHA-256."""
    reading.trial(shared.db, study.id, number)
    rows = reading.checkpoints(shared.db, study.id, number)
    row, path = checkpoints.newest(shared.settings.resolved_storage, rows)
    headers = {
        "etag": f'"{row.digest}"',
        "x-checkpoint-resource": repr(row.resource),
        "x-checkpoint-step": str(row.step),
    }
    if headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    name = f"{study.id}-{number}{path.suffix}"
    return FileResponse(path, media_type="application/octet-stream", filename=name, headers=headers)


@routes.get("/studies/{study_id}/best", openapi_extra=role(Role.VIEWER))
def best_trials(
    study: StudyDep, shared: SharedDep, limit: Annotated[int, Query(ge=1, le=1000)] = 1
) -> schemas.Items[schemas.Trial]:
    """The best trials among those at the highest resource reached, best first. Where the study has constraints, of
    those that keep all of them; where none does, those that break them least."""
    rows, bounds = reading.best(shared.db, study.id, limit), constraints.of(study.definition)
    return schemas.Items[schemas.Trial].model_construct(items=[schemas.trial_answer(row, bounds) for row in rows])


@routes.get("/studies/{study_id}/rungs", openapi_extra=role(Role.VIEWER))
def list_rungs(study: StudyDep, shared: SharedDep) -> schemas.Items[schemas.RungAnswer]:
    """The rungs as they stand; none for algorithms without rungs."""
    items = [
        schemas.RungAnswer(
            bracket=rung.bracket,
            rung=rung.rung,
            resource=rung.resource,
            size=rung.size,
            entered=len(rung.entered),
            promoted=len(rung.promoted),
            trials=list(rung.entered),
            promoted_trials=list(rung.promoted),
            values=list(rung.values),
        )
        for rung in shared.decider.rungs(study.id)
    ]
    return schemas.Items[schemas.RungAnswer].model_construct(items=items)


@routes.get("/studies/{study_id}/export", openapi_extra=role(Role.VIEWER), response_class=StreamingResponse)
def export_study(
    study: StudyDep, shared: SharedDep, format: Annotated[Literal["csv", "json", "parquet"], Query()] = "csv"
) -> Response:
    """All trials, streamed in the order of their numbers."""
    pieces: Iterator[bytes] = exporting.export(
        reading.iter_trials(shared.db, study.id),
        format,
        space=study.definition["space"],
        metrics=names_of(shared, study).metrics,
        constraints=constraints.of(study.definition),
    )
    headers = {"content-disposition": f'attachment; filename="{study.id}.{format}"'}
    return StreamingResponse(pieces, media_type=exporting.MEDIA_TYPES[format], headers=headers)


def _failed(shared: Shared, study: StudyRow) -> dict[int, Mapping[str, Any]]:
    """Failed trials that were not retried yet, by number."""
    retried = {row.retry_of for row in _all(shared, study, Filter(field="origin", op="=", value=Origin.RETRY.value))}
    failed = _all(shared, study, Filter(field="state", op="=", value=TrialState.FAILED.value))
    return {row.number: row.params for row in failed if row.number not in retried}


def _all(shared: Shared, study: StudyRow, chosen: Filter) -> Iterator[Any]:
    cursor: str | None = None
    while True:
        page = reading.trials(shared.db, study.id, filters=(chosen,), cursor=cursor, limit=1000)
        yield from page.rows
        cursor = page.next_cursor
        if cursor is None:
            return


def _terminal(shared: Shared, study: StudyRow, numbers: list[int]) -> dict[int, Mapping[str, Any]]:
    chosen = {}
    for number in dict.fromkeys(numbers):
        row = reading.trial(shared.db, study.id, number)
        if row.state not in TERMINAL_TRIAL:
            raise Conflict(
                f"only a trial that ended can be retried, but trial {number} is {row.state.value}",
                remedy="wait until it ends",
            )
        chosen[number] = row.params
    return chosen


def _go_on(shared: Shared, study_id: str, reason: str) -> None:
    """An ended study goes on when it is given trials."""
    study = studies.get_study(shared.db, study_id)
    if study.state in ENDED_STUDY - {StudyState.FAILED}:
        target = goes_on_to(study.state, begun=study.external or study.started_at is not None)
        studies.set_state(shared.db, study_id, target, reason)
    shared.notify(study_id)
