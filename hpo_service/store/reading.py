"""Reading trials: one, pages by any sort and filter, attempts, reports, curves, streams, counters. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Select, func, select

from hpo_service.core.states import TRIAL_TRANSITIONS, StudyState
from hpo_service.errors import NotFound
from hpo_service.store import opening, scoring
from hpo_service.store.curve_stats import curve_stats
from hpo_service.store.curves import canonical, curves
from hpo_service.store.database import Database
from hpo_service.store.mapping import attempt_row, report_record, trial_row
from hpo_service.store.rows import AttemptRow, CheckpointRow, ReportRecord, TrialRow
from hpo_service.store.tables import attempts as attempts_table
from hpo_service.store.tables import environments, studies, trial_tags, workers
from hpo_service.store.tables import reports as reports_table
from hpo_service.store.tables import trials as trials_table
from hpo_service.store.trial_pages import Filter
from hpo_service.store.trial_pages import trials_page as trials

__all__ = [
    "Filter",
    "attempts",
    "best",
    "checkpoints",
    "counters",
    "curve_stats",
    "curves",
    "environment",
    "iter_reports",
    "iter_trials",
    "metric_names",
    "reports",
    "some",
    "tagged",
    "trial",
    "trials",
]
CHUNK = 1000


def trial(db: Database, study_id: str, number: int) -> TrialRow:
    """One trial. Raises NotFound."""
    c = trials_table.c
    with db.read() as tx:
        row = tx.first(select(trials_table).where(c.study_id == study_id, c.number == number))
    if row is None:
        raise NotFound(f"study {study_id} has no trial {number}", remedy="list them with `hpo trials`")
    return trial_row(row)


def some(db: Database, study_id: str, numbers: Sequence[int]) -> list[TrialRow]:
    """The trials of these numbers that there are, by number."""
    c = trials_table.c
    with db.read() as tx:
        statement = select(trials_table).where(c.study_id == study_id, tx.among(c.number, numbers))
        return [trial_row(row) for row in tx.all(statement.order_by(c.number))]


def tagged(db: Database, study_id: str, tag: str) -> list[int]:
    """Numbers of the trials that carry the tag."""
    t = trial_tags.c
    with db.read() as tx:
        return [row.trial for row in tx.all(select(t.trial).where(t.study_id == study_id, t.tag == tag))]


def attempts(db: Database, study_id: str, number: int) -> list[AttemptRow]:
    """The trial's attempts, oldest first; empty for an unknown trial."""
    c = attempts_table.c
    statement = select(attempts_table).where(c.study_id == study_id, c.trial == number).order_by(c.fence)
    with db.read() as tx:
        return [attempt_row(row) for row in tx.all(statement)]


def reports(db: Database, study_id: str, number: int, *, fence: int | None = None) -> list[ReportRecord]:
    """The trial's reports by step: of one attempt, or (fence None) the canonical curve, where per step the newest
    attempt's report counts."""
    c = reports_table.c
    statement = select(reports_table).where(c.study_id == study_id, c.trial == number).order_by(c.step, c.fence)
    if fence is not None:
        statement = statement.where(c.fence == fence)
    with db.read() as tx:
        return [report_record(row) for row in canonical(tx.all(statement))]


def best(db: Database, study_id: str, limit: int = 1) -> list[TrialRow]:
    """The best trials by the first objective: the highest resource reached first, there the best value first, ties by
    number. Where there are constraints, those that keep them; where none does, those that break them least first.
    Failed trials and those without a finite value are left out. Raises NotFound."""
    c = trials_table.c
    found: list[TrialRow] = []
    with db.read() as tx:
        columns = (studies.c.objectives, studies.c.constraints)
        study = tx.first(select(*columns).where(studies.c.id == study_id, studies.c.deleted_at.is_(None)))
        if study is None:
            raise NotFound(f"there is no study {study_id!r}", remedy="list the studies with `hpo studies`")
        maximize = json.loads(study.objectives)[0]["direction"] == "maximize"
        order = c.sort_value.desc() if maximize else c.sort_value.asc()
        least, ranks = scoring.ranking(tx, study_id, constrained=study.constraints is not None)
        if least:  # what breaks constraints goes by how little
            known = (c.study_id == study_id, c.sort_value.is_not(None), c.violation.is_not(None))
            here = select(trials_table).where(*known).order_by(c.violation, c.resource.desc(), order, c.number)
            return [trial_row(row) for row in tx.all(here.limit(limit))]
        level = tx.execute(select(func.max(c.resource)).where(*ranks)).scalar()
        while level is not None and len(found) < limit:
            here = select(trials_table).where(*ranks, c.resource == level).order_by(order, c.number)
            found += [trial_row(row) for row in tx.all(here.limit(limit - len(found)))]
            level = tx.execute(select(func.max(c.resource)).where(*ranks, c.resource < level)).scalar()
    return found


