"""How trials are trained: the methods of a study's structures, and who shared a trial's launch."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field

from hpo_service.client.protocol import Program, address, query
from hpo_service.client.results import Result
from hpo_service.client.study_operations import StudyBase, TrialBase

FUSED = "fused"


class Method(Result):
    """How trials of one structure are trained: by themselves (`plain`) or together (`fused`), at most
    `width` of them."""

    structure: Mapping[str, Any] = Field(default_factory=dict)  # the parameters that are no lanes
    method: str
    width: int = 1
    device: str = ""
    reason: str = ""
    source: str = ""  # measured, earlier, set, assumed, out_of_memory, failed
    measured: Mapping[str, Any] = Field(default_factory=dict)  # seconds per step and trial
    seq: int = 0
    at: datetime | None = None


class Methods(Result):
    """The methods of a study. `lanes`: the parameters in which trials of one launch may differ."""

    lanes: tuple[str, ...] = ()
    items: tuple[Method, ...] = ()

    @property
    def fused(self) -> tuple[Method, ...]:
        """Those of structures whose trials train together."""
        return tuple(item for item in self.items if item.method == FUSED)


class Lane(Result):
    """One attempt of a launch."""

    trial: int
    fence: int
    lane: int
    state: str
    outcome: str | None = None
    resource: float = 0.0
    seconds: float = 0.0
    cost_microdollars: int = 0


class Launch(Result):
    """Attempts that were sent to a worker together."""

    launch: str
    method: str
    width: int
    worker_id: str | None = None
    node: str | None = None
    device: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: float | None = None  # of the worker; None while it goes on
    cost_microdollars: int = 0
    lanes: tuple[Lane, ...] = ()


def methods(study: StudyBase) -> Program[Methods]:
    """How trials of each structure are trained, and what that was chosen by."""
    return Methods.parse((yield from study._core.get(address("studies", study.id, "methods"))))


def launch(trial: TrialBase, *, fence: int | None = None) -> Program[Launch]:
    """Who was trained together with the trial, in its newest attempt or in that with the fence."""
    place = address("studies", trial.study_id, "trials", trial.number, "launch")
    return Launch.parse((yield from trial._core.get(place, query(fence=fence))))
