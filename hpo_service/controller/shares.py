"""How many new attempts each study may open now: weighted max-min fairness over the dominant resource. Pure.

Ghodsi et al. 2011, "Dominant Resource Fairness": an attempt's cost is the largest fraction of the cluster's CPUs or
GPUs that it occupies; the next attempt goes to the study whose sum of costs divided by its priority is the smallest.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpo_service.executors.base import Capacity

SHORT_S = 5.0
"""Attempts shorter than this are queued ahead, so that a worker never waits for the controller."""
AHEAD_S = 0.5
"""How much work a worker has queued, seconds."""
DEEPEST = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """One study's wish: `open` attempts now, at most `parallel`. A place occupies `cpu` and `gpu`; the open attempts
    take `occupied` places (None: one each), and of new ones `width` share one."""

    study_id: str
    cpu: float
    gpu: float
    priority: float
    open: int
    parallel: int
    mean_seconds: float | None
    occupied: int | None = None
    width: float = 1.0

    @property
    def places(self) -> int:
        """Places that its open attempts take."""
        return self.open if self.occupied is None else self.occupied


def fractions(demand: Demand, capacity: Capacity) -> tuple[float, float]:
    """The fractions of the cluster's CPUs and GPUs that one place occupies; infinite where no node can hold it."""
    if demand.cpu > capacity.node_cpu or demand.gpu > capacity.node_gpu:
        return math.inf, math.inf
    cpu = demand.cpu / capacity.cpu if demand.cpu else 0.0
    gpu = demand.gpu / capacity.gpu if demand.gpu else 0.0
    return cpu, gpu


def dominant(demand: Demand, capacity: Capacity) -> float:
    """The larger one of `fractions`."""
    return max(fractions(demand, capacity))


def depth(mean_seconds: float | None) -> int:
    """How many attempts per place in the cluster: 1 for long ones, more for short ones."""
    if mean_seconds is None:
        return 2
    if mean_seconds >= SHORT_S:
        return 1
    return min(DEEPEST, 1 + math.ceil(AHEAD_S / max(mean_seconds, 1e-3)))


def slots(demands: Sequence[Demand], capacity: Capacity) -> dict[str, int]:
    """New attempts per study; of CPUs and of GPUs the sum of occupied fractions stays within `depth` times the cluster.
    Where a place is free, some study that wants more gets one at least.

    Room that is too small for the study whose turn it is stays free until it is large enough: otherwise narrow
    attempts would take every piece that becomes free, and wide ones would wait for ever.
    """
    given = {d.study_id: 0 for d in demands}
    cost = {d.study_id: fractions(d, capacity) for d in demands}
    fitting = [d for d in demands if math.isfinite(max(cost[d.study_id]))]
    room = [1.0, 1.0]
    for d in fitting:
        _occupy(room, _piece(cost[d.study_id], d), d.places)
    heap = [(d.places * max(cost[d.study_id]) / d.priority, d.study_id, d) for d in fitting if d.open < d.parallel]
    if len(heap) == 1:  # nobody to share with
        alone = heap[0][2]
        return {**given, alone.study_id: _alone(alone, cost[alone.study_id], room)}
    heapq.heapify(heap)
    while heap:
        weight, study_id, demand = heapq.heappop(heap)
        whole = _piece(cost[study_id], demand)
        piece = whole[0] / demand.width, whole[1] / demand.width
        if not _fits(piece, room):
            if _fits(piece, _occupy([1.0, 1.0], piece, demand.places * demand.width + given[study_id])):
                room = [max(0.0, left - part) for left, part in zip(room, piece, strict=True)]
            continue
        _occupy(room, piece, 1)
        given[study_id] += 1
        if demand.open + given[study_id] < demand.parallel:
            weight += max(cost[study_id]) / demand.width / demand.priority
            heapq.heappush(heap, (weight, study_id, demand))
    return given


def _alone(demand: Demand, cost: tuple[float, float], room: Sequence[float]) -> int:
    """What the study gets where it is the only one that wants anything."""
    whole = _piece(cost, demand)
    fits = [int(left / part * demand.width + 1e-9) for part, left in zip(whole, room, strict=True) if part]
    return max(0, min([demand.parallel - demand.open, *fits]))


def _piece(cost: tuple[float, float], demand: Demand) -> tuple[float, float]:
    deep = depth(demand.mean_seconds)
    return cost[0] / deep, cost[1] / deep


def _occupy(room: list[float], piece: tuple[float, float], count: float) -> list[float]:
    for kind in (0, 1):
        room[kind] -= count * piece[kind]
    return room


def _fits(piece: tuple[float, float], room: Sequence[float]) -> bool:
    return all(part == 0 or part <= left + 1e-9 for part, left in zip(piece, room, strict=True))


def per_launch(mean_seconds: float | None, count: int, places: float) -> int:
    """How many of `count` attempts go to a worker together: one, unless they are so short that sending them shows."""
    if mean_seconds is None or mean_seconds >= AHEAD_S / 2:
        return 1
    by_time = max(1, int(AHEAD_S / 2 / max(mean_seconds, 1e-3)))
    by_balance = max(1, math.ceil(count / (2 * max(places, 1.0))))
    return min(by_time, by_balance, DEEPEST)
