"""`/studies/{id}/trials/{number}/record` and `…/reproductions`: what training a trial again takes, and asking for it.

The controller has it done; nothing is trained here.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import JSONResponse
from pydantic import Field

from hpo_service.api import planning, schemas
from hpo_service.api.access import Role
from hpo_service.api.routes.trials import Number
from hpo_service.api.routing import role, router
from hpo_service.api.state import PrincipalDep, SharedDep, StudyDep
from hpo_service.core.definition import parse
from hpo_service.errors import NotFound
from hpo_service.store import records, reproductions
from hpo_service.store.reproductions import ReproductionRow

routes: APIRouter = router(prefix="/studies/{study_id}/trials/{number}", tag="reproductions")
ReproductionId = Annotated[str, Path(max_length=100)]


class Reproduction(schemas.Answer):
    """A trial that is, or was, trained again from its record."""

    id: str
    study_id: str
    trial: int = Field(examples=[17])
    state: Literal["waiting", "running", "done", "failed"] = Field(
        description="`failed`: it could not be trained again, for `reason`. Reports that differ are `done`."
    )
    asked_by: str
    asked_at: datetime
    ended_at: datetime | None
    losses: int = Field(description="Workers that were lost over it; it is tried three times.")
    seconds: float
    cost_microdollars: int = Field(description="No part of the study's cost.")
    reason: str = Field(description="Why it failed.")
    equal: bool | None = Field(description="Whether every report came out the same bit for bit; null before the end.")
    verdict: str | None = Field(examples=["Equal bit for bit: all 27 reports."])
    document: dict[str, Any] | None = Field(
        description="What was compared: comparison, environment (differences), hints, curves. In lists without `now`, "
        "the whole environment of the repetition."
    )


@routes.get("/record", openapi_extra=role(Role.VIEWER), response_class=JSONResponse)
def get_record(study: StudyDep, number: Number, shared: SharedDep) -> JSONResponse:
    """All that is needed to train a trial again elsewhere, and what it reported: parameters, seed, code, segments,
    environments. `hpo reproduce FILE --here` reads it."""
    document = records.trial_record(shared.db, study.id, number)
    name = f"{study.id}-{number}.json"
    return JSONResponse(document, headers={"content-disposition": f'attachment; filename="{name}"'})


@routes.post("/reproductions", status_code=201, openapi_extra=role(Role.RUNNER))
def reproduce_trial(
    request: Request, study: StudyDep, number: Number, shared: SharedDep, caller: PrincipalDep
) -> Reproduction:
    """Have a worker train the trial again from its record and compare every report. While that is under way, asking
    again gives the same reproduction. Users' own code needs the permission to submit code."""
    definition = parse(study.definition)
    planning.require_permission(definition, caller)
    planning.require_code(shared.db, shared.settings, definition)
    records.trial_record(shared.db, study.id, number)  # refuses what has none
    row = reproductions.ask(shared.db, study.id, number, asked_by=caller.name, remember=request.state.remember)
    return _answer(row)


@routes.get("/reproductions", openapi_extra=role(Role.VIEWER))
def list_reproductions(study: StudyDep, number: Number, shared: SharedDep) -> schemas.Items[Reproduction]:
    """The newest hundred reproductions of a trial, newest first."""
    rows = reproductions.of_trial(shared.db, study.id, number)
    return schemas.Items[Reproduction](items=[_answer(row, listed=True) for row in rows])


@routes.get("/reproductions/{reproduction_id}", openapi_extra=role(Role.VIEWER))
def get_reproduction(
    study: StudyDep, number: Number, reproduction_id: ReproductionId, shared: SharedDep
) -> Reproduction:
    """One reproduction as it stands."""
    row = reproductions.get(shared.db, reproduction_id)
    if (row.study_id, row.trial) != (study.id, number):
        raise NotFound(f"trial {number} has no reproduction {reproduction_id!r}", remedy="list those of the trial")
    return _answer(row)


def _answer(row: ReproductionRow, *, listed: bool = False) -> Reproduction:
    document = None if row.document is None else dict(row.document)
    if document is not None and listed:
        document.pop("now", None)
    return Reproduction(
        id=row.id,
        study_id=row.study_id,
        trial=row.trial,
        state=row.state,
        asked_by=row.asked_by,
        asked_at=row.asked_at,
        ended_at=row.ended_at,
        losses=row.losses,
        seconds=row.seconds,
        cost_microdollars=row.cost_microdollars,
        reason=row.reason,
        equal=None if document is None else bool(document.get("equal")),
        verdict=None if document is None else str(document.get("verdict")),
        document=document,
    )
