"""What workers answered to orders that belong to no trial (preflights, calibrations, reproductions), and launches that
had to be narrowed: kept in memory until the deciding thread takes it. Stores nothing.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.contract import AttemptKey, AttemptMessage, Calibrated, Ended, Narrowed, Reproduced, Started

_PLATFORM = ("python", "cpu", "cores", "torch", "gpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """One such order from end to end. `platform` names device and versions that measurements hold for."""

    key: AttemptKey
    ended: Ended
    calibrated: Calibrated | None = None
    reproduced: Reproduced | None = None
    platform: str = ""


@dataclass
class _Notes:
    platform: str = ""
    calibrated: Calibrated | None = None
    reproduced: Reproduced | None = None


@dataclass
class Answers:
    """Shared by the collecting thread, which notes, and the deciding ones, which take."""

    _notes: dict[AttemptKey, _Notes] = field(default_factory=dict)
    _tried: dict[tuple[str, int], list[Tried]] = field(default_factory=dict)
    _narrowed: dict[str, list[Narrowed]] = field(default_factory=dict)
    _crowded: dict[str, list[float]] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def note(self, message: AttemptMessage) -> None:
        """Keep what matters of a message whose key has a negative trial, or which says that a launch was narrowed."""
        key = message.key
        with self._guard:
            if isinstance(message, Narrowed):
                self._narrowed.setdefault(key.study_id, []).append(message)
            elif isinstance(message, Ended):
                notes = self._notes.pop(key, _Notes())
                told = {name: getattr(notes, name) for name in ("calibrated", "reproduced", "platform")}
                self._tried.setdefault((key.study_id, key.trial), []).append(Tried(key=key, ended=message, **told))
            elif isinstance(message, Started):
                self._notes.setdefault(key, _Notes()).platform = platform_of(message.device, message.environment)
            elif isinstance(message, Calibrated):
                self._notes.setdefault(key, _Notes()).calibrated = message
            elif isinstance(message, Reproduced):
                self._notes.setdefault(key, _Notes()).reproduced = message

    def take(self, study_id: str, trial: int) -> list[Tried]:
        """The ended orders of this kind, each once."""
        with self._guard:
            return self._tried.pop((study_id, trial), [])

    def has_narrowed(self, study_id: str) -> bool:
        """Whether there is something to take."""
        with self._guard:
            return study_id in self._narrowed

    def take_narrowed(self, study_id: str) -> list[Narrowed]:
        """The study's launches that ran out of memory since it was last asked."""
        with self._guard:
            return self._narrowed.pop(study_id, [])

    def note_crowded(self, study_id: str, gpu: float) -> None:
        """An attempt ran out of memory on a GPU of which it had this fraction, by the service's choice."""
        with self._guard:
            self._crowded.setdefault(study_id, []).append(gpu)

    def take_crowded(self, study_id: str) -> list[float]:
        """The fractions that such attempts had, since it was last asked."""
        with self._guard:
            return self._crowded.pop(study_id, [])


def platform_of(device: str, environment: Mapping[str, Any]) -> str:
    """A digest of what a measured speed hangs on: kind of device, processor, versions."""
    part = {name: environment.get(name) for name in _PLATFORM}
    packages = environment.get("packages") or {}
    part["hpo-service"] = packages.get("hpo-service") if isinstance(packages, Mapping) else None
    text = json.dumps({"device": device, **part}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
