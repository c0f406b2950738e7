"""Is the winner real? Confirmations of a study: begun, listed, looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from hpo_service.api import answers, confirmed, confirming, schemas
from hpo_service.api.access import Role
from hpo_service.api.confirmed import ConfirmationAnswer, ConfirmationLink
from hpo_service.api.requests import Confirm
from hpo_service.api.routes.studies import answer
from hpo_service.api.routing import role, router
from hpo_service.api.state import PrincipalDep, SharedDep, StudyDep
from hpo_service.store import finding
from hpo_service.views.confirmation import read

routes: APIRouter = router(prefix="/studies/{study_id}", tag="confirmations")


@routes.post("/confirmations", status_code=201, openapi_extra=role(Role.EDITOR))
def confirm_study(
    request: Request, study: StudyDep, shared: SharedDep, caller: PrincipalDep, body: Confirm | None = None
) -> schemas.Study:
    """Train the best trials again, each with several new seeds, as a study of its own; the answer is that study. It is
    the one place where test metrics are computed."""
    asked = body or Confirm()
    row = confirming.begin(
        shared, study, caller, top=asked.top, seeds=asked.seeds, trials=asked.trials, remember=request.state.remember
    )
    shared.notify(row.id)
    return answer(shared, row)


@routes.get("/confirmations", openapi_extra=role(Role.VIEWER))
def list_confirmations(study: StudyDep, shared: SharedDep) -> schemas.Items[ConfirmationLink]:
    """The confirmations of a study, oldest first, each with its verdict in a sentence."""
    rows = finding.confirming(shared.db, study.id)
    items = [confirmed.link(read(shared.db, row)) for row in rows]
    return schemas.Items[ConfirmationLink](items=items)


@routes.get(
    "/confirmation",
    openapi_extra=role(Role.VIEWER),
    response_class=Response,
    responses={200: {"model": ConfirmationAnswer}},
)
def get_confirmation(
    request: Request,
    study: StudyDep,
    shared: SharedDep,
    ensemble: Annotated[bool, Query(description="Whether to build the ensemble of the confirmed models, too.")] = False,
) -> Response:
    """What a confirmation has come to: of each configuration the mean and spread over seeds, what the search had seen,
    the winner against all others, and a verdict in words. 404 for a study that confirms none."""

    def make() -> Mapping[str, Any]:
        return confirming.outcome(shared, study, together=ensemble).model_dump(mode="json")

    return answers.respond(shared.answers, request, study_id=study.id, seq=study.last_seq, build=make, exact=True)
