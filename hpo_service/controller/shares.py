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
    """One study's wish: `open` attempts now, at most `parallel`, each occupying `cpu` and `gpu`."""

    study_id: str
    cpu: float
    gpu: float
    priority: float
    open: int
    parallel: int
    mean_seconds: float | None


def dominant(demand: Demand, capacity: Capacity) -> float:
    """The fraction of the cluster that one attempt occupies; infinite where no node can hold it."""
    if demand.cpu > capacity.node_cpu or demand.gpu > capacity.node_gpu:
        return math.inf
    cpu = demand.cpu / capacity.cpu if demand.cpu else 0.0
    gpu = demand.gpu / capacity.gpu if demand.gpu else 0.0
    return max(cpu, gpu)


def depth(mean_seconds: float | None) -> int:
    """How many attempts per place in the cluster: 1 for long ones, more for short ones."""
    if mean_seconds is None:
        return 2
    if mean_seconds >= SHORT_S:
        return 1
    return min(DEEPEST, 1 + math.ceil(AHEAD_S / max(mean_seconds, 1e-3)))


def slots(demands: Sequence[Demand], capacity: Capacity) -> dict[str, int]:
    """New attempts per study; the sum of occupied fractions stays within `depth` times the cluster."""
    given = {d.study_id: 0 for d in demands}
    cost = {d.study_id: dominant(d, capacity) for d in demands}
    fitting = [d for d in demands if math.isfinite(cost[d.study_id])]
    used = sum(cost[d.study_id] * d.open / depth(d.mean_seconds) for d in fitting)
    heap = [(d.open * cost[d.study_id] / d.priority, d.study_id, d) for d in fitting if d.open < d.parallel]
    heapq.heapify(heap)
    while heap:
        weight, study_id, demand = heapq.heappop(heap)
        piece = cost[study_id] / depth(demand.mean_seconds)
        if used + piece > 1.0 + 1e-9:
            continue
        used += piece
        given[study_id] += 1
        if demand.open + given[study_id] < demand.parallel:
            heapq.heappush(heap, (weight + cost[study_id] / demand.priority, study_id, demand))
    return given


def per_launch(mean_seconds: float | None, count: int, places: float) -> int:
    """How many of `count` attempts go to a worker together: one, unless they are so short that sending them shows."""
    if mean_seconds is None or mean_seconds >= AHEAD_S / 2:
        return 1
    by_time = max(1, int(AHEAD_S / 2 / max(mean_seconds, 1e-3)))
    by_balance = max(1, math.ceil(count / (2 * max(places, 1.0))))
    return min(by_time, by_balance, DEEPEST)
