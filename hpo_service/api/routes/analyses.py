"""What a study's trials tell: brackets, importance, distribution, Pareto front, timeline, sensitivity."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from hpo_service.api import answers, importances, viewing
from hpo_service.api.access import Role
from hpo_service.api.answers import short
from hpo_service.api.filters import parse_sort
from hpo_service.api.routing import role, router
from hpo_service.api.state import SharedDep, StudyDep
from hpo_service.api.viewing import FilterText
from hpo_service.store import looking, reading
from hpo_service.views import brackets as brackets_view
from hpo_service.views import distribution as distribution_view
from hpo_service.views import pareto as pareto_view
from hpo_service.views import sensitivity as sensitivity_view
from hpo_service.views import timeline as timeline_view
from hpo_service.views.columns import Bools, StudyColumns

routes: APIRouter = router(prefix="/studies/{study_id}", tag="analyses")

TIMELINE_S = 5.0
"""So long a timeline is served again while attempts are open, which go on though nothing is reported."""


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


_IMPORTANCE = {
    "seq": 57, "method": "ped_anova", "metric": "val_loss", "direction": "minimize",
    "parameters": [{"name": "lr", "importance": 0.83}, {"name": "dropout", "importance": 0.17}],
    "trials_used": 60, "of": 206, "matching": 206, "chosen": "the trials that came to resource 27 or further",
    "note": "", "computing": False,
}  # fmt: skip


@routes.get(
    "/importance",
    openapi_extra=role(Role.VIEWER),
    **told("Parameters by importance, shares of one; `computing`: ask again in a moment.", _IMPORTANCE),
)
def get_importance(
    request: Request,
    study: StudyDep,
    shared: SharedDep,
    method: Annotated[Literal["ped_anova", "fanova"], Query(description="fanova needs scikit-learn.")] = "ped_anova",
    filter: FilterText = "",
) -> Response:
    """How much each parameter mattered for the objective, over trials that came about as far."""
    filters = viewing.read_filter(shared, study, filter)
    if method == "ped_anova":

        def build(columns: StudyColumns, mask: Bools) -> Mapping[str, Any]:
            return importances.quick(columns, mask)

        return viewing.view(request, shared, study, filter=filter, build=build)
    with shared.columns.at(study.id, study.last_seq) as columns:
        job = importances.forest(columns, viewing.mask_of(shared, columns, filters))
    found = importances.forest_answer(shared.background, (study.id, filter), job)
    keep = not found["computing"] and all(one.field != "tag" for one in filters)
    return answers.respond(
        shared.answers, request, study_id=study.id, seq=study.last_seq, build=lambda: found, keep=keep
    )


_DISTRIBUTION = {
    "seq": 57, "metric": "val_loss", "direction": "minimize", "by": "param.optimizer",
    "groups": [
        {"name": "all", "value": [0.2, 0.4, 0.9], "share": [0.3333, 0.6667, 1.0], "n": 3, "mean": 0.5},
        {"name": "adam", "value": [0.2, 0.4], "share": [0.5, 1.0], "n": 2, "mean": 0.3},
    ],
    "matching": 4, "not_finite": 1, "of": 4,
}  # fmt: skip


@routes.get(
    "/distribution",
    openapi_extra=role(Role.VIEWER),
    **told("Per group at most 200 quantiles: `share` of its trials have at most that `value`.", _DISTRIBUTION),
)
def get_distribution(
    request: Request,
    study: StudyDep,
    shared: SharedDep,
    by: Annotated[str, Query(max_length=200, description="A field, parameter or metric to group by.")] = "",
    filter: FilterText = "",
) -> Response:
    """How the objective's values are spread, over all trials and over groups of them."""
    field = parse_sort(by, viewing.names_of(shared, study)).removeprefix("-") if by else None

    def build(columns: StudyColumns, mask: Bools) -> Mapping[str, Any]:
        found = distribution_view.distribution(columns, mask, field)
        groups = [{**one, "value": short(one["value"]), "share": short(one["share"])} for one in found["groups"]]
        return {**found, "groups": groups}

    return viewing.view(request, shared, study, filter=filter, build=build)


