"""What the study page draws first: what changed, best so far, columns of trials, learning curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from hpo_service.api import answers, schemas, viewing
from hpo_service.api.access import Role
from hpo_service.api.answers import short
from hpo_service.api.filters import Names, parse_sort
from hpo_service.api.routes.studies import answer
from hpo_service.api.routing import role, router
from hpo_service.api.state import Shared, SharedDep, StudyDep
from hpo_service.api.viewing import FilterText
from hpo_service.core import constraints, values
from hpo_service.core.definition import parse
from hpo_service.errors import FieldProblem, InvalidInput
from hpo_service.store import bulk, improvements, reading
from hpo_service.store.curves import sample as thinned
from hpo_service.store.rows import Improvement, StudyRow
from hpo_service.views import progress, sample
from hpo_service.views.columns import STATES, Bools, Ints, StudyColumns
from hpo_service.views.sampling import best_first
from search_spaces.errors import nearest

routes: APIRouter = router(prefix="/studies/{study_id}", tag="charts")

MAX_CHANGED = 200
MAX_RUNNING = 1_000
MAX_CURVES = 200
MAX_NAMED = 1_000
CURVE_POINTS = 12_000
"""Points of all curves together: what keeps the answer under 500 KB."""
MAX_FIELDS = 64
MAX_IMPROVEMENTS = 500
CHANGED_PARAMS = 12_000
"""Parameters of all changed trials together: in a wide space fewer of them are sent."""
TIMES = frozenset({"started_at", "ended_at"})
"""Seconds since 1970 need more than seven digits."""
COLUMNAR: dict[str, Any] = {"response_class": Response, "responses": {200: {"content": {"application/json": {}}}}}


@routes.get("/changes", openapi_extra=role(Role.VIEWER), **COLUMNAR)
def get_changes(
    request: Request,
    study: StudyDep,
    shared: SharedDep,
    since: Annotated[int, Query(ge=0, lt=2**53, description="`seq` of the answer before.")],
) -> Response:
    """What moved since a sequence number: the study as it stands, at most 200 trials, the improvements.
    `pace_s` says how long a page should leave its charts as they are."""

    def make() -> Mapping[str, Any]:
        return _changes(shared, study, since)

    return answers.respond(shared.answers, request, study_id=study.id, seq=study.last_seq, build=make)


@routes.get("/progress", openapi_extra=role(Role.VIEWER), **COLUMNAR)
def get_progress(request: Request, study: StudyDep, shared: SharedDep, filter: FilterText = "") -> Response:
    """Best so far as it happened and by trial number, and at most 2,000 trials as points, against trials, resource,
    hours and cost."""
    started_at = study.started_at.timestamp() if study.started_at else None

    def build(columns: StudyColumns, mask: Bools) -> Mapping[str, Any]:
        objective = columns.definition.objective
        numbers, best = columns.remember("by_trial", lambda: progress.by_trial(columns))
        points = progress.points(columns, mask, started_at=started_at)
        return {
            "metric": objective.metric,
            "direction": objective.direction,
            "target": columns.definition.budget.target,
            "started_at": started_at,
            "improvements": improvement_columns(improvements.improvements(shared.db, study.id), started_at),
            "by_trial": {"trial": numbers, "value": best},
            **points,
            "points": {name: _compact(column) for name, column in points["points"].items()},
        }

    return viewing.view(request, shared, study, filter=filter, build=build)


@routes.get("/sample", openapi_extra=role(Role.VIEWER), **COLUMNAR)
def get_sample(
    request: Request,
    study: StudyDep,
    shared: SharedDep,
    fields: Annotated[str, Query(max_length=10_000, description="Comma separated; parameters and values.")] = "",
    filter: FilterText = "",
    limit: Annotated[int, Query(ge=1, le=5_000)] = 5_000,
) -> Response:
    """Fields, parameters and metrics of at most 5,000 trials, as columns."""
    wanted = _fields(fields, viewing.names_of(shared, study), study)

    def build(columns: StudyColumns, mask: Bools) -> Mapping[str, Any]:
        found = sample.sample(columns, wanted, mask, limit)
        columns_sent = {k: c if k in TIMES else _compact(c) for k, c in found["columns"].items()}
        return {**found, "columns": columns_sent}

    return viewing.view(request, shared, study, filter=filter, build=build)


@routes.get("/curves", openapi_extra=role(Role.VIEWER), **COLUMNAR)
def get_curves(
    request: Request,
    study: StudyDep,
    shared: SharedDep,
    metric: Annotated[str | None, Query(max_length=200, description="The objective's, if left out.")] = None,
    trials: Annotated[str | None, Query(max_length=10_000, description="Numbers, comma separated.")] = None,
    top: Annotated[int | None, Query(ge=1, le=1000, description="The best so many, if no trials are named.")] = None,
    choose: Annotated[
        Literal["top", "running", "newest", "filter"], Query(description="Which, if neither is given.")
    ] = "top",
    limit: Annotated[int, Query(ge=1, le=MAX_CURVES)] = 20,
    max_points: Annotated[int, Query(ge=2, le=10_000, description="Per trial, at most.")] = 200,
    filter: FilterText = "",
) -> Response:
    """Columnar, downsampled learning curves, with the rungs and where and why each trial ended."""
    chosen = metric or parse(study.definition).objective.metric
    named = _numbers(trials) if trials is not None else None

    def build(columns: StudyColumns, mask: Bools) -> Mapping[str, Any]:
        numbers, words = _which(columns, mask, choose, limit if top is None else top)
        asked = named if named is not None else numbers
        most = max(2, min(max_points, CURVE_POINTS // max(len(asked), 1)))
        found = reading.curves(shared.db, study.id, chosen, numbers=asked, max_points=most)
        if metric and not found["trials"]:
            _require_metric(viewing.names_of(shared, study), metric)
        place = {number: index for index, number in enumerate(asked)}
        lines = sorted(found["trials"], key=lambda line: place[line["number"]])
        for line in lines:
            line["matches"] = int(mask[line["number"]]) if line["number"] < columns.n else 0
        return {
            **found,
            "trials": lines,
            "chosen": "the trials that were named" if named is not None else words,
            "rungs": _levels(columns),
            "matching": int(np.count_nonzero(mask)),
        }

    return viewing.view(request, shared, study, filter=filter, build=build)


def improvement_columns(improved: Sequence[Improvement], started_at: float | None) -> dict[str, Any]:
    """At most 500 improvements as columns, spikes kept; `hours` counts from the study's first dispatch."""
    picked = thinned([values.to_json(math.nan if r.value is None else r.value) for r in improved], MAX_IMPROVEMENTS)
    rows = [improved[index] for index in picked]
    at = [row.at.timestamp() for row in rows]
    return {
        "trial": [row.trial for row in rows],
        "value": [row.value for row in rows],
        "resource": [row.resource for row in rows],
        "at": at,
        "hours": [None if started_at is None else max(0.0, (moment - started_at) / 3600) for moment in at],
        "spent_resource": [row.spent_resource for row in rows],
        "cost_microdollars": [row.cost_microdollars for row in rows],
        "ended": [row.ended for row in rows],
    }


