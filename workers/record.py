"""A trial's record as a worker reads it: all that is needed to train the trial again, and what it reported.

A record is one JSON document, which the server writes (`hpo_service.store.records`) and `hpo record` keeps in a file.
Here it is read and checked, and turned into runs: which segments are to be trained again, from which checkpoint of
which run, up to which step. Nothing here trains.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workers.contract import EPOCHS, FUSED, PLAIN, TrainerSpec
from workers.errors import InvalidOrderError

FORMAT = "hpo-trial-record"
VERSION = 1
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """One report of the canonical curve, made under `fence`."""

    step: int
    resource: float
    fence: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The checkpoint that an attempt went on from: of a trial's attempt, at a step."""

    trial: int
    fence: int
    step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """One attempt: what was trained, how, from where, and how it ended."""

    fence: int
    from_resource: float
    target: float
    horizon: float
    method: str
    width: int
    lane: int
    resumed: Source | None
    outcome: str | None
    failure: str | None
    environment: str | None  # its digest

    @property
    def ends_by_itself(self) -> bool:
        """Whether training it again ends where it did, without being stopped there."""
        own = {"exception", "diverged", "missing_metric"}
        return self.outcome in ("reached", "completed") or (self.outcome == "failed" and self.failure in own)


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A segment to be trained again, up to the report at `until`: there it pauses and keeps a checkpoint (`keeps`), or
    is over. `natural`: it is let go on until it ends by itself."""

    trial: int
    segment: Segment
    until: int
    keeps: bool
    natural: bool


@dataclass(frozen=True, kw_only=True)
class Record:
    """A trial's record; `parents` are the records of trials whose checkpoints it began with, by number."""

    study_id: str
    trial: int
    trainer: TrainerSpec
    params: Mapping[str, Any]
    seed: int
    metrics: tuple[str, ...]
    directions: tuple[str, ...]
    deterministic: bool
    test: bool
    cpu: float
    gpu: float
    processes: int
    stall_timeout_s: float | None
    trial_timeout_s: float | None
    segments: tuple[Segment, ...]
    curve: tuple[Point, ...]
    environments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    parents: Mapping[int, Record] = field(default_factory=dict)
    fidelity: str = EPOCHS

    def segment(self, fence: int) -> Segment:
        """The attempt under this fence. Raises InvalidOrderError."""
        for segment in self.segments:
            if segment.fence == fence:
                return segment
        raise InvalidOrderError(
            f"a record must hold every attempt that it tells of, but attempt {fence} of trial {self.trial} is missing; "
            "export the trial again"
        )

    def holds(self, trial: int) -> bool:
        """Whether it is this trial's record, or holds that of a trial which it goes back to."""
        return trial == self.trial or any(parent.holds(trial) for parent in self.parents.values())

    def of(self, trial: int) -> Record:
        """The record of this trial, which is this one's or a parent's. Raises InvalidOrderError."""
        if trial == self.trial:
            return self
        for parent in self.parents.values():
            if parent.holds(trial):
                return parent.of(trial)
        raise InvalidOrderError(
            f"a record must hold the trials that it went on from, but trial {trial} is missing; export the trial again"
        )


