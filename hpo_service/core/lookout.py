"""What `patience: auto` is judged by, gathered from the trials in the order in which they are judged.

Here: which values count, and when they are looked at again. Not here: the rule (`core.patience`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from hpo_service.core.definition import Budget, Objective
from hpo_service.core.history import TrialRecord
from hpo_service.core.patience import JUDGED, LEAST_TRIALS, Outlook, Terms, jitter, verdict
from hpo_service.core.states import Origin

CLOSE = 1e-9
"""Relative: as far."""
EVERY = 0.02
"""Looked at again once the judged trials have grown by this share, so that long studies fold fast."""


class _Seen(NamedTuple):
    """One judged trial; `score` None where it has no value that counts."""

    reach: float
    score: float | None
    whole: float
    dollars: float
    noise: float | None


class Lookout:
    """Takes judged trials and holds the newest verdict. `adapts`: later configurations are better chosen."""

    def __init__(self, objective: Objective, *, adapts: bool = False) -> None:
        self._objective = objective
        self._adapts = adapts
        self._seen: dict[int, _Seen] = {}
        self._gains: list[float] = []
        self._verdict: str | None = None
        self._looked: tuple[int, Terms] | None = None

    def take(self, trial: TrialRecord, value: float | None) -> None:
        """A trial was judged, or is at rest again; `value` None where it does not count (failed, not feasible)."""
        if trial.origin is Origin.IMPORTED:
            return
        score = None if value is None else value if self._objective.maximize else -value
        whole = 1.0 if trial.completed or not 0 < trial.horizon < math.inf else min(1.0, trial.resource / trial.horizon)
        noise = None if trial.curve is None or score is None else jitter(trial.curve.values)
        self._seen[trial.number] = _Seen(trial.reach, score, whole, trial.cost_microdollars / 1e6, noise)
        if trial.gain is not None and math.isfinite(trial.gain):
            self._gains.append(trial.gain)

    def over(self, budget: Budget) -> str | None:
        """The verdict on all trials taken so far, looked at again where there are enough more."""
        terms = Terms(min_delta=budget.min_delta, worth=budget.worth)
        count = len(self._seen)
        stale = self._looked is None or self._looked[1] != terms or count >= self._looked[0] * (1 + EVERY)
        if count >= LEAST_TRIALS and stale:
            self._looked = (count, terms)
            self._verdict = verdict(self._outlook(), terms)
        return self._verdict

    def _outlook(self) -> Outlook:
        furthest = max((s.reach for s in self._seen.values() if s.score is not None), default=0.0)
        there = [
            (n, s.score, s.noise)
            for n, s in sorted(self._seen.items())
            if s.score is not None and (s.reach == furthest or s.reach >= furthest * (1 - CLOSE))
        ]
        best = sorted(there, key=lambda item: -item[1])[:JUDGED]
        noises = [noise for _, _, noise in best if noise is not None]
        return Outlook(
            metric=self._objective.metric,
            last=max(self._seen),
            trials=len(self._seen),
            trainings=math.fsum(s.whole for s in self._seen.values()),
            dollars=math.fsum(s.dollars for s in self._seen.values()),
            scores=np.array([score for _, score, _ in there], dtype=float),
            numbers=[number for number, _, _ in there],
            gains=self._gains,
            noise=float(np.median(noises)) if noises else None,
            adapts=self._adapts,
        )
