"""An algorithm with a past, in memory: a log of finished trials for it to fold, and one proposal after another on top.

A past is drawn by random search (a surrogate would take hours to draw its own), or by the algorithm itself where it
must have: grid and Sobol count on from what they proposed. No store and no controller.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from hpo_service import algorithms
from hpo_service.core.algorithm import Algorithm
from hpo_service.core.definition import parse
from hpo_service.core.events import (
    AttemptsEnded,
    Decided,
    EndedAttempt,
    Event,
    Payload,
    Reported,
    ReportRow,
    StudyCreated,
    StudyStateChanged,
)
from hpo_service.core.proposals import Proposal, Start
from hpo_service.core.states import StudyState

AT = datetime(2026, 1, 1, tzinfo=UTC)
OWN_PAST = frozenset({"grid", "sobol"})
SPACE = {
    "lr": {"type": "loguniform", "low": 1e-5, "high": 1.0},
    "batch_size": {"type": "power_of_two", "low": 16, "high": 256},
    "momentum": {"type": "uniform", "low": 0.85, "high": 0.95},
}


def definition(algorithm: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "objective": {"metric": "val_loss", "direction": "minimize"},
        "space": SPACE,
        "algorithm": algorithm,
        "trainer": {"external": True},
        "budget": {"trials": 1_000_000},
        "parallel": 8,
        **more,
    }


def bowl(params: dict[str, Any]) -> float:
    """Smooth; best at lr 0.01, batch size 64, momentum 0.9."""
    lr, batch_size, momentum = float(params["lr"]), float(params["batch_size"]), float(params["momentum"])
    return (math.log10(lr) + 2) ** 2 + 0.1 * (math.log2(batch_size) - 6) ** 2 + 100 * (momentum - 0.9) ** 2


@dataclass
class Past:
    """A live fold, the trials in its log, how long folding the log took, and what trials are worth."""

    algorithm: Algorithm
    value: Callable[[dict[str, Any]], float] = bowl
    events: list[Event] = field(default_factory=list)
    trials: list[tuple[dict[str, Any], float]] = field(default_factory=list)
    fold_s: float = 0.0

    @classmethod
    def of(cls, algorithm: dict[str, Any], size: int) -> Past:
        """`algorithm` after `size` finished trials."""
        own = algorithm["name"] in OWN_PAST
        drawn = cls.begun(definition(algorithm if own else {"name": "random", "max_resource": 1}))
        while len(drawn.trials) < size:
            drawn._round(min(256, size - len(drawn.trials)))
        return drawn.folded_again(definition(algorithm))

    @classmethod
    def begun(cls, document: dict[str, Any], value: Callable[[dict[str, Any]], float] = bowl) -> Past:
        """A study without trials."""
        past = cls(algorithms.build(parse(document)), value=value)
        past._emit(StudyCreated(definition=document))
        past._emit(StudyStateChanged(state=StudyState.RUNNING, reason="benchmark"))
        return past

    def folded_again(self, document: dict[str, Any]) -> Past:
        """Another algorithm with the same past."""
        fresh = Past(algorithms.build(parse(document)), value=self.value, trials=list(self.trials))
        began = time.perf_counter()
        for event in self.events:
            fresh.algorithm.observe(event)
        fresh.fold_s = time.perf_counter() - began
        fresh.events = list(self.events)
        return fresh

    def propose_one(self) -> None:
        """One proposal and everything that follows from it."""
        self._round(1)

    def _emit(self, payload: Payload) -> None:
        event = Event(study_id="benchmark", seq=len(self.events) + 1, payload=payload, at=AT)
        self.events.append(event)
        self.algorithm.observe(event)

    def _round(self, slots: int) -> None:
        starts = self._decide(self.algorithm.propose(slots))
        if len(starts) != slots:
            raise RuntimeError(f"{self.algorithm.name} proposed {len(starts)} trials for {slots} slots")
        rows, ended = [], []
        for start in starts:
            value = self.value(dict(start.params))
            self.trials.append((dict(start.params), value))
            rows.append(ReportRow(trial=start.trial, fence=1, step=1, resource=1.0, values=(value,)))
            ended.append(
                EndedAttempt(trial=start.trial, fence=1, outcome="reached", trial_state="paused", resource=1.0)
            )
        self._emit(Reported(reports=tuple(rows)))
        self._emit(AttemptsEnded(attempts=tuple(ended)))
        self._decide(self.algorithm.propose(0))

    def _decide(self, proposals: Sequence[Proposal]) -> list[Start]:
        if proposals:
            self._emit(
                Decided(
                    decision=len(self.events), observed_seq=len(self.events), algorithm=self.algorithm.name,
                    algorithm_version=self.algorithm.version, proposals=tuple(proposals),
                )
            )  # fmt: skip
        return [p for p in proposals if isinstance(p, Start)]
