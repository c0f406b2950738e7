"""What a study's trials tell: brackets, importance, distribution, Pareto front, timeline, sensitivity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from hpo_service.api import answers, viewing
from hpo_service.api.access import Role
from hpo_service.api.routing import role, router
from hpo_service.api.state import SharedDep, StudyDep
from hpo_service.store import looking
from hpo_service.views import brackets as brackets_view
from hpo_service.views import timeline as timeline_view
from hpo_service.views.columns import Bools, StudyColumns

routes: APIRouter = router(prefix="/studies/{study_id}", tag="analyses")


def told(description: str, example: Mapping[str, Any]) -> dict[str, Any]:
    """What the OpenAPI document says of an answer that is not made by a model: its columns are arrays of one length."""
    content = {"application/json": {"schema": {"type": "object"}, "example": dict(example)}}
    return {"response_class": Response, "responses": {200: {"description": description, "content": content}}}


_RUNG = {
    "rung": 0, "resource": 1.0, "size": 9, "entered": 9, "promoted": 3, "running": 0, "waiting": 0, "paused": 0,
    "stopped": 5, "failed": 1, "finished": 0, "threshold": 0.31, "threshold_rule": "worst promoted", "best": 0.22,
    "trials": {
        "number": [4], "value": [0.22], "fate": ["promoted"],
        "reason": ["rank 1 of 9 at resource 1: promoted to resource 3"],
    },
    "shown": 1, "of": 9,
}  # fmt: skip
_BRACKETS = {
    "seq": 57, "metric": "val_loss", "direction": "minimize", "note": "",
    "brackets": [{"bracket": 0, "label": "s=2", "rungs": [_RUNG]}],
    "planned": [{"bracket": 1, "label": "s=1", "rungs": [{"rung": 0, "resource": 3.0, "size": 5}]}],
    "shown": 1, "of": 1,
}  # fmt: skip


@routes.get(
    "/brackets",
    openapi_extra=role(Role.VIEWER),
    **told("Rungs with counts of all trials and at most 60 trials each.", _BRACKETS),
)
def get_brackets(request: Request, study: StudyDep, shared: SharedDep) -> Response:
    """Brackets, their rungs, and how trials moved up in them; at most 24 brackets."""

    def build(columns: StudyColumns, _: Bools) -> Mapping[str, Any]:
        return brackets_view.brackets(columns, brackets_view.reads_of(shared.db, study.id))

    return viewing.view(request, shared, study, filter="", build=build)


_TIMELINE = {
    "seq": 57, "from": 1_767_225_600.0, "until": 1_767_229_200.0,
    "workers": [
        {
            "id": "worker-0", "node": "node-0", "device": "cpu", "busy_s": 3400.5, "utilisation": 0.9446, "attempts": 1,
            "failures": 0,
        }
    ],
    "attempts": {
        "worker": [0], "trial": [17], "fence": [1], "start": [1_767_225_601.25], "end": [1_767_225_660.5],
        "outcome": ["reached"], "state": ["closed"], "from_resource": [0.0], "resource": [3.0], "lane": [0],
        "width": [1],
    },
    "shown": 1, "of": 1, "chosen": "all attempts", "more_before": None,
}  # fmt: skip


@routes.get(
    "/timeline",
    openapi_extra=role(Role.VIEWER),
    **told("Attempts as columns, newest first, and the workers that `attempts.worker` points at.", _TIMELINE),
)
def get_timeline(
    request: Request,
    study: StudyDep,
    shared: SharedDep,
    until: Annotated[
        float | None, Query(ge=0, lt=1e11, description="Seconds since 1970: `more_before` of the answer before.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=5_000)] = 1_000,
) -> Response:
    """Which worker trained what when, and how busy each worker was in that time."""
    before = None if until is None else round(until * 1e6)

    def build() -> Mapping[str, Any]:
        rows, now = looking.attempts_before(shared.db, study.id, before, limit + timeline_view.OVERLAP)
        opened = looking.open_attempts(shared.db, study.id, timeline_view.MAX_OPEN)
        found = timeline_view.page(rows, opened, limit=limit, until=before, now=now)
        with shared.columns.at(study.id, study.last_seq) as columns:
            of = int(columns.attempts.sum())
            return {"seq": columns.seq, **timeline_view.timeline(found, of=of, now=now)}

    return answers.respond(shared.answers, request, study_id=study.id, seq=study.last_seq, build=build)