def read(document: Mapping[str, Any]) -> Record:
    """The record of a document.

    Raises:
        InvalidOrderError: it is no record, is of a newer format, or was changed since it was written.
    """
    if document.get("format") != FORMAT:
        raise InvalidOrderError(
            f"a trial's record must say format: {FORMAT!r}, but got {document.get('format')!r}; "
            "write one with `hpo record STUDY/TRIAL -o trial.json`"
        )
    if document.get("version") != VERSION:
        raise InvalidOrderError(
            f"this program reads records of version {VERSION}, but got {document.get('version')!r}; "
            "use the version of hpo-service that wrote it"
        )
    told = document.get("digest")
    if told is not None and told != digest(document):
        raise InvalidOrderError(
            f"a record must be as it was written, but its contents do not match its digest {str(told)[:12]}…; "
            "export the trial again"
        )
    try:
        return _record(document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidOrderError(
            f"a record must hold what its format says, but {type(error).__name__}: {error}; export the trial again"
        ) from error


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of the record's canonical JSON, without the digest that it holds."""
    rest = {name: value for name, value in document.items() if name != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def runs(record: Record) -> list[Run]:
    """What is to be trained again, in order, so that every report of the canonical curve comes up once more.

    An attempt counts where the curve holds a report of its, or where one that counts went on from its checkpoint; and
    the newest one where it failed by itself, even before its first report.
    """
    last: dict[tuple[int, int], int] = {}
    for point in record.curve:
        key = (record.trial, point.fence)
        last[key] = max(point.step, last.get(key, -1))
    if last:
        last |= _failed_at_once(record, last)
    kept: dict[tuple[int, int], set[int]] = {}
    waiting = list(last)
    seen: set[tuple[int, int]] = set()
    order: list[tuple[int, int]] = []
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        order.append(key)
        source = record.of(key[0]).segment(key[1]).resumed
        if source is not None:
            _check_earlier(source, key)
            kept.setdefault((source.trial, source.fence), set()).add(source.step)
            waiting.append((source.trial, source.fence))
    ancestry = _ancestry(record)
    order.sort(key=lambda key: (ancestry.index(key[0]), key[1]))
    return [run for key in order for run in _runs_of(record, key, last.get(key), sorted(kept.get(key, ())))]


def _failed_at_once(record: Record, last: Mapping[tuple[int, int], int]) -> dict[tuple[int, int], int]:
    """The newest attempt where it failed by itself and the curve has no report of its, at the step where it began."""
    newest = max(record.segments, key=lambda segment: segment.fence, default=None)
    if newest is None or newest.outcome != "failed" or not newest.ends_by_itself:
        return {}
    key = (record.trial, newest.fence)
    return {} if key in last else {key: newest.resumed.step if newest.resumed is not None else 0}


def _runs_of(record: Record, key: tuple[int, int], last: int | None, kept: Sequence[int]) -> list[Run]:
    trial, segment = key[0], record.of(key[0]).segment(key[1])
    found = [Run(trial=trial, segment=segment, until=step, keeps=True, natural=False) for step in kept]
    if last is not None and (not kept or last > kept[-1]):
        found.append(Run(trial=trial, segment=segment, until=last, keeps=False, natural=segment.ends_by_itself))
    return found


def _check_earlier(source: Source, key: tuple[int, int]) -> None:
    if source.trial == key[0] and source.fence >= key[1]:
        raise InvalidOrderError(
            f"an attempt must go on from an earlier one, but attempt {key[1]} of trial {key[0]} names "
            f"{source.fence}; export the trial again"
        )


def _ancestry(record: Record) -> list[int]:
    """Trials, parents before those that went on from them."""
    found = [number for parent in record.parents.values() for number in _ancestry(parent)]
    return [*dict.fromkeys(found), record.trial]


def number(value: Any) -> float:
    """A metric value of JSON: NaN and infinities are words."""
    return _WORDS[value] if isinstance(value, str) else float(value)


def _record(d: Mapping[str, Any]) -> Record:
    trainer, resources, limits = d["trainer"], d["resources"], d["limits"]
    return Record(
        study_id=str(d["study"]["id"]),
        trial=int(d["trial"]["number"]),
        trainer=TrainerSpec(
            recipe=trainer.get("recipe"),
            function=trainer.get("function"),
            ray_tune=trainer.get("ray_tune"),
            optuna=trainer.get("optuna"),
            params=dict(trainer.get("params") or {}),
            bundle=trainer.get("bundle") or "",
        ),
        params=dict(d["params"]),
        seed=int(d["seed"]),
        metrics=tuple(str(one["metric"]) for one in d["objectives"]),
        directions=tuple(str(one["direction"]) for one in d["objectives"]),
        deterministic=bool(d["deterministic"]),
        test=bool(d.get("test", False)),
        cpu=float(resources["cpu"]),
        gpu=float(resources["gpu"]),
        processes=int(resources.get("processes", 1)),
        trial_timeout_s=limits.get("trial_timeout_s"),
        stall_timeout_s=limits.get("stall_timeout_s"),
        segments=tuple(_segment(one) for one in d["segments"]),
        curve=tuple(_point(one) for one in d["curve"]),
        environments=dict(d.get("environments") or {}),
        texts=dict(d.get("texts") or {}),
        parents={int(name): _record(one) for name, one in (d.get("parents") or {}).items()},
        fidelity=str(d.get("fidelity", EPOCHS)),
    )


def _segment(d: Mapping[str, Any]) -> Segment:
    resumed = d.get("resumed")
    if d["method"] not in (PLAIN, FUSED):
        raise ValueError(f"the method of an attempt is {PLAIN} or {FUSED}, not {d['method']!r}")
    return Segment(
        fence=int(d["fence"]),
        from_resource=float(d["from_resource"]),
        target=_unlimited(d["target"]),
        horizon=_unlimited(d["horizon"]),
        method=d["method"],
        width=int(d["width"]),
        lane=int(d["lane"]),
        resumed=None
        if resumed is None
        else Source(trial=int(resumed["trial"]), fence=int(resumed["fence"]), step=int(resumed["step"])),
        outcome=d.get("outcome"),
        failure=d.get("failure"),
        environment=d.get("environment"),
    )


def _point(d: Mapping[str, Any]) -> Point:
    metrics = {str(name): number(value) for name, value in d["metrics"].items()}
    return Point(step=int(d["step"]), resource=float(d["resource"]), fence=int(d["fence"]), metrics=metrics)


def _unlimited(value: float | None) -> float:
    return math.inf if value is None else float(value)
