"""How trials are trained: who shared a launch, and the methods that a study's structures got."""

from __future__ import annotations

from fastapi import APIRouter

from hpo_service.api.access import Role
from hpo_service.api.routes.trials import Number, OneFence
from hpo_service.api.routing import role, router
from hpo_service.api.state import SharedDep, StudyDep
from hpo_service.api.training import Launch, Methods, launch_answer, methods_answer
from hpo_service.errors import NotFound
from hpo_service.store import looking, reading

routes: APIRouter = router(prefix="/studies/{study_id}", tag="trials")


@routes.get("/trials/{number}/launch", openapi_extra=role(Role.VIEWER))
def get_launch(study: StudyDep, number: Number, shared: SharedDep, fence: OneFence = None) -> Launch:
    """The trials that were trained together with this one, in its newest attempt or in that of a fence."""
    trial = reading.trial(shared.db, study.id, number)
    if fence is None and trial.fence == 0:
        raise NotFound(f"trial {number} of study {study.id} has no attempt yet", remedy="wait until it has started")
    return launch_answer(looking.launch_of(shared.db, study.id, number, fence or trial.fence))


@routes.get("/methods", openapi_extra=role(Role.VIEWER))
def list_methods(study: StudyDep, shared: SharedDep) -> Methods:
    """How trials of each structure are trained now, plainly or fused, and what that was chosen by."""
    return methods_answer(looking.methods_chosen(shared.db, study.id))