def _changes(shared: Shared, study: StudyRow, since: int) -> Mapping[str, Any]:
    moved = bulk.moves(shared.db, study.id, since)
    with shared.columns.at(study.id, study.last_seq) as columns:
        running = np.flatnonzero(columns.state == STATES.index("running"))[:MAX_RUNNING]
    most = max(1, min(MAX_CHANGED, CHANGED_PARAMS // len(study.definition["space"])))
    newest = sorted(moved.trials or (), reverse=True)[:most]
    rows = reading.some(shared.db, study.id, newest) if newest else []
    started_at = study.started_at.timestamp() if study.started_at else None
    told = shared.notices.told(study.id)
    # A crowd comes to ask the same question, answered once, when all were told of the same state. What came since is
    # in this answer too and will be told again.
    seq = told if told is not None and since <= told <= study.last_seq else study.last_seq
    return {
        "seq": seq,
        "since": since,
        "pace_s": shared.notices.pace_s,
        "study": {**answer(shared, study, definition=False).model_dump(mode="json"), "last_seq": seq},
        "changed": -1 if moved.trials is None else len(moved.trials),
        "truncated": moved.trials is None or len(moved.trials) > most,
        "trials": [answers.as_sent(schemas.trial_answer(row, constraints.of(study.definition))) for row in rows],
        "running": running,
        "improvements": improvement_columns(improvements.improvements(shared.db, study.id, since), started_at),
    }


def _compact(column: Any) -> Any:
    is_real = isinstance(column, np.ndarray) and column.dtype == np.float64
    return short(column) if is_real else column


def _which(columns: StudyColumns, mask: Bools, choose: str, limit: int) -> tuple[list[int], str]:
    """The trials whose curves are shown, in order, and how they were chosen."""
    reported = columns.kind > 0
    begun = np.flatnonzero(reported)
    if choose == "running":
        found, words = np.flatnonzero(reported & (columns.state == STATES.index("running")))[::-1], "running"
    elif choose == "newest":
        found, words = begun[::-1], "newest"
    elif choose == "filter":
        matching = np.flatnonzero(reported & mask)
        best = best_first(columns, matching)
        found, words = np.concatenate([best, np.setdiff1d(matching, best)]), "best that match"
    else:
        found, words = best_first(columns, columns.number), "best"
    shown: Ints = found[:limit]
    return [int(number) for number in shown], f"the {words} {shown.size:,}" if shown.size else f"no {words} trials"


def _levels(columns: StudyColumns) -> list[dict[str, Any]]:
    """The resource levels at which trials are compared, by bracket, as far as trials came."""
    placed = (columns.bracket >= 0) & ~np.isnan(columns.target)
    pairs = np.unique(np.column_stack([columns.bracket[placed], columns.target[placed]]), axis=0)
    return [{"bracket": int(bracket), "resource": float(level)} for bracket, level in pairs[:500]]


def _fields(text: str, names: Names, study: StudyRow) -> list[str]:
    """The fields asked for, as filters call them. Raises InvalidInput naming the nearest."""
    if not text:
        return sample.default_fields(parse(study.definition))
    asked = [part.strip() for part in text.split(",") if part.strip()]
    if len(asked) > MAX_FIELDS:
        rule = f"at most {MAX_FIELDS} fields are sent at once"
        raise InvalidInput.of(FieldProblem(path="query.fields", rule=rule, value=len(asked), remedy="name fewer"))
    return [part if part in TIMES else parse_sort(part.removeprefix("-"), names) for part in dict.fromkeys(asked)]


def _require_metric(names: Names, metric: str) -> None:
    if metric not in names.metrics:
        rule = "the metric must be one that this study's trials report"
        remedy = nearest(metric, names.metrics)
        raise InvalidInput.of(FieldProblem(path="query.metric", rule=rule, value=metric, remedy=remedy))


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 16 for part in parts):
        rule = "trials are numbers, comma separated"
        raise InvalidInput.of(FieldProblem(path="query.trials", rule=rule, value=text, remedy="write trials=1,2"))
    if len(parts) > MAX_NAMED:
        rule = f"at most {MAX_NAMED:,} trials are named at once"
        raise InvalidInput.of(FieldProblem(path="query.trials", rule=rule, value=len(parts), remedy="name fewer"))
    return [int(part) for part in parts]
