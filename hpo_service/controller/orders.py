"""Work orders and launches from what the store opened. Pure, but for fresh launch names."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpo_service.core import seeds
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.proposals import Continue, Proposal, Start
from hpo_service.store.rows import CheckpointRow, OpenAttempt, Placement
from workers.contract import AttemptKey, CheckpointRef, Launch, TrainerSpec, WorkOrder

PREFLIGHT_TRIAL = -1
"""The trial number of a preflight order, which belongs to no trial."""
PREFLIGHT_S = 1800.0
"""Longest preflight of a study without limits of its own: a trainer that hangs there must not keep it for ever."""


def placements(proposals: Sequence[Proposal], size: int) -> dict[int, Placement]:
    """Launches of at most `size` attempts, in the order of the proposals."""
    return place_trials([p.trial for p in proposals if isinstance(p, Start | Continue)], size)


def place_trials(trials: Sequence[int], size: int) -> dict[int, Placement]:
    """Launches of at most `size` of the trials. Trained one after another, so each is alone in its width."""
    placed: dict[int, Placement] = {}
    for first in range(0, len(trials), size):
        name = uuid.uuid4().hex
        for lane, trial in enumerate(trials[first : first + size]):
            placed[trial] = Placement(launch=name, lane=lane, width=1, method="plain")
    return placed


def work_order(definition: StudyDefinition, opened: OpenAttempt, storage_root: Path) -> WorkOrder:
    """The order that trains the opened attempt's segment."""
    return WorkOrder(
        key=AttemptKey(study_id=opened.study_id, trial=opened.trial, fence=opened.fence),
        trainer=trainer_spec(definition),
        params=dict(opened.params),
        seed=seeds.trial_seed(definition.seed, opened.trial),
        metric=definition.objective.metric,
        metrics=tuple(o.metric for o in definition.objectives),
        from_resource=opened.from_resource,
        target_resource=opened.target,
        horizon=opened.horizon,
        storage_root=str(storage_root),
        deterministic=definition.deterministic,
        checkpoints=tuple(_ref(c) for c in opened.checkpoints),
        launch=opened.launch,
        lane=opened.lane,
        width=opened.width,
        trial_timeout_s=definition.trial_timeout_s,
        stall_timeout_s=definition.stall_timeout_s,
    )


def trainer_spec(definition: StudyDefinition) -> TrainerSpec:
    trainer = definition.trainer
    return TrainerSpec(recipe=trainer.recipe, function=trainer.function, params=dict(trainer.params))


def launches(definition: StudyDefinition, opened: Sequence[OpenAttempt], storage_root: Path) -> list[Launch]:
    """The opened attempts grouped as they were placed, launches and lanes in order."""
    grouped: dict[str, list[OpenAttempt]] = {}
    for attempt in opened:
        grouped.setdefault(attempt.launch, []).append(attempt)
    return [
        Launch(
            launch_id=name,
            orders=tuple(work_order(definition, a, storage_root) for a in sorted(attempts, key=lambda a: a.lane)),
            method=attempts[0].method,
            cpu=definition.resources.cpu,
            gpu=definition.resources.gpu,
        )
        for name, attempts in grouped.items()
    ]


def preflight_launch(
    definition: StudyDefinition,
    study_id: str,
    params: Mapping[str, object],
    *,
    target: float,
    number: int,
    storage_root: Path,
) -> Launch:
    """One cheap step of the trainer, to learn what only a worker can see. `number` counts the tries."""
    order = WorkOrder(
        key=AttemptKey(study_id=study_id, trial=PREFLIGHT_TRIAL, fence=number),
        trainer=trainer_spec(definition),
        params=dict(params),
        seed=seeds.trial_seed(definition.seed, 0),
        metric=definition.objective.metric,
        metrics=tuple(o.metric for o in definition.objectives),
        from_resource=0.0,
        target_resource=target,
        horizon=target,
        storage_root=str(storage_root),
        trial_timeout_s=definition.trial_timeout_s or PREFLIGHT_S,
        stall_timeout_s=definition.stall_timeout_s or PREFLIGHT_S,
        preflight=True,
    )
    return Launch(
        launch_id=uuid.uuid4().hex,
        orders=(order,),
        cpu=definition.resources.cpu,
        gpu=definition.resources.gpu,
    )


def _ref(row: CheckpointRow) -> CheckpointRef:
    return CheckpointRef(
        path=row.path, digest=row.digest, resource=row.resource, step=row.step, size_bytes=row.size_bytes
    )
