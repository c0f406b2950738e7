"""Work orders and launches from what the store opened. Pure, but for fresh launch names."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_service.core import seeds
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.launches import FUSED, PLAIN, Group
from hpo_service.storage import bundle_path
from hpo_service.store.rows import CheckpointRow, OpenAttempt, Placement
from workers.contract import AttemptKey, Calibrate, CheckpointRef, Launch, Runtime, TrainerSpec, WorkOrder

PREFLIGHT_TRIAL = -1
"""The trial number of a preflight order, which belongs to no trial."""
CALIBRATION_TRIAL = -2
"""Of an order that measures how trials of one more structure are best trained."""
REPRODUCTION_TRIAL = -3
"""Of an order that trains a trial again from its record; its key names the reproduction in the study's place."""
PREFLIGHT_S = 1800.0
"""Longest preflight of a study without limits of its own: a trainer that hangs there must not keep it for ever."""
QUIET_S = 120.0
"""Of one whose code may well say nothing before its end, as other tools allow: no report until then is no fault."""
_QUIET_KINDS = frozenset({"ray_tune", "optuna"})


def may_be_quiet(definition: StudyDefinition) -> bool:
    """Whether a preflight that says nothing in time may still be in order: its first report may be its last, and the
    study sets no limit of its own."""
    unlimited = definition.trial_timeout_s is None and definition.stall_timeout_s is None
    return unlimited and definition.trainer.kind in _QUIET_KINDS


def longest_preflight_s(definition: StudyDefinition) -> float:
    """How long a preflight may take where the study does not say."""
    return QUIET_S if may_be_quiet(definition) else PREFLIGHT_S


def place_groups(groups: Sequence[Group], size: int) -> dict[int, Placement]:
    """One launch for each fused group, a lane for each trial; plain ones go in launches of at most `size`."""
    placed: dict[int, Placement] = {}
    for group in groups:
        if group.method == FUSED:
            placed |= place_lanes(group.trials, len(group.trials))
    return placed | place_trials([t for group in groups if group.method != FUSED for t in group.trials], size)


def place_lanes(trials: Sequence[int], width: int) -> dict[int, Placement]:
    """The trials as the first lanes of one launch of `width`; what is left of it is filled with clones."""
    name = uuid.uuid4().hex
    return {t: Placement(launch=name, lane=lane, width=width, method=FUSED) for lane, t in enumerate(trials)}


def place_trials(trials: Sequence[int], size: int) -> dict[int, Placement]:
    """Launches of at most `size` of the trials. Trained one after another, so each is alone in its width."""
    placed: dict[int, Placement] = {}
    for first in range(0, len(trials), size):
        name = uuid.uuid4().hex
        for lane, trial in enumerate(trials[first : first + size]):
            placed[trial] = Placement(launch=name, lane=lane, width=1, method=PLAIN)
    return placed


@dataclass(frozen=True, kw_only=True, slots=True)
class Relaunch:
    """Interrupted trials that go to a worker together; `width` 1 where they are trained plainly."""

    trials: tuple[int, ...]
    width: int = 1


def relaunches(last: Mapping[int, Placement], narrowed: Callable[[int], int | None]) -> list[Relaunch]:
    """What is trained again, in the order of the trials: the lanes of one earlier launch together and at its width,
    for sums of numbers hang on that; unless launches of a trial's structure came to be narrower (`narrowed`, None:
    unknown). Plain ones each by itself."""
    by_launch: dict[tuple[str, int], list[int]] = {}
    for trial, placement in last.items():
        width = placement.width if placement.method == FUSED else 1
        bound = narrowed(trial) if width > 1 else None
        width = width if bound is None else max(1, min(width, bound))
        by_launch.setdefault((placement.launch if width > 1 else f"plain {trial}", width), []).append(trial)
    found: list[Relaunch] = []
    for (_, width), trials in by_launch.items():
        ordered = sorted(trials, key=lambda t: last[t].lane)
        found += [Relaunch(trials=tuple(ordered[i : i + width]), width=width) for i in range(0, len(ordered), width)]
    return found


def anew(groups: Sequence[Group]) -> list[Relaunch]:
    """Trials that were placed and never began, as if for the first time."""
    fused = [Relaunch(trials=g.trials, width=len(g.trials)) for g in groups if g.method == FUSED]
    return fused + [Relaunch(trials=(trial,)) for g in groups if g.method != FUSED for trial in g.trials]


def place_again(
    waiting: Sequence[Relaunch], *, slots: int, room: int, parallel: int, size: int
) -> dict[int, Placement]:
    """Place from the front while there are slots, each group whole; one that `parallel` can never hold goes in parts.
    `room` is how many more attempts may be open; plain trials go in launches of at most `size`."""
    placed: dict[int, Placement] = {}
    plain: list[int] = []
    for group in waiting:
        trials = group.trials[: max(0, room)] if len(group.trials) > parallel else group.trials
        if slots <= 0 or not trials or len(trials) > room:
            break
        if group.width > 1:
            placed |= place_lanes(trials, group.width)
        else:
            plain += trials
        slots, room = slots - len(trials), room - len(trials)
    return placed | place_trials(plain, size)


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactsPlace:
    """Where workers keep artifacts (empty: in the storage), and how large one may be."""

    root: str = ""
    most_bytes: int = 1 << 30


IN_STORAGE = ArtifactsPlace()


