"""`/studies/{id}/logs`: searching what trials printed. Reading one log is `trials`'."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from hpo_service.api import schemas
from hpo_service.api.access import Role
from hpo_service.api.routes.studies import Cursor
from hpo_service.api.routing import role, router
from hpo_service.api.state import SharedDep, StudyDep
from hpo_service.errors import FieldProblem, InvalidInput
from hpo_service.store import logsearch

routes: APIRouter = router(tag="trials")


class FoundLine(schemas.Answer):
    """A line of a log that holds what was searched for."""

    trial: int = Field(examples=[17])
    fence: int = Field(examples=[1])
    line: int = Field(description="Counted from 1 in the log of that attempt.", examples=[42])
    text: str = Field(description="The line; of a long one 400 characters around the place.")


class FoundLines(schemas.Answer):
    """Lines in the order of trials, attempts and lines."""

    items: list[FoundLine]
    next_cursor: str | None = Field(
        description="Null once every log was looked through. One answer looks through about 8 MiB, so that it may hold "
        "few lines, or none, with more to come."
    )
    searched: int = Field(description="Characters of logs that this answer looked through.")


@routes.get("/studies/{study_id}/logs", openapi_extra=role(Role.VIEWER))
def search_logs(
    study: StudyDep,
    shared: SharedDep,
    search: Annotated[
        str, Query(min_length=1, max_length=200, description="A text, whatever the case of its letters.")
    ],
    trial: Annotated[int | None, Query(ge=0, lt=2**53, description="Of one trial only.")] = None,
    fence: Annotated[int | None, Query(ge=1, lt=2**53, description="Of its attempt with this fence only.")] = None,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> FoundLines:
    """Lines of logs that hold a text: of a study, a trial or an attempt."""
    if "\n" in search:
        rule = "a search is for a part of one line"
        raise InvalidInput.of(FieldProblem(path="query.search", rule=rule, value=search, remedy="leave out line ends"))
    wanted = logsearch.Wanted(study_id=study.id, search=search, trial=trial, fence=fence)
    page = logsearch.search_logs(shared.db, wanted, cursor=cursor, limit=limit)
    items = [FoundLine(trial=row.trial, fence=row.fence, line=row.line, text=row.text) for row in page.rows]
    return FoundLines(items=items, next_cursor=page.next_cursor, searched=page.searched)
