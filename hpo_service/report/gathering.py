"""What a report tells, gathered from the store and the views in one go. Plain data; the words are `writing`'s."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from hpo_service.core import comparison
from hpo_service.core.comparison import Final
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.ensemble import Ensemble
from hpo_service.core.states import Origin, TrialState
from hpo_service.core.values import from_json
from hpo_service.errors import NotFound
from hpo_service.store import looking, reading
from hpo_service.store.curves import curves
from hpo_service.store.database import Database
from hpo_service.store.rows import StudyRow, TrialRow
from hpo_service.views import importance, neighbours, pareto, progress
from hpo_service.views.columns import ORIGINS, STATES, StudyColumns
from hpo_service.views.confirmation import Confirmed

TOP = 10
CURVES = 12
POINTS = 500
FAILURES_READ = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """What only the caller knows: the definition as text, the settings' prices and wage, where the study is shown."""

    definition_text: str
    cpu_hour_dollars: float
    gpu_hour_dollars: float
    wage_hour_dollars: float
    version: str
    now: datetime
    confirmations: Sequence[Confirmed] = ()
    own: Confirmed | None = None  # where the study is itself a confirmation
    ensemble: Ensemble | None = None
    ensemble_note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """A learning curve: what is not finite is NaN."""

    trial: int
    resource: Sequence[float]
    value: Sequence[float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """Everything that a report tells of a study."""

    study: StudyRow
    definition: StudyDefinition
    given: Given
    best: TrialRow | None
    baseline: TrialRow | None
    top: Sequence[TrialRow]
    final: Final | None
    best_so_far: tuple[Sequence[int], Sequence[float]]
    points: Sequence[tuple[float, float]]
    curves: Sequence[Curve]
    importance: Mapping[str, Any]
    front: Sequence[TrialRow]
    objectives: Sequence[tuple[float, float]]  # of all compared trials, the first two objectives
    trained_seconds: float
    lost: int
    failures: Sequence[tuple[str, int]]
    failures_of: int
    environment: Mapping[str, Any] | None
    environments: int  # different ones, among the trials that are shown
    methods: Sequence[tuple[str, int]]  # how trials of a structure are trained (in words), and of how many structures

    @property
    def seconds(self) -> float | None:
        """From the first dispatch to the end, or till now."""
        began = self.study.started_at
        return None if began is None else ((self.study.ended_at or self.given.now) - began).total_seconds()


def gather(db: Database, study: StudyRow, columns: StudyColumns, given: Given) -> Gathered:
    """Of a study, whose `columns` the caller holds the lock of."""
    definition = columns.definition
    objective = definition.objective
    numbers, values = columns.remember("by_trial", lambda: progress.by_trial(columns))
    ranked = np.flatnonzero(columns.ranks)
    shown = ranked[np.unique(np.linspace(0, ranked.size - 1, POINTS).round().astype(int))] if ranked.size else ranked
    furthest = columns.sort_value[columns.counts & (columns.resource == study.best_resource)]
    top = reading.best(db, study.id, limit=TOP)
    first = neighbours.first_of_origin(columns, ORIGINS.index(Origin.BASELINE.value))
    chosen = [row.number for row in top[:CURVES]] + ([] if first is None else [first])
    front = _front(db, study, columns) if len(definition.objectives) > 1 else []
    pairs = _pairs(columns) if len(definition.objectives) > 1 else []
    best = next((row for row in top if row.number == study.best_trial), top[0] if top else None)
    failed = np.flatnonzero(columns.state == STATES.index(TrialState.FAILED.value))
    environment, different = _environments(db, study, top, best)
    return Gathered(
        study=study,
        definition=definition,
        given=given,
        best=best,
        baseline=None if first is None else reading.trial(db, study.id, first),
        top=top,
        final=comparison.final(furthest, maximize=objective.maximize),
        best_so_far=(numbers.tolist(), values.tolist()),
        points=[(float(i), float(columns.sort_value[i])) for i in shown],
        curves=_curves(db, study, objective.metric, list(dict.fromkeys(chosen))),
        importance=_importance(columns),
        front=front,
        objectives=pairs,
        trained_seconds=float(np.nansum(columns.seconds[columns.origin != ORIGINS.index(Origin.IMPORTED.value)])),
        lost=int(columns.losses.sum()),
        failures=_failures(db, study, failed[:FAILURES_READ].tolist()),
        failures_of=int(failed.size),
        environment=environment,
        environments=different,
        methods=_methods(db, study),
    )


def _curves(db: Database, study: StudyRow, metric: str, numbers: Sequence[int]) -> list[Curve]:
    found = curves(db, study.id, metric, numbers=numbers, max_points=80)["trials"]
    return [
        Curve(trial=one["number"], resource=one["resource"], value=[from_json(v) for v in one["value"]])
        for one in found
    ]


def _importance(columns: StudyColumns) -> Mapping[str, Any]:
    chosen = importance.choose(columns, np.ones(columns.n, dtype=np.bool_))
    note = importance.too_few(columns, chosen)
    found = {} if note else importance.by_quantile(columns, chosen)
    return importance.answer(columns, "ped_anova", chosen, found, note)


def _front(db: Database, study: StudyRow, columns: StudyColumns) -> list[TrialRow]:
    found = pareto.pareto(columns, np.ones(columns.n, dtype=np.bool_))
    numbers = np.asarray(found["front"]["number"]).tolist()
    rows = reading.some(db, study.id, numbers[:200])
    first = columns.definition.objective
    return sorted(rows, key=lambda row: (row.value or 0.0) * (-1 if first.maximize else 1))


def _pairs(columns: StudyColumns) -> list[tuple[float, float]]:
    values = pareto.values_of(columns, columns.definition.objectives)[:, :2]
    kept = values[pareto.compared(columns) & ~np.isnan(values).any(axis=1)]
    kept = kept[:: max(1, len(kept) // POINTS)]
    return [(float(a), float(b)) for a, b in kept]


def _failures(db: Database, study: StudyRow, numbers: Sequence[int]) -> list[tuple[str, int]]:
    reasons = Counter(row.reason.strip()[:160] for row in reading.some(db, study.id, numbers)) if numbers else Counter()
    return reasons.most_common(5)


def _environments(
    db: Database, study: StudyRow, top: Sequence[TrialRow], best: TrialRow | None
) -> tuple[Mapping[str, Any] | None, int]:
    digests: dict[int, list[str]] = {}
    for row in top:
        found = [a.environment_digest for a in reading.attempts(db, study.id, row.number)]
        digests[row.number] = [one for one in found if one]
    different = len({one for each in digests.values() for one in each})
    mine = digests.get(best.number, []) if best is not None else []
    if not mine:
        return None, different
    try:
        return reading.environment(db, mine[-1]), different
    except NotFound:
        return None, different


def _methods(db: Database, study: StudyRow) -> list[tuple[str, int]]:
    newest: dict[str, str] = {}
    for _, _, chosen in looking.methods_chosen(db, study.id):
        for choice in chosen.choices:
            together = f"up to {choice.width} trials together" if choice.width > 1 else "one by one"
            newest[repr(sorted(choice.structure.items()))] = f"{together} ({choice.device or 'cpu'})"
    return Counter(newest.values()).most_common()


def finite(value: float | None) -> bool:
    """Whether there is a value, and it is finite."""
    return value is not None and math.isfinite(value)
