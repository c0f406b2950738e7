"""What tests of the store share: a definition, and short ways to start, report and end trials."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select

from hpo_service.core import constraints
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.proposals import Continue, Finish, Proposal, Start, Stop
from hpo_service.core.states import StudyState
from hpo_service.store import collecting, decisions, improvements, studies
from hpo_service.store.artifacts import ArtifactItem
from hpo_service.store.database import Database
from hpo_service.store.rows import (
    CheckpointItem,
    Collected,
    Committed,
    EndedItem,
    Placement,
    ReportItem,
    SavedItem,
    StartedItem,
    StudyRow,
)
from hpo_service.store.tables import attempts, reports, trials

HOLDER = "controller-1"


def definition(**changes: Any) -> StudyDefinition:
    """An external study over a learning rate and an optimizer that minimises `loss`."""
    document: dict[str, Any] = {
        "name": "digits",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {
            "lr": {"type": "loguniform", "low": 1e-6, "high": 1.0},
            "optimizer": {"type": "choice", "values": ["sgd", "adam"]},
        },
        "algorithm": {"name": "random", "max_resource": 9},
        "trainer": {"external": True},
        "budget": {"trials": 100},
        "parallel": 8,
        "retries": 1,
    }
    return parse({**document, **changes})


class World:
    """One running study in a database, and a controller that holds its lease."""

    def __init__(self, db: Database, **changes: Any) -> None:
        self.db = db
        self.definition = definition(**changes)
        study = studies.create_study(db, self.definition, created_by="ada", state=StudyState.RUNNING)
        self.id = study.id
        epoch = decisions.take_lease(db, self.id, HOLDER, 3600)
        assert epoch is not None
        self.epoch = epoch

    @property
    def study(self) -> StudyRow:
        return studies.get_study(self.db, self.id)

    def commit(
        self,
        proposals: Sequence[Proposal],
        *,
        placements: Mapping[int, Placement] | None = None,
        epoch: int | None = None,
        decision: int | None = None,
        **more: Any,
    ) -> Committed:
        study = self.study
        return decisions.commit(
            self.db,
            self.id,
            proposals,
            epoch=self.epoch if epoch is None else epoch,
            decision=study.decision if decision is None else decision,
            observed_seq=study.last_seq,
            algorithm="random",
            algorithm_version=1,
            placements=placements or {},
            **more,
        )

    def start(self, count: int = 1, *, target: float = 9.0, **more: Any) -> list[int]:
        """Start `count` new trials; their numbers."""
        first = self.study.next_trial
        numbers = list(range(first, first + count))
        self.commit([start(n, target=target) for n in numbers], **more)
        return numbers

    def go_on(self, *numbers: int, target: float = 27.0) -> Committed:
        return self.commit([Continue(trial=n, target=target, reason="promoted", rung=1) for n in numbers])

    def finish(self, *numbers: int) -> Committed:
        return self.commit([Finish(trial=n, reason="trained to the end") for n in numbers])

    def stop(self, *numbers: int) -> Committed:
        return self.commit([Stop(trial=n, reason="worse than the median") for n in numbers])

    def collect(self, *items: Any) -> list[Collected]:
        return collecting.collect(self.db, items)

    def statuses(self, *items: Any) -> list[str]:
        return [result.status for result in self.collect(*items)]

    def report(self, trial: int, step: int, loss: float, *, fence: int = 1, **metrics: float) -> ReportItem:
        return ReportItem(
            study_id=self.id,
            trial=trial,
            fence=fence,
            step=step,
            resource=step + 1.0,
            metrics={"loss": loss, **metrics},
        )

    def ended(
        self, trial: int, outcome: str = "reached", *, fence: int = 1, resource: float = 9.0, **more: Any
    ) -> EndedItem:
        return EndedItem(
            study_id=self.id, trial=trial, fence=fence, outcome=outcome, resource=resource, seconds=2.0, **more
        )

    def saved(self, trial: int, step: int, *, fence: int = 1, digest: str | None = None) -> SavedItem:
        return SavedItem(
            study_id=self.id, trial=trial, fence=fence, checkpoint=self.checkpoint(trial, step, fence, digest)
        )

    def checkpoint(self, trial: int, step: int, fence: int = 1, digest: str | None = None) -> CheckpointItem:
        path = f"checkpoints/{self.id}/{trial}/{fence}-{step}.pt"
        return CheckpointItem(path=path, digest=digest or f"sha-{path}", step=step, resource=step + 1.0, size_bytes=10)

    def artifact(self, trial: int, artifact_id: str = "a" * 32, *, fence: int = 1, **more: Any) -> ArtifactItem:
        plain = {"name": "plot.png", "digest": "d" * 64, "size_bytes": 7, "media_type": "image/png"}
        location = f"{self.id}/{trial}/{artifact_id}"
        given = {**plain, **more}
        return ArtifactItem(id=artifact_id, study_id=self.id, trial=trial, fence=fence, location=location, **given)

    def started(self, trial: int, *, fence: int = 1, environment: Mapping[str, Any] | None = None) -> StartedItem:
        return StartedItem(
            study_id=self.id,
            trial=trial,
            fence=fence,
            worker_id="w1",
            node="n1",
            device="cpu",
            resumed_from=0.0,
            environment=environment or {"python": "3.11", "code": {"function": "m:train"}},
        )

    def check_counters(self) -> None:
        """The study's counters are what counting its rows gives."""
        check_counters(self.db, self.id, maximize=self.definition.objective.maximize)