def work_order(
    definition: StudyDefinition, opened: OpenAttempt, storage_root: Path, *, artifacts: ArtifactsPlace = IN_STORAGE
) -> WorkOrder:
    """The order that trains the opened attempt's segment."""
    return WorkOrder(
        key=AttemptKey(study_id=opened.study_id, trial=opened.trial, fence=opened.fence),
        trainer=trainer_spec(definition),
        params=dict(opened.params),
        seed=seeds.trial_seed(definition.seed, opened.trial),
        metric=definition.objective.metric,
        metrics=tuple(o.metric for o in definition.objectives),
        directions=tuple(o.direction for o in definition.objectives),
        from_resource=opened.from_resource if definition.resumes else 0.0,
        target_resource=opened.target,
        horizon=opened.horizon,
        storage_root=str(storage_root),
        deterministic=definition.deterministic,
        checkpoints=tuple(_ref(c) for c in opened.checkpoints) if definition.resumes else (),
        launch=opened.launch,
        lane=opened.lane,
        width=opened.width,
        trial_timeout_s=definition.trial_timeout_s,
        stall_timeout_s=definition.stall_timeout_s,
        processes=definition.resources.processes,
        test=definition.confirms is not None,
        artifacts_root=artifacts.root,
        artifact_most_bytes=artifacts.most_bytes,
        parent=opened.parent,
        fidelity=definition.fidelity,
    )


def trainer_spec(definition: StudyDefinition) -> TrainerSpec:
    trainer = definition.trainer
    return TrainerSpec(
        recipe=trainer.recipe,
        function=trainer.function,
        ray_tune=trainer.ray_tune,
        optuna=trainer.optuna,
        params=dict(trainer.params),
        bundle=trainer.bundle or "",
    )


def runtime(definition: StudyDefinition) -> Runtime:
    """What the workers of this study are made with."""
    trainer = definition.trainer
    if trainer.bundle is None:
        return Runtime(pip=trainer.pip)
    return Runtime(bundle=trainer.bundle, bundle_path=bundle_path(trainer.bundle), pip=trainer.pip)


def launches(
    definition: StudyDefinition,
    opened: Sequence[OpenAttempt],
    storage_root: Path,
    *,
    artifacts: ArtifactsPlace = IN_STORAGE,
) -> list[Launch]:
    """The opened attempts grouped as they were placed, launches and lanes in order."""
    grouped: dict[str, list[OpenAttempt]] = {}
    for attempt in opened:
        grouped.setdefault(attempt.launch, []).append(attempt)
    return [
        Launch(
            launch_id=name,
            orders=tuple(
                work_order(definition, a, storage_root, artifacts=artifacts)
                for a in sorted(attempts, key=lambda a: a.lane)
            ),
            method=attempts[0].method,
            width=attempts[0].width,
            cpu=definition.resources.cpu,
            gpu=definition.resources.gpu,
            runtime=runtime(definition),
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
    trial: int = PREFLIGHT_TRIAL,
    calibrate: Calibrate | None = None,
) -> Launch:
    """One cheap step of the trainer, to learn what only a worker can see. `number` counts the tries; `calibrate` asks
    how trials of this structure are best trained."""
    order = WorkOrder(
        key=AttemptKey(study_id=study_id, trial=trial, fence=number),
        trainer=trainer_spec(definition),
        params=dict(params),
        seed=seeds.trial_seed(definition.seed, 0),
        metric=definition.objective.metric,
        metrics=tuple(o.metric for o in definition.objectives),
        directions=tuple(o.direction for o in definition.objectives),
        from_resource=0.0,
        target_resource=target if definition.resumes else getattr(definition.algorithm, "min_resource", target),
        horizon=target,
        storage_root=str(storage_root),
        trial_timeout_s=definition.trial_timeout_s or longest_preflight_s(definition),
        stall_timeout_s=definition.stall_timeout_s or longest_preflight_s(definition),
        preflight=True,
        calibrate=calibrate,
        forks=definition.algorithm.name == "pbt",
        processes=definition.resources.processes,
        test=definition.confirms is not None,
        fidelity=definition.fidelity,
    )
    return Launch(
        launch_id=uuid.uuid4().hex,
        orders=(order,),
        cpu=definition.resources.cpu,
        gpu=definition.resources.gpu,
        runtime=runtime(definition),
    )


def reproduction_launch(
    definition: StudyDefinition, reproduction_id: str, record: Mapping[str, Any], *, number: int, storage_root: Path
) -> Launch:
    """Train a trial of this study again from its record. `number` counts what was sent. A limit of time counts for each
    attempt that may have to be trained again, and twice: a curve that differs is partly trained once more."""
    segments = list(record["segments"])
    lanes = sum(int(one["width"]) for one in segments)
    widest = max((int(one["width"]) for one in segments), default=1)
    attempt_s, stall_s = definition.trial_timeout_s, definition.stall_timeout_s
    order = WorkOrder(
        key=AttemptKey(study_id=reproduction_id, trial=REPRODUCTION_TRIAL, fence=number),
        trainer=trainer_spec(definition),
        params=dict(record["params"]),
        seed=int(record["seed"]),
        metric=definition.objective.metric,
        metrics=tuple(o.metric for o in definition.objectives),
        directions=tuple(o.direction for o in definition.objectives),
        from_resource=0.0,
        target_resource=0.0,
        horizon=0.0,
        storage_root=str(storage_root),
        deterministic=definition.deterministic,
        trial_timeout_s=None if attempt_s is None else 2 * attempt_s * lanes,
        stall_timeout_s=None if stall_s is None else stall_s * widest,
        processes=definition.resources.processes,
        reproduce=record,
    )
    return Launch(
        launch_id=uuid.uuid4().hex,
        orders=(order,),
        cpu=definition.resources.cpu,
        gpu=definition.resources.gpu,
        runtime=runtime(definition),
    )


def _ref(row: CheckpointRow) -> CheckpointRef:
    return CheckpointRef(
        path=row.path, digest=row.digest, resource=row.resource, step=row.step, size_bytes=row.size_bytes
    )