def iter_trials(db: Database, study_id: str) -> Iterator[TrialRow]:
    """Every trial by number, read in chunks, so that nothing holds the database meanwhile."""
    c, after = trials_table.c, -1
    while True:
        statement = select(trials_table).where(c.study_id == study_id, c.number > after).order_by(c.number)
        with db.read() as tx:
            rows = tx.all(statement.limit(CHUNK))
        for row in rows:
            yield trial_row(row)
        if len(rows) < CHUNK:
            return
        after = rows[-1].number


def iter_reports(db: Database, study_id: str) -> Iterator[ReportRecord]:
    """The canonical curve of every trial, by trial and step, read in chunks."""
    c, first = reports_table.c, 0
    while True:
        numbers: Select[Any] = (
            select(trials_table.c.number)
            .where(trials_table.c.study_id == study_id, trials_table.c.number >= first)
            .order_by(trials_table.c.number)
            .limit(CHUNK)
        )
        with db.read() as tx:
            chunk = [row.number for row in tx.all(numbers)]
            if not chunk:
                return
            wanted = (c.study_id == study_id, c.trial >= first, c.trial <= chunk[-1])
            rows = tx.all(select(reports_table).where(*wanted).order_by(c.trial, c.step, c.fence))
        for row in canonical(rows):
            yield report_record(row)
        first = chunk[-1] + 1


def checkpoints(db: Database, study_id: str, number: int) -> list[CheckpointRow]:
    """The trial's stored checkpoints, newest first."""
    with db.read() as tx:
        return opening.checkpoints_of(tx, study_id, [number]).get(number, [])


def environment(db: Database, digest: str) -> dict[str, Any]:
    """The recorded environment with this digest. Raises NotFound."""
    with db.read() as tx:
        row = tx.first(select(environments.c.document).where(environments.c.digest == digest))
    if row is None:
        raise NotFound(f"there is no environment with the digest {digest!r}")
    document: dict[str, Any] = json.loads(row.document)
    return document


def metric_names(db: Database, study_id: str, sample: int = 20) -> list[str]:
    """Names of metrics that the study's trials report, from its objectives and its newest reported trials."""
    c = trials_table.c
    with db.read() as tx:
        study = tx.first(select(studies.c.objectives).where(studies.c.id == study_id, studies.c.deleted_at.is_(None)))
        newest = select(c.metrics).where(c.study_id == study_id, c.step.is_not(None)).order_by(c.number.desc())
        rows = tx.all(newest.limit(sample))
    names = [str(o["metric"]) for o in json.loads(study.objectives)] if study else []
    for row in rows:
        names += json.loads(row.metrics)
    return list(dict.fromkeys(names))


def counters(db: Database) -> dict[str, Any]:
    """Sums over all studies, for metrics: {"studies": {state: n}, "trials": {state: n}, "open_attempts", "resource",
    "cost_microdollars", "workers": {state: n}}."""
    alive = studies.c.deleted_at.is_(None)
    states = [state.value for state in TRIAL_TRANSITIONS]
    sums = [func.coalesce(func.sum(studies.c[name]), 0).label(name) for name in (*states, *_SUMMED)]
    with db.read() as tx:
        totals = tx.execute(select(*sums).where(alive)).mappings().one()
        by_state = tx.all(select(studies.c.state, func.count().label("n")).where(alive).group_by(studies.c.state))
        by_worker = tx.all(select(workers.c.state, func.count().label("n")).group_by(workers.c.state))
    found = {row.state: row.n for row in by_state}
    return {
        "studies": {state.value: found.get(state.value, 0) for state in StudyState},
        "trials": {state: int(totals[state]) for state in states},
        "open_attempts": int(totals["open_attempts"]),
        "resource": float(totals["resource"]),
        "cost_microdollars": int(totals["cost_microdollars"]),
        "workers": {row.state: row.n for row in by_worker},
    }


_SUMMED: Sequence[str] = ("open_attempts", "resource", "cost_microdollars")