def start(number: int, *, target: float = 9.0, **more: Any) -> Start:
    params = {"lr": 10.0 ** -(number % 7), "optimizer": "sgd" if number % 2 else "adam"}
    return Start(**{"trial": number, "params": params, "target": target, "horizon": 27.0, "reason": "drawn", **more})


def _total(bounds: Sequence[constraints.Constraint], metrics: Mapping[str, Any]) -> float:
    known = {name: value for name, value in metrics.items() if isinstance(value, float)}
    return constraints.total(bounds, [one.violation(known.get(one.metric)) for one in bounds])


def check_counters(db: Database, study_id: str, *, maximize: bool) -> None:
    """Recompute every counter of the study from its rows and compare."""
    study = studies.get_study(db, study_id)
    t = trials.c
    with db.read() as tx:
        rows = tx.all(select(trials).where(t.study_id == study_id))
        is_open = (attempts.c.study_id == study_id, attempts.c.state == "open")
        open_now = tx.execute(select(func.count()).select_from(attempts).where(*is_open)).scalar_one()
        cost = tx.execute(
            select(func.coalesce(func.sum(attempts.c.cost_microdollars), 0)).where(attempts.c.study_id == study_id)
        ).scalar_one()
        furthest = select(reports.c.trial, func.max(reports.c.resource).label("resource"))
        by_trial = furthest.where(reports.c.study_id == study_id).group_by(reports.c.trial)
        highest = {row.trial: row.resource for row in tx.all(by_trial)}
    counted = {state: sum(row.state == state for row in rows) for state in study.counts}
    assert study.counts == counted
    assert study.next_trial == len(rows)
    assert study.imported == sum(row.origin == "imported" for row in rows)
    assert study.open_attempts == open_now == counted["running"]
    assert study.cost_microdollars == sum(row.cost_microdollars for row in rows) == cost
    trained_here = sum(row.resource for row in rows if row.origin != "imported")
    assert math.isclose(study.resource, trained_here, abs_tol=1e-9)
    assert all(row.resource >= highest.get(row.number, 0.0) for row in rows)
    bounds = constraints.of(study.definition)
    broken = {row.number: _total(bounds, json.loads(row.metrics)) for row in rows}
    assert {row.number: row.violation for row in rows} == {
        number: None if not bounds or math.isinf(by) else by for number, by in broken.items()
    }
    ranking = [
        (broken[row.number], -row.resource, -row.value if maximize else row.value, row.number)
        for row in rows
        if row.state != "failed" and row.value_kind == "finite"
    ]
    best = min(ranking, default=None)
    assert study.best_trial == (best[3] if best else None)
    assert study.best_resource == (-best[1] if best else None)
    assert study.best_violation == (best[0] if best and bounds and math.isfinite(best[0]) else None)
    if best is None:
        assert study.best_value is None
    else:
        assert study.best_value == (-best[2] if maximize else best[2])
    changes = improvements.improvements(db, study_id)
    newest = (changes[-1].trial, changes[-1].value, changes[-1].resource) if changes else (None, None, None)
    kept = best is not None and best[0] == 0
    assert newest == ((study.best_trial, study.best_value, study.best_resource) if kept else (None, None, None))
    assert all(a.seq < b.seq <= study.last_seq for a, b in itertools.pairwise(changes))
