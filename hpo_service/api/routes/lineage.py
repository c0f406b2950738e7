"""`/studies/{id}/trials/{number}/lineage`: which trials' weights a trial went on from, as a schedule of parameters."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from hpo_service.api import schemas
from hpo_service.api.access import Role
from hpo_service.api.routes.trials import Number
from hpo_service.api.routing import role, router
from hpo_service.api.state import SharedDep, StudyDep
from hpo_service.store import lineage

routes: APIRouter = router(prefix="/studies/{study_id}/trials/{number}", tag="trials")


class Stage(schemas.Answer):
    """One trial's part of a lineage: it trained between two resources with these parameters."""

    trial: int = Field(examples=[17])
    from_resource: float
    to_resource: float
    params: dict[str, Any]
    changed: list[str] = Field(description="The parameters that the stage before had otherwise.")
    value: float | None = Field(description="Of the first objective, at `to_resource`.")


class Lineage(schemas.Answer):
    """A trial's stages in the order of their resource; the last one is its own."""

    study_id: str
    trial: int
    stages: list[Stage]


@routes.get("/lineage", openapi_extra=role(Role.VIEWER))
def get_lineage(study: StudyDep, number: Number, shared: SharedDep) -> Lineage:
    """The trials whose weights this one went on from: the schedule of parameters that population based training found.
    A trial that went on from no other has one stage."""
    stages = [
        Stage(
            trial=one.trial,
            from_resource=one.from_resource,
            to_resource=one.to_resource,
            params=dict(one.params),
            changed=list(one.changed),
            value=one.value,
        )
        for one in lineage.of(shared.db, study.id, number)
    ]
    return Lineage(study_id=study.id, trial=number, stages=stages)
