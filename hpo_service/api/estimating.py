"""What a plan would take: hours and dollars from past trials of the same trainer, and how many places there are.

A place is where one worker trains, one trial or the lanes of a launch. The API process does not speak to the cluster:
it knows the workers that are up, and of a cluster of its own the machine that it runs on.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hpo_service.api.schemas import Estimate
from hpo_service.core.algorithm import Plan
from hpo_service.core.definition import Resources, StudyDefinition
from hpo_service.settings import Settings
from hpo_service.store import looking, reading, studies, workers
from hpo_service.store.database import Database
from hpo_service.store.rows import WorkerRow

PAST_STUDIES = 5
PAST_TRIALS = 200
ASSUMED_PLACES = 4
"""Where nothing says how many workers there can be: a small machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """How many workers of a study's shape can train at the same time, and how that is known."""

    count: int
    why: str


def places(resources: Resources, seen: Sequence[WorkerRow], settings: Settings) -> Places:
    """By the workers that are `seen`, or by this machine's CPUs where the cluster is the service's own, whichever have
    more room; where neither says anything, `ASSUMED_PLACES`."""
    room = _room(resources, sum(w.cpu for w in seen), sum(w.gpu for w in seen))
    local = 0
    if not settings.ray_address and resources.gpu == 0:
        local = _room(resources, settings.ray_cpus or os.cpu_count() or 1, 0.0)
    if local >= max(room, 1):
        return Places(count=local, why="as this machine has room for")
    if room:
        return Places(count=room, why="as the workers that are up have room for")
    return Places(count=ASSUMED_PLACES, why="an assumption, for no such worker is up")


def _room(resources: Resources, cpu: float, gpu: float) -> int:
    fits = [have / want for have, want in ((cpu, resources.cpu), (gpu, resources.gpu)) if want > 0]
    return math.floor(min(fits) + 1e-9)


def estimate(
    definition: StudyDefinition, plan: Plan, measured: Sequence[float], settings: Settings, room: Places
) -> Estimate:
    """Dollars and hours of the plan, from `measured` seconds of a worker per resource of past trials (their median).

    hours = total resource × seconds per resource ÷ (3600 × places), never more places than `parallel`.
    """
    open_end = plan.total_resource is None
    total = plan.most_resource if open_end else plan.total_resource
    per_resource = statistics.median(measured) if measured else None
    per: dict[str, float | None] = {
        "seconds_per_resource": per_resource,
        "cpu_hour_dollars": settings.cpu_hour_dollars,
        "gpu_hour_dollars": settings.gpu_hour_dollars,
    }
    if per_resource is None:
        return Estimate(dollars=None, hours=None, per=per, basis="unknown: no past study trained with this trainer")
    if total is None:
        return Estimate(dollars=None, hours=None, per=per, basis="unknown: the budget bounds no resource")
    trainer_hours = total * per_resource / 3600
    price = definition.resources.cpu * settings.cpu_hour_dollars + definition.resources.gpu * settings.gpu_hour_dollars
    count, how = _at_a_time(definition, room)
    basis = f"the median of {len(measured)} past trials of this trainer, {per_resource:.3g} s per resource, with {how}"
    if open_end:
        basis = f"at most, if every trial went all the way: {basis}"
    if definition.trainer.external:
        price, basis = 0.0, basis + "; external workers cost the service nothing"
    return Estimate(dollars=trainer_hours * price, hours=trainer_hours / count, per=per, basis=basis)


def _at_a_time(definition: StudyDefinition, room: Places) -> tuple[int, str]:
    """How many workers train at the same time, and in words. How many external ones there are only `parallel` says."""
    if definition.trainer.external or definition.parallel <= room.count:
        return definition.parallel, f"{definition.parallel} {_trials(definition.parallel)} at a time"
    return room.count, f"{room.count} {'worker' if room.count == 1 else 'workers'} at a time ({room.why})"


def _trials(count: int) -> str:
    return "trial" if count == 1 else "trials"


def room_for(db: Database, settings: Settings, definition: StudyDefinition) -> Places:
    """`places` by the workers that are known now."""
    return places(definition.resources, workers.workers(db), settings)


def measured(db: Database, definition: StudyDefinition) -> list[float]:
    """Seconds of a worker per resource, of the trials of the newest studies with the same trainer. Of a launch each
    lane has its part; where trials are not to train together, those that did say nothing."""
    trainer = definition.to_document()["trainer"]
    plain = definition.resources.lanes in ("off", 1)
    found: list[float] = []
    used = 0
    for study in studies.list_studies(db, project=definition.project, limit=200).rows:
        if used == PAST_STUDIES:
            break
        if not _same_trainer(study.definition, trainer) or study.resource <= 0:
            continue
        rows = [r for r in reading.trials(db, study.id, sort="-resource", limit=PAST_TRIALS).rows if r.resource > 0]
        seconds = looking.worker_seconds(db, study.id, [row.number for row in rows], plain=plain)
        ratios = [seconds[row.number] / row.resource for row in rows if seconds.get(row.number, 0.0) > 0]
        used += bool(ratios)
        found += ratios
    return found


def _same_trainer(document: Mapping[str, Any], trainer: Mapping[str, Any]) -> bool:
    return bool(document.get("trainer") == trainer)
