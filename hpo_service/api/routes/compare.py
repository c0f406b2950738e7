"""`/compare`: studies side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from hpo_service.api import answers, comparing
from hpo_service.api.access import Role
from hpo_service.api.compared import Comparison
from hpo_service.api.routes.studies import answer, visible
from hpo_service.api.routing import role, router
from hpo_service.api.state import PrincipalDep, SharedDep

routes: APIRouter = router(tag="studies")


@routes.get(
    "/compare",
    openapi_extra=role(Role.VIEWER),
    response_class=Response,
    responses={200: {"model": Comparison}},
)
def compare_studies(
    request: Request,
    shared: SharedDep,
    caller: PrincipalDep,
    study: Annotated[list[str], Query(description="Repeat: study=A&study=B")],
) -> Response:
    """Studies side by side: best so far against trials, resource, time and cost; final values with the interval that
    chance allows; where the definitions differ; and whether the differences could be luck."""
    rows = visible(shared, caller, list(dict.fromkeys(study)))

    def make() -> Mapping[str, Any]:
        return comparing.compare(shared, rows, [answer(shared, row) for row in rows]).model_dump(mode="json")

    stand = " ".join(f"{row.id}:{row.last_seq}" for row in rows)
    return answers.respond(shared.answers, request, study_id=stand, seq=sum(r.last_seq for r in rows), build=make)
