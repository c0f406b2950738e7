"""A history read from another tool: its trials, the space that they came from, and what was not carried.

Here: the values, the study definition made of them, and batches that fit the service's requests. Not here: any tool's
files, and sending.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from hpo_service.core.values import to_json
from hpo_service.writing import dump_yaml
from search_spaces import SearchSpace

BATCH_BYTES = 100_000
"""A request's body is at most 128 KiB where nobody set another limit."""
BATCH_TRIALS = 200
State = Literal["finished", "stopped", "failed"]
Report = tuple[int, float, Mapping[str, float]]


@dataclass(frozen=True, kw_only=True)
class OldTrial:
    """A trial that ended elsewhere. `reports`: (step, resource, metrics); `metrics`: final values."""

    params: Mapping[str, Any]
    state: State
    reports: Sequence[Report] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    resource: float | None = None
    reason: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    tags: Sequence[str] = ()
    notes: str = ""

    def to_json(self) -> dict[str, Any]:
        """As `POST /studies/{id}/trials/import` takes it."""
        found: dict[str, Any] = {
            "params": dict(self.params),
            "state": self.state,
            "metrics": _numbers(self.metrics),
            "reports": [
                {"step": step, "resource": resource, "metrics": _numbers(metrics)}
                for step, resource, metrics in self.reports
            ],
            "resource": self.resource,
            "reason": self.reason[:10_000],
            "started_at": self.started_at.isoformat() if self.started_at else None,
            "ended_at": self.ended_at.isoformat() if self.ended_at else None,
            "tags": [tag[:100] for tag in self.tags][:100],
            "notes": self.notes[:100_000],
        }
        return {name: value for name, value in found.items() if value not in (None, {}, [], "")} | {
            "params": found["params"], "state": found["state"]
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class History:
    """What was read. `objectives`: (metric, direction), the first one decides; `resource`: the furthest that a trial
    was trained, 1 where nothing was reported on the way."""

    source: str
    name: str
    objectives: tuple[tuple[str, str], ...]
    space: SearchSpace
    trials: tuple[OldTrial, ...]
    notes: tuple[str, ...] = ()
    resource: float
    about: str = ""

    def definition(self, *, name: str | None = None) -> dict[str, Any]:
        """An external study over the same space that would go on where the history ends."""
        objectives = [{"metric": metric, "direction": direction} for metric, direction in self.objectives]
        written = self.space.to_dict()
        chooses = "bayesian" if len(objectives) == 1 else "random"
        found: dict[str, Any] = {
            "name": (name or self.name)[:200],
            "objective": objectives[0] if len(objectives) == 1 else objectives,
            "space": written["parameters"],
            "algorithm": {"name": chooses, "max_resource": self.resource},
            "trainer": {"external": True},
            "baseline": False,
            "tags": ["imported"],
            "notes": f"Imported from {self.source}.\n\n{self.about}".strip(),
        }
        return found | ({"forbid": written["forbid"]} if written["forbid"] else {})

    def to_yaml(self, *, name: str | None = None) -> str:
        """`definition` as a file to change and to give back."""
        return dump_yaml(self.definition(name=name))

    def renamed(self, metrics: Sequence[str]) -> History:
        """The same with other names for the objectives' metrics, in their order."""
        names = dict(zip((metric for metric, _ in self.objectives), metrics, strict=True))

        taken = {new for old, new in names.items() if new != old and new not in names}

        def again(values: Mapping[str, float]) -> dict[str, float]:
            return {names.get(name, name): value for name, value in values.items() if name not in taken}

        trials = tuple(
            replace(t, metrics=again(t.metrics), reports=[(s, r, again(m)) for s, r, m in t.reports])
            for t in self.trials
        )
        objectives = tuple((names[metric], direction) for metric, direction in self.objectives)
        told = {n for t in self.trials for values in (t.metrics, *(m for _, _, m in t.reports)) for n in values}
        lost = [
            f"{n}: the objective is called that here, so their metric of that name is left out" for n in taken & told
        ]
        return replace(self, trials=trials, objectives=objectives, notes=(*self.notes, *sorted(lost)))

    def batches(self) -> Iterator[list[dict[str, Any]]]:
        """The trials in requests that are small enough, in order."""
        batch: list[dict[str, Any]] = []
        size = 0
        for trial in self.trials:
            document = trial.to_json()
            length = len(json.dumps(document))
            if batch and (size + length > BATCH_BYTES or len(batch) >= BATCH_TRIALS):
                yield batch
                batch, size = [], 0
            batch.append(document)
            size += length
        if batch:
            yield batch


def thinned(trial: OldTrial) -> tuple[OldTrial, int]:
    """The trial with at most as many reports as a request holds, the first and the last among them, and how many were
    left out."""
    reports, left = list(trial.reports), 0
    while len(reports) > 2 and len(json.dumps(replace(trial, reports=reports).to_json())) > BATCH_BYTES:
        kept = [report for place, report in enumerate(reports[:-1]) if place % 2 == 0]
        left += len(reports) - 1 - len(kept)
        reports = [*kept, reports[-1]]
    return (replace(trial, reports=reports), left) if left else (trial, 0)


def fitted(trials: Sequence[OldTrial], notes: list[str]) -> tuple[OldTrial, ...]:
    """Every trial thinned to what a request holds; what was left out is noted."""
    found, left, of = [], 0, 0
    for trial in trials:
        small, missing = thinned(trial)
        found.append(small)
        left, of = left + missing, of + bool(missing)
    if left:
        notes.append(f"{left} reports on the way of {of} long trials are left out: a request holds 100 kB of a trial")
    return tuple(found)


def _numbers(metrics: Mapping[str, float]) -> dict[str, float | str]:
    return {name[:200]: to_json(float(value)) for name, value in metrics.items()}


def is_number(value: object) -> bool:
    """Whether a metric's value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: object) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
