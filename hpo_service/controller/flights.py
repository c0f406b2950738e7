"""Attempts that this controller has sent to its executor and that have not ended yet. Shared by its two threads."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from workers.contract import AttemptKey

SMOOTHING = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Flight:
    """What one attempt occupies, and since when (this process's monotonic clock, seconds). `launch` names the program
    that it is a lane of; empty for one that has its worker to itself. `shared`: the service chose that several workers
    share its GPU."""

    key: AttemptKey
    cpu: float
    gpu: float
    since: float
    launch: str = ""
    shared: bool = False


@dataclass
class _Study:
    """A study's attempts, and what those that ended were like."""

    keys: set[AttemptKey] = field(default_factory=set)
    lanes: Counter[str] = field(default_factory=Counter)  # open attempts by launch, of fused launches
    mean_seconds: float | None = None
    charged: float = 0.0
    ended: int = 0


class Flights:
    """The register of open attempts, with each study's smoothed attempt length."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[AttemptKey, Flight] = {}
        self._studies: dict[str, _Study] = {}

    def add(
        self, keys: Iterable[AttemptKey], *, cpu: float, gpu: float, launch: str = "", shared: bool = False
    ) -> None:
        """Attempts were sent; `launch` where they are the lanes of one program."""
        now = time.monotonic()
        with self._lock:
            for key in keys:
                self._flights[key] = Flight(key=key, cpu=cpu, gpu=gpu, since=now, launch=launch, shared=shared)
                study = self._studies.setdefault(key.study_id, _Study())
                study.keys.add(key)
                if launch:
                    study.lanes[launch] += 1

    def get(self, key: AttemptKey) -> Flight | None:
        with self._lock:
            return self._flights.get(key)

    def remove(self, key: AttemptKey, *, seconds: float | None = None, charged: float = 0.0) -> None:
        """Forget the attempt; `seconds` is how long it trained, where it ran to its end, and `charged` how much of a
        worker's time it took."""
        with self._lock:
            flight = self._flights.pop(key, None)
            if flight is None:
                return
            study = self._studies[key.study_id]
            study.keys.discard(key)
            if flight.launch:
                study.lanes[flight.launch] -= 1
                if not study.lanes[flight.launch]:
                    del study.lanes[flight.launch]
            if key.trial >= 0:
                study.charged += charged
                study.ended += 1
            if seconds is not None:
                before = seconds if study.mean_seconds is None else study.mean_seconds
                study.mean_seconds = before + SMOOTHING * (seconds - before)

    def of_study(self, study_id: str) -> set[AttemptKey]:
        with self._lock:
            study = self._studies.get(study_id)
            return set(study.keys) if study else set()

    def studies(self) -> set[str]:
        with self._lock:
            return {study_id for study_id, study in self._studies.items() if study.keys}

    def occupied(self, study_id: str) -> int:
        """Places that the study's open attempts take: the lanes of a launch share one."""
        with self._lock:
            study = self._studies.get(study_id)
            return len(study.keys) - study.lanes.total() + len(study.lanes) if study else 0

    def mean_seconds(self, study_id: str) -> float | None:
        """Smoothed length of the study's attempts, seconds; None before the first one ended."""
        with self._lock:
            study = self._studies.get(study_id)
            return study.mean_seconds if study else None

    def charged(self, study_id: str) -> tuple[float, int]:
        """Seconds of workers' time that the study's ended attempts took, and how many they were."""
        with self._lock:
            study = self._studies.get(study_id)
            return (study.charged, study.ended) if study else (0.0, 0)
