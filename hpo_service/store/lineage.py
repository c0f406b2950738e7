"""Where a trial's weights come from: the trials that it and its ancestors went on from, as a schedule of parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo_service.core.definition import parse
from hpo_service.store import reading, studies
from hpo_service.store.database import Database
from hpo_service.store.rows import TrialRow

MOST = 100_000
"""Stages that are followed at most: a chain is as long as a population has levels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One trial's part of a lineage: it trained from one resource to another with these parameters.

    `changed` names those that the stage before had otherwise; `value` is the objective's at `to_resource`, None where
    nothing was reported.
    """

    trial: int
    from_resource: float
    to_resource: float
    params: Mapping[str, Any]
    changed: tuple[str, ...]
    value: float | None


def of(db: Database, study_id: str, number: int) -> list[Stage]:
    """The stages of a trial's lineage, in the order of their resource; the last one is its own. Raises NotFound."""
    objective = parse(studies.get_study(db, study_id).definition).objective
    chain = _chain(db, study_id, number)
    found: list[Stage] = []
    for place, trial in enumerate(chain):
        last = place == len(chain) - 1
        until = trial.resource if last else chain[place + 1].parent_resource or 0.0
        before = chain[place - 1].params if place else {}
        names = dict.fromkeys((*trial.params, *before)) if place else {}
        found.append(
            Stage(
                trial=trial.number,
                from_resource=trial.parent_resource or 0.0,
                to_resource=until,
                params=trial.params,
                changed=tuple(n for n in names if trial.params.get(n) != before.get(n)),
                value=_value(db, study_id, trial, until, objective.metric),
            )
        )
    return found


def _chain(db: Database, study_id: str, number: int) -> list[TrialRow]:
    """The trial and those that it goes back to, oldest first."""
    chain = [reading.trial(db, study_id, number)]
    while (parent := chain[-1].parent) is not None and len(chain) < MOST:
        chain.append(reading.trial(db, study_id, parent))
    return chain[::-1]


def _value(db: Database, study_id: str, trial: TrialRow, resource: float, metric: str) -> float | None:
    value: float | None = None
    for report in reading.reports(db, study_id, trial.number):
        if report.resource > resource:
            break
        told = report.metrics.get(metric)
        value = told if isinstance(told, float | int) and math.isfinite(told) else None
    return value
