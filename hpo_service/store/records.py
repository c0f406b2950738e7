"""A trial's record: one document that holds all that is needed to train the trial again, and what it reported.

Written of what the store has; `workers.record` reads it, on a worker or on anybody's machine. Writes nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpo_service.core import seeds, values
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.errors import Conflict
from hpo_service.store import reading, studies, texts
from hpo_service.store.database import Database
from hpo_service.store.mapping import metrics_json
from hpo_service.store.rows import AttemptRow, ReportRecord, StudyRow, TrialRow

FORMAT = "hpo-trial-record"
VERSION = 1
# Words of the worker contract, which this room does not import; a test holds them to it.
METHODS = ("plain", "fused")
_CHECKPOINT = re.compile(r"checkpoints/[^/]+/(?P<trial>\d+)/(?P<fence>\d+)-(?P<step>\d+)(-\d+)?\.pt")


def trial_record(db: Database, study_id: str, number: int) -> dict[str, Any]:
    """The record of one trial, with its digest.

    Raises NotFound, and Conflict where a client of the study's own trained it, or nobody did.
    """
    study = studies.get_study(db, study_id)
    document = _record(db, study, parse(study.definition), number, frozenset())
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return {**document, "digest": hashlib.sha256(canonical.encode()).hexdigest()}


def _record(
    db: Database, study: StudyRow, definition: StudyDefinition, number: int, below: frozenset[int]
) -> dict[str, Any]:
    trial = reading.trial(db, study.id, number)
    attempts = reading.attempts(db, study.id, number)
    _check(study, trial, attempts)
    curve = reading.reports(db, study.id, number)
    made_by = _reported(db, study.id, number, attempts, curve)
    segments = [_segment(attempt, attempts, made_by) for attempt in attempts]
    environments = {
        digest: reading.environment(db, digest)
        for digest in dict.fromkeys(a.environment_digest for a in attempts)
        if digest is not None
    }
    parents = {s["resumed"]["trial"] for s in segments if s["resumed"]} - {number} - below
    return {
        "format": FORMAT,
        "version": VERSION,
        **_how(study, definition, trial),
        "segments": segments,
        "curve": [_point(report) for report in curve],
        "environments": environments,
        "texts": texts.read(db, _named(environments.values())),
        "parents": {str(p): _record(db, study, definition, p, below | {number}) for p in sorted(parents)},
    }


def _how(study: StudyRow, definition: StudyDefinition, trial: TrialRow) -> dict[str, Any]:
    """What does not hang on an attempt."""
    trainer = definition.trainer
    return {
        "study": {"id": study.id, "name": study.name},
        "trial": {
            "number": trial.number,
            "state": trial.state.value,
            "reason": trial.reason,
            "origin": trial.origin.value,
            "value": None if trial.value is None else values.to_json(trial.value),
        },
        "trainer": {
            "recipe": trainer.recipe,
            "function": trainer.function,
            "ray_tune": trainer.ray_tune,
            "optuna": trainer.optuna,
            "params": dict(trainer.params),
            "bundle": trainer.bundle or "",
            "pip": list(trainer.pip),
        },
        "params": dict(trial.params),
        "seed": seeds.trial_seed(definition.seed, trial.number),
        "objectives": [{"metric": o.metric, "direction": o.direction} for o in definition.objectives],
        "deterministic": definition.deterministic,
        "test": definition.confirms is not None,
        **({} if definition.fidelity == "epochs" else {"fidelity": definition.fidelity}),
        "resources": {
            "cpu": definition.resources.cpu,
            "gpu": definition.resources.gpu,
            "processes": definition.resources.processes,
        },
        "limits": {"trial_timeout_s": definition.trial_timeout_s, "stall_timeout_s": definition.stall_timeout_s},
    }


def _check(study: StudyRow, trial: TrialRow, attempts: Sequence[AttemptRow]) -> None:
    if study.external or any(a.client_id is not None for a in attempts):
        raise Conflict(
            f"a record tells how workers of this service trained a trial, but trial {trial.number} was trained by a "
            "client of its own",
            remedy="its parameters and reports are in `hpo export`",
        )
    if not attempts or any(a.method not in METHODS for a in attempts):
        how = "was trained elsewhere" if attempts or trial.origin.value == "imported" else "was never trained"
        raise Conflict(
            f"a record tells how a trial was trained, but trial {trial.number} {how}",
            remedy="choose a trial that was trained here",
        )


def _reported(
    db: Database, study_id: str, number: int, attempts: Sequence[AttemptRow], curve: Sequence[ReportRecord]
) -> Mapping[int, Sequence[ReportRecord]]:
    """The reports of each attempt, where a checkpoint has to be looked for among them."""
    if len(attempts) == 1:
        return {attempts[0].fence: curve}
    if all(a.resumed_path or not a.resumed_from for a in attempts):
        return {}
    return {a.fence: reading.reports(db, study_id, number, fence=a.fence) for a in attempts}


def _segment(
    attempt: AttemptRow, attempts: Sequence[AttemptRow], reports: Mapping[int, Sequence[ReportRecord]]
) -> dict[str, Any]:
    return {
        "fence": attempt.fence,
        "from_resource": attempt.from_resource,
        "target": attempt.target,
        "horizon": attempt.horizon,
        "method": attempt.method,
        "width": attempt.width,
        "lane": attempt.lane,
        "launch": attempt.launch,
        "device": attempt.device,
        "resumed": _resumed(attempt, attempts, reports),
        "outcome": attempt.outcome,
        "failure": attempt.failure,
        "reason": attempt.reason,
        "resource": attempt.resource,
        "seconds": attempt.seconds,
        "environment": attempt.environment_digest,
    }


def _resumed(
    attempt: AttemptRow, attempts: Sequence[AttemptRow], reports: Mapping[int, Sequence[ReportRecord]]
) -> dict[str, Any] | None:
    """The checkpoint that the attempt went on from: by its path or, of attempts made before paths were recorded, the
    newest earlier attempt's that had a report there."""
    if not attempt.resumed_from:
        return None
    named = _CHECKPOINT.fullmatch(attempt.resumed_path or "")
    if named is not None:
        found = {name: int(named[name]) for name in ("trial", "fence", "step")}
        return {**found, "resource": attempt.resumed_from}
    for earlier in sorted((a for a in attempts if a.fence < attempt.fence), key=lambda a: -a.fence):
        for report in reports.get(earlier.fence, ()):
            if report.resource == attempt.resumed_from:
                place = {"trial": attempt.trial, "fence": earlier.fence, "step": report.step}
                return {**place, "resource": attempt.resumed_from}
    return None


def _point(report: ReportRecord) -> dict[str, Any]:
    return {
        "step": report.step,
        "resource": report.resource,
        "fence": report.fence,
        "metrics": metrics_json(report.metrics),
    }


def _named(environments: Iterable[Mapping[str, Any]]) -> list[str]:
    """Digests of texts that the environments name."""
    gits = [(environment.get("code") or {}).get("git") or {} for environment in environments]
    return [git["diff_sha256"] for git in gits if git.get("diff_sha256")]
