"""Whether the process is up, whether it can serve, what it counts, and what is wrong with the installation."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from hpo_service.api import doctor, metrics, schemas
from hpo_service.api.access import Role
from hpo_service.api.problems import problem_response
from hpo_service.api.routing import role, router
from hpo_service.api.state import SharedDep
from hpo_service.core.definition import json_schema
from hpo_service.errors import HpoError, Unavailable
from hpo_service.store import workers

root: APIRouter = router(tag="health", root="")
routes: APIRouter = router(tag="service")


@root.get("/healthz", openapi_extra=role(Role.PUBLIC))
async def healthz() -> schemas.Health:
    """The process is up and its event loop turns."""
    return schemas.Health(status="ok")


@root.get("/readyz", openapi_extra=role(Role.PUBLIC))
def readyz(request: Request, shared: SharedDep) -> Response:
    """The database answers, its schema is current, and a controller leads what should run; else 503."""
    try:
        failed = [check for check in doctor.readiness(shared) if not check.ok]
    except HpoError as error:
        return problem_response(Unavailable(error.message, remedy=error.remedy), request.scope["path"])
    if failed:
        first = failed[0]
        return problem_response(
            Unavailable(f"{first.name}: {first.detail}", remedy=first.remedy), request.scope["path"]
        )
    return JSONResponse({"status": "ready"})


@root.get("/metrics", openapi_extra=role(Role.VIEWER))
def get_metrics(shared: SharedDep) -> Response:
    """Counts and durations for Prometheus."""
    return Response(shared.metrics.render(), media_type=metrics.CONTENT_TYPE)


@routes.get("/workers", openapi_extra=role(Role.VIEWER))
def list_workers(shared: SharedDep) -> schemas.Items[schemas.Worker]:
    """The warm workers, as the controllers last saw them."""
    return schemas.Items[schemas.Worker](items=[schemas.worker_answer(row) for row in workers.workers(shared.db)])


@routes.get("/schema", openapi_extra=role(Role.PUBLIC))
def get_schema() -> dict[str, Any]:
    """The JSON Schema of a study definition, for editors."""
    return json_schema()


@routes.get("/doctor", openapi_extra=role(Role.EDITOR))
def get_doctor(shared: SharedDep) -> schemas.Doctor:
    """What the server can see of its own installation, each with a remedy."""
    return schemas.Doctor(checks=doctor.checks(shared))
