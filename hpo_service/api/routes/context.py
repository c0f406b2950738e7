"""What one trial's page says beside the trial: others like it, its place, what its curves say."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from hpo_service.api import answers
from hpo_service.api.access import Role
from hpo_service.api.routes.charts import COLUMNAR
from hpo_service.api.routes.trials import Number
from hpo_service.api.routing import role, router
from hpo_service.api.state import Shared, SharedDep, StudyDep
from hpo_service.core import diagnosis
from hpo_service.core.definition import parse
from hpo_service.core.diagnosis import Curve, Diagnosis, Pair
from hpo_service.core.states import TERMINAL_TRIAL, Origin, TrialState
from hpo_service.store import reading
from hpo_service.store.database import Database
from hpo_service.store.rows import ReportRecord, StudyRow, TrialRow
from hpo_service.views import neighbours
from hpo_service.views.columns import ORIGINS, StudyColumns

routes: APIRouter = router(prefix="/studies/{study_id}/trials/{number}", tag="trials")

NEIGHBOURS = 8


@routes.get("/context", openapi_extra=role(Role.VIEWER), **COLUMNAR)
def get_context(request: Request, study: StudyDep, number: Number, shared: SharedDep) -> Response:
    """What stands beside a trial: the baseline, the best, the most similar ones, its place, its retries, the
    environments of its attempts, and what its learning curves say."""
    reading.trial(shared.db, study.id, number)

    def make() -> Mapping[str, Any]:
        return _context(shared, study, number)

    return answers.respond(shared.answers, request, study_id=study.id, seq=study.last_seq, build=make)


def _context(shared: Shared, study: StudyRow, number: int) -> Mapping[str, Any]:
    with shared.columns.at(study.id, study.last_seq) as columns:
        seq, count = columns.seq, columns.n
        near, apart = neighbours.nearest(columns, number, NEIGHBOURS)
        place, ranked = neighbours.rank(columns, number)
        baseline = neighbours.first_of_origin(columns, ORIGINS.index(Origin.BASELINE.value))
        retried = neighbours.retries(columns, number)
        ends = {name: _at(columns, name, study.best_trial) for name in columns.metrics}
    wanted = {number, *near.tolist()} | {n for n in (baseline, study.best_trial) if n is not None}
    rows = {row.number: row for row in reading.some(shared.db, study.id, sorted(wanted))}
    reports = reading.reports(shared.db, study.id, number)
    pairs, found = _diagnosis(study, rows[number], reports, ends if study.best_trial != number else {})
    return {
        "seq": seq,
        "baseline": _named(rows, baseline),
        "best": _named(rows, study.best_trial),
        "neighbours": [
            {**_summary(rows[n]), "distance": distance, "state": rows[n].state.value}
            for n, distance in zip(near.tolist(), apart.tolist(), strict=True)
            if n in rows
        ],
        "diagnosis": diagnosis.to_json(found),
        "pairs": [{"name": pair.name, "train": pair.train, "validation": pair.validation} for pair in pairs],
        "environments": _environments(shared.db, study.id, number),
        "previous": number - 1 if number > 0 else None,
        "next": number + 1 if number + 1 < count else None,
        "retries": retried,
        "rank": place,
        "ranked": ranked,
    }


def _diagnosis(
    study: StudyRow, trial: TrialRow, reports: Sequence[ReportRecord], ends: Mapping[str, float | None]
) -> tuple[list[Pair], list[Diagnosis]]:
    """The pairs among the trial's metrics, and what the first of them and the objective say."""
    definition = parse(study.definition)
    directions = {objective.metric: objective.maximize for objective in definition.objectives}
    names = list(dict.fromkeys(name for report in reports for name in report.metrics))
    pairs = diagnosis.pairs(names)
    objective = _curve(reports, definition.objective.metric, maximize=definition.objective.maximize)
    goes_on, failed = trial.state not in TERMINAL_TRIAL, trial.state is TrialState.FAILED
    horizon = None if failed else trial.horizon  # what failed was not ended for the sake of others
    read = functools.partial(diagnosis.diagnose, objective, goes_on=goes_on, horizon=horizon)
    for pair in pairs:
        maximize = diagnosis.maximizes(pair.validation, directions)
        if maximize is not None:
            train, validation = (_curve(reports, name, maximize=maximize) for name in (pair.train, pair.validation))
            best = ends.get(pair.train)
            return pairs, read(train, validation, best_train=best)
    return pairs, read()


def _curve(reports: Sequence[ReportRecord], name: str, *, maximize: bool) -> Curve:
    there = [report for report in reports if name in report.metrics]
    resource, value = [r.resource for r in there], [r.metrics[name] for r in there]
    return Curve.of(name, resource, value, maximize=maximize)


def _at(columns: StudyColumns, metric: str, number: int | None) -> float | None:
    return None if number is None or number >= columns.n else float(columns.metrics[metric][number])


def _named(rows: Mapping[int, TrialRow], number: int | None) -> dict[str, Any] | None:
    return _summary(rows[number]) if number is not None and number in rows else None


def _summary(row: TrialRow) -> dict[str, Any]:
    return {"trial": row.number, "params": dict(row.params), "value": row.value}


def _environments(db: Database, study_id: str, number: int) -> dict[str, Any]:
    """What the trial's attempts ran in, by digest, in the order of the attempts."""
    attempts = reading.attempts(db, study_id, number)
    digests = dict.fromkeys(a.environment_digest for a in attempts if a.environment_digest is not None)
    return {digest: reading.environment(db, digest) for digest in digests}
