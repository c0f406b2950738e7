"""Virtual workers for peers that ask and tell: who trains what until when, and in which order reports arrive.

One event simulation for all of them. A worker that is free asks; reports come in order of virtual time; a trial trains
as fast as its configuration does. Nothing here knows a method or takes real time.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from hpo_service.bench.problems.base import Problem
from hpo_service.bench.runs import Recorder, Run, own_seed


@dataclass(frozen=True, slots=True)
class Order:
    """Train `trial` with `params` up to epoch `until`; it goes on from where it is, without paying for that again."""

    trial: int
    params: Mapping[str, Any]
    until: int


class Peer(Protocol):
    """A search method as the virtual workers see it. Losses are the best of the trial so far, to be minimised: the
    search is judged by the best value at any epoch. Infinity stands for a trial without any number yet."""

    def ask(self) -> Order | None:
        """What the free worker shall train; None where it has to wait for others' results."""

    def report(self, trial: int, epoch: int, loss: float) -> bool:
        """The trial's loss after the epoch. False ends the order here."""

    def ended(self, trial: int, loss: float, *, failed: bool) -> None:
        """The order is over: at its target, as `report` wished, or because the training raised."""


@dataclass(slots=True)
class _Trial:
    curve: Any
    speed: float
    dies: int | None
    reached: int = 0
    loss: float = math.inf


@dataclass(slots=True)
class _Watch:
    """A core's time in the peer's code since its last answer: telling counts to the decision that follows."""

    recorder: Recorder
    spent_s: float = 0.0

    def call(self, what: Callable[..., Any], *given: Any, **named: Any) -> Any:
        began = time.process_time()
        try:
            return what(*given, **named)
        finally:
            self.spent_s += time.process_time() - began

    def answered(self) -> None:
        self.recorder.decided(1e3 * self.spent_s)
        self.spent_s = 0.0


@dataclass(slots=True)
class Simulation:
    """One search by `peer` on `workers` virtual workers for `budget` full trainings of wall time.

    Time counts epochs of mean speed. One worker pays every epoch alike; of several, each epoch takes the
    configuration's own `speed`.
    """

    problem: Problem
    peer: Peer
    recorder: Recorder
    workers: int
    budget: float
    now: float = 0.0
    _free: int = 0
    _heap: list[tuple[float, int, Order]] = field(default_factory=list)
    _scheduled: int = 0
    _trials: dict[int, _Trial] = field(default_factory=dict)
    _watch: _Watch = field(init=False)

    def __post_init__(self) -> None:
        self._free = self.workers
        self._watch = _Watch(self.recorder)

    def run(self) -> None:
        """Until the budget is over, or nobody trains and nothing is asked for. What ends later never arrives."""
        end = self.budget * self.problem.max_resource + 1e-9
        self._place()
        while self._heap:
            self.now, _, order = heapq.heappop(self._heap)
            if self.now > end:
                return
            self._epoch(order)
            self._place()

    def _place(self) -> None:
        while self._free:
            order = self._watch.call(self.peer.ask)
            if order is None:
                return
            self._watch.answered()
            self._free -= 1
            if order.trial not in self._trials:
                self._trials[order.trial] = self._start(order.params)
            if order.until > self._trials[order.trial].reached:
                self._schedule(order)
            else:
                self._end(order, failed=False)

    def _start(self, params: Mapping[str, Any]) -> _Trial:
        self.recorder.trials += 1
        speed = self.problem.speed(params) if self.workers > 1 else 1.0
        return _Trial(self.problem.curve(params), speed, self.problem.fails_after(params))

    def _schedule(self, order: Order) -> None:
        self._scheduled += 1
        heapq.heappush(self._heap, (self.now + self._trials[order.trial].speed, self._scheduled, order))

    def _epoch(self, order: Order) -> None:
        trial = self._trials[order.trial]
        trial.reached += 1
        if trial.dies is not None and trial.reached > trial.dies:
            self._end(order, failed=True)
            return
        value = float(trial.curve[trial.reached - 1])
        self.recorder.tell(self.now / self.problem.max_resource, value)
        self.recorder.epochs += 1
        if math.isfinite(value):
            trial.loss = min(trial.loss, -value if self.problem.maximize else value)
        goes_on = self._watch.call(self.peer.report, order.trial, trial.reached, trial.loss)
        if goes_on and trial.reached < order.until:
            self._schedule(order)
        else:
            self._end(order, failed=False)

    def _end(self, order: Order, *, failed: bool) -> None:
        self._free += 1
        self._watch.call(self.peer.ended, order.trial, self._trials[order.trial].loss, failed=failed)


Maker = Callable[[Problem, int, int, float], Peer]
"""(problem, seed, workers, budget) → a fresh peer."""


def search(problem: Problem, seed: int, workers: int, budget: float, *, name: str, make: Maker) -> Run:
    """One search by the peer that `make` gives, as a `Run` under `name`."""
    recorder = Recorder(problem.maximize)
    peer = make(problem, own_seed(problem, seed), workers, budget)
    Simulation(problem, peer, recorder, workers=workers, budget=budget).run()
    return recorder.run(name, problem, seed=seed, workers=workers, budget=budget)
