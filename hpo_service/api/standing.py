"""What a study's answer says beside its row: budget, pace, time left, and best so far as a few points.

Marks of how far each study was are kept in memory, a few per minute and study; without them a rate is that since the
study's start.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

from hpo_service.api import schemas
from hpo_service.core import pace, planning
from hpo_service.core.definition import parse
from hpo_service.core.pace import Mark, Rate, Spent
from hpo_service.core.states import StudyState, TrialState
from hpo_service.errors import HpoError
from hpo_service.store import improvements
from hpo_service.store.database import Database
from hpo_service.store.rows import StudyRow

WINDOW_S = 600.0
APART_S = 5.0
SETTLED_S = 60.0
"""Marks that span less say nothing yet."""
MAX_STUDIES = 2048
_AT_REST = (TrialState.FINISHED, TrialState.STOPPED, TrialState.FAILED, TrialState.PAUSED)


@dataclass(frozen=True, slots=True)
class Standing:
    budget: list[Spent]
    rate: Rate | None
    time_left_s: float | None


@dataclass(frozen=True, slots=True)
class _Whole:
    """What a definition's plan comes to in all."""

    trials: float | None
    resource: float | None


class Paces:
    """Marks of studies that somebody looks at, and what their plans come to."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._marks: OrderedDict[str, deque[Mark]] = OrderedDict()
        self._wholes: OrderedDict[tuple[str, int], _Whole] = OrderedDict()
        self._reasons: OrderedDict[tuple[str, int], str | None] = OrderedDict()

    def standing(self, study: StudyRow) -> Standing:
        """How the study stands against its budget, how fast it goes and how long it may take."""
        definition = parse(study.definition)
        mark = _mark(study, self._clock())
        hours = _hours(study, mark.at)
        started = sum(study.counts.values()) - study.counts.get(TrialState.WAITING.value, 0) - study.imported
        rows = pace.budget_rows(definition.budget, mark, started=started, hours=hours, best=study.kept_value)
        found = self._rate(study, mark)
        if study.state is not StudyState.RUNNING:
            return Standing(budget=rows, rate=None, time_left_s=None)
        whole = self._whole(study)
        left = pace.time_left_s(
            definition.budget, mark, found, hours=hours, trials=whole.trials, resource=whole.resource
        )
        return Standing(budget=rows, rate=found, time_left_s=left)

    def reason(self, study: StudyRow, load: Callable[[], str | None]) -> str | None:
        """Why the study's newest decision was made, read once per decision: it may hold thousands of proposals."""
        key = (study.id, study.decision)
        with self._guard:
            if key in self._reasons:
                return self._reasons[key]
        found = load()
        with self._guard:
            self._reasons[key] = found
            while len(self._reasons) > MAX_STUDIES:
                self._reasons.popitem(last=False)
        return found

    def _rate(self, study: StudyRow, now: Mark) -> Rate | None:
        with self._guard:
            if study.state is not StudyState.RUNNING or study.started_at is None:
                self._marks.pop(study.id, None)  # time spent paused is not time that trials took
                return None
            marks = self._marks.setdefault(study.id, deque())
            self._marks.move_to_end(study.id)
            while len(self._marks) > MAX_STUDIES:
                self._marks.popitem(last=False)
            while len(marks) > 1 and marks[0].at < now.at - WINDOW_S:
                marks.popleft()
            first = marks[0] if marks else now
            if not marks or now.at - marks[-1].at >= APART_S:
                marks.append(now)
        recent = pace.rate(first, now) if now.at - first.at >= SETTLED_S else None
        if recent is not None and (recent.trials or recent.resource):
            return recent
        return pace.rate(Mark(at=study.started_at.timestamp()), now)

    def _whole(self, study: StudyRow) -> _Whole:
        key = (study.id, study.definition_version)
        found = self._wholes.get(key)
        if found is None:
            found = self._wholes[key] = _planned(study.definition)
            while len(self._wholes) > MAX_STUDIES:
                self._wholes.popitem(last=False)
        return found


def add_to(answer: schemas.Study, standing: Standing) -> None:
    """Fill in what the budget and the pace are."""
    answer.budget = [schemas.BudgetRow.model_construct(**asdict(row)) for row in standing.budget]
    answer.time_left_s = standing.time_left_s
    found = standing.rate
    if found is not None:
        answer.rate = schemas.Rate(
            trials_per_hour=found.trials, resource_per_hour=found.resource, seconds=found.seconds
        )


def add_sparklines(db: Database, answers: Sequence[schemas.Study]) -> None:
    """Fill in best so far of all the studies, in one question: the best value that led by then, at whatever resource,
    so that the line does not fall where the first trial comes to a higher level."""
    points = improvements.sparklines(db, [answer.id for answer in answers])
    for answer in answers:
        mine = [(at, value) for at, value in points[answer.id] if value is not None]
        better = max if answer.direction == "maximize" else min
        begin = answer.started_at or (mine[0][0] if mine else answer.created_at)
        hours = [max(0.0, (at - begin).total_seconds() / 3600) for at, _ in mine]
        answer.sparkline = schemas.Sparkline(hours=hours, value=list(accumulate((v for _, v in mine), better)))


def _planned(document: Mapping[str, Any]) -> _Whole:
    definition = parse(document)
    try:
        plan = planning.plan(definition)
    except HpoError:  # a plan is a courtesy here: submitting has checked the definition already
        return _Whole(trials=definition.budget.trials, resource=definition.budget.resource)
    return _Whole(trials=plan.trials, resource=plan.total_resource)


def _mark(study: StudyRow, now: float) -> Mark:
    done = sum(study.counts.get(state.value, 0) for state in _AT_REST) - study.imported
    return Mark(at=now, done=done, resource=study.resource, dollars=study.cost_microdollars / 1e6)


def _hours(study: StudyRow, now: float) -> float:
    if study.started_at is None:
        return 0.0
    end = study.ended_at.timestamp() if study.ended_at is not None else now
    return max(end - study.started_at.timestamp(), 0.0) / 3600