_PARETO = {
    "seq": 57,
    "objectives": [{"metric": "val_loss", "direction": "minimize"}, {"metric": "ms", "direction": "minimize"}],
    "front": {"number": [4, 9], "values": [[0.22, 0.31], [8.1, 2.4]], "size": 2},
    "points": {"number": [0, 4, 9], "values": [[0.5, 0.22, 0.31], [9.0, 8.1, 2.4]], "matches": [1, 1, 1]},
    "shown": 3, "of": 3, "matching": 3, "chosen": "all trials", "note": "",
}  # fmt: skip


@routes.get(
    "/pareto",
    openapi_extra=role(Role.VIEWER),
    **told("The trials that no other one beats in every objective; `values` holds a column per objective.", _PARETO),
)
def get_pareto(request: Request, study: StudyDep, shared: SharedDep, filter: FilterText = "") -> Response:
    """The Pareto front of all trials, and at most 2,000 trials to compare it with."""

    def build(columns: StudyColumns, mask: Bools) -> Mapping[str, Any]:
        found = pareto_view.pareto(columns, mask)
        for part in ("front", "points"):
            found[part] = {**found[part], "values": [short(column) for column in found[part]["values"]]}
        return found

    return viewing.view(request, shared, study, filter=filter, build=build)


_SENSITIVITY = {
    "seq": 57, "metric": "val_loss", "direction": "minimize", "missing": None, "note": "",
    "baseline": {"trial": 0, "params": {"lr": 0.001, "optimizer": "sgd"}, "value": 0.41, "state": "finished"},
    "parameters": [
        {
            "name": "lr", "type": "number", "log": True, "x": 0.001, "of": 1,
            "points": [{"trial": 12, "x": 0.01, "value": 0.35, "state": "finished"}],
            "suggested": [{"params": {"lr": 0.0003, "optimizer": "sgd"}, "x": 0.0003}],
        }
    ],
}  # fmt: skip


@routes.get(
    "/sensitivity",
    openapi_extra=role(Role.VIEWER),
    **told("Per parameter the trials that differ from the baseline in it alone, and what to try.", _SENSITIVITY),
)
def get_sensitivity(
    request: Request,
    study: StudyDep,
    shared: SharedDep,
    trial: Annotated[int | None, Query(ge=0, lt=2**53, description="Look around this trial instead.")] = None,
) -> Response:
    """One parameter changed at a time, around the baseline."""

    def load(number: int) -> Mapping[str, Any]:
        return reading.trial(shared.db, study.id, number).params

    def build(columns: StudyColumns, _: Bools) -> Mapping[str, Any]:
        return sensitivity_view.sensitivity(columns, load, trial)

    if trial is not None:
        reading.trial(shared.db, study.id, trial)
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
        "outcome": ["reached"], "state": ["closed"], "from_resource": [0.0], "resource": [3.0], "lane": [1],
        "width": [8], "launch": [0], "filled": [False],
    },
    "launches": [
        {
            "id": "8f14e45fceea467a9a9c0f2d6c1e5c1b", "method": "fused", "width": 8, "trials": 1, "worker": 0,
            "start": 1_767_225_601.25, "end": 1_767_225_660.5, "outcomes": {"reached": 1},
        }
    ],
    "waiting": 0, "shown": 1, "of": 1, "chosen": "all attempts", "more_before": None,
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
    limit: Annotated[
        int | None, Query(ge=1, le=5_000, description="Left out: 1,000 attempts, or 5,000 where trials train together.")
    ] = None,
) -> Response:
    """Which worker trained what when, and how busy each worker was in that time."""
    before = None if until is None else round(until * 1e6)

    def build() -> Mapping[str, Any]:
        few, _ = looking.attempts_before(shared.db, study.id, before, timeline_view.FEW)
        fused = timeline_view.fused(few)
        most = limit or (timeline_view.FUSED_PAGE if fused else timeline_view.PAGE)
        overlap = timeline_view.FUSED_OVERLAP if fused else timeline_view.OVERLAP
        rows, now = looking.attempts_before(shared.db, study.id, before, most + overlap)
        opened = looking.open_attempts(shared.db, study.id, timeline_view.MAX_OPEN)
        found = timeline_view.page(rows, opened, limit=most, until=before, now=now)
        with shared.columns.at(study.id, study.last_seq) as columns:
            of = int(columns.attempts.sum())
            return {"seq": columns.seq, **timeline_view.timeline(found, of=of, now=now)}

    moment = int(time.time() // TIMELINE_S) if study.open_attempts else 0  # workers begin attempts without an event
    return answers.respond(shared.answers, request, study_id=study.id, seq=study.last_seq, build=build, moment=moment)
