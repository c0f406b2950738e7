"""Attempts that this controller has sent to its executor and that have not ended yet. Shared by its two threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from workers.contract import AttemptKey

SMOOTHING = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Flight:
    """What one attempt occupies, and since when (this process's monotonic clock, seconds)."""

    key: AttemptKey
    cpu: float
    gpu: float
    since: float


class Flights:
    """The register of open attempts, with each study's smoothed attempt length."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[AttemptKey, Flight] = {}
        self._by_study: dict[str, set[AttemptKey]] = {}
        self._mean_seconds: dict[str, float] = {}

    def add(self, keys: Iterable[AttemptKey], *, cpu: float, gpu: float) -> None:
        now = time.monotonic()
        with self._lock:
            for key in keys:
                self._flights[key] = Flight(key=key, cpu=cpu, gpu=gpu, since=now)
                self._by_study.setdefault(key.study_id, set()).add(key)

    def get(self, key: AttemptKey) -> Flight | None:
        with self._lock:
            return self._flights.get(key)

    def remove(self, key: AttemptKey, *, seconds: float | None = None) -> None:
        """Forget the attempt; `seconds` is how long it trained, where it ran to its end."""
        with self._lock:
            if self._flights.pop(key, None) is None:
                return
            self._by_study[key.study_id].discard(key)
            if seconds is not None:
                before = self._mean_seconds.get(key.study_id, seconds)
                self._mean_seconds[key.study_id] = before + SMOOTHING * (seconds - before)

    def of_study(self, study_id: str) -> set[AttemptKey]:
        with self._lock:
            return set(self._by_study.get(study_id, ()))

    def studies(self) -> set[str]:
        with self._lock:
            return {study_id for study_id, keys in self._by_study.items() if keys}

    def mean_seconds(self, study_id: str) -> float | None:
        """Smoothed length of the study's attempts, seconds; None before the first one ended."""
        with self._lock:
            return self._mean_seconds.get(study_id)
