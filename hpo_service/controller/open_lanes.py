"""Fused launches under way as this controller's workers tell of them: which lanes train, how far each has to go, which
fell free. Shared by its two threads. Decides nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo_service.core.filling import Vacancy
from workers.contract import FUSED, AttemptKey, Ended, Launch, Message, Narrowed, Reported, Started, WorkerSeen


@dataclass(slots=True)
class _Lane:
    number: int
    target: float
    resource: float
    begun: bool = False


@dataclass(slots=True)
class _Program:
    """A launch; `whole` as long as it trains at its width."""

    study_id: str
    launch: str
    width: int
    params: Mapping[str, Any]
    whole: bool = True
    lanes: dict[AttemptKey, _Lane] = field(default_factory=dict)

    def vacancy(self) -> Vacancy | None:
        """Its free lanes, where it has any and trains."""
        left = [lane.target - lane.resource for lane in self.lanes.values() if lane.begun]
        if not (self.whole and left and len(self.lanes) < self.width):
            return None
        taken = {lane.number for lane in self.lanes.values()}
        free = tuple(number for number in range(self.width) if number not in taken)
        return Vacancy(launch=self.launch, width=self.width, lanes=free, left=max(left), params=self.params)


class OpenLanes:
    """The register."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._programs: dict[str, _Program] = {}
        self._of: dict[AttemptKey, _Program] = {}

    def add(self, launch: Launch) -> None:
        """A launch was sent; one that is not fused has no lanes."""
        if launch.method != FUSED:
            return
        first = launch.orders[0]
        program = _Program(first.key.study_id, launch.launch_id, launch.width, first.params)
        with self._lock:
            self._programs[launch.launch_id] = program
            self._take_in(program, launch)

    def join(self, launch: Launch) -> None:
        """Further orders were sent to a launch under way."""
        with self._lock:
            program = self._programs.get(launch.launch_id)
            if program is not None:
                self._take_in(program, launch)

    def vacancies(self, study_id: str) -> list[Vacancy]:
        """The study's launches that train and have lanes free."""
        with self._lock:
            found = [p.vacancy() for p in self._programs.values() if p.study_id == study_id]
        return [vacancy for vacancy in found if vacancy is not None]

    def note(self, messages: Sequence[Message]) -> None:
        """Take in what workers said, once it is stored."""
        if not self._programs:
            return
        with self._lock:
            for message in messages:
                if not isinstance(message, WorkerSeen):
                    self._note(message)

    def _note(self, message: Any) -> None:
        program = self._of.get(message.key)
        if program is None:
            return
        lane = program.lanes[message.key]
        if isinstance(message, Reported):
            lane.resource = message.resource
        elif isinstance(message, Started):
            lane.begun, lane.resource = True, message.resumed_from
        elif isinstance(message, Narrowed):
            program.whole = False
        elif isinstance(message, Ended):
            del program.lanes[message.key], self._of[message.key]
            if not program.lanes:
                self._programs.pop(program.launch, None)

    def _take_in(self, program: _Program, launch: Launch) -> None:
        for order in launch.orders:
            program.lanes[order.key] = _Lane(order.lane, order.target_resource, order.from_resource)
            self._of[order.key] = program
