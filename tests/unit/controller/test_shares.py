"""Fair shares: worked examples, and properties over random demands."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from hpo_service.controller.shares import Demand, depth, dominant, per_launch, slots
from hpo_service.executors.base import Capacity

EIGHT = Capacity(cpu=8, gpu=2, node_cpu=8, node_gpu=2)


def demand(
    name: str,
    *,
    cpu: float = 1,
    gpu: float = 0,
    priority: float = 1,
    open: int = 0,
    parallel: int = 100,
    mean: float | None = 60.0,
) -> Demand:
    return Demand(study_id=name, cpu=cpu, gpu=gpu, priority=priority, open=open, parallel=parallel, mean_seconds=mean)


def test_one_study_gets_the_whole_cluster() -> None:
    assert slots([demand("a")], EIGHT) == {"a": 8}


def test_parallel_bounds_a_study() -> None:
    assert slots([demand("a", parallel=3, open=1)], EIGHT) == {"a": 2}


def test_two_equal_studies_share_equally() -> None:
    assert slots([demand("a"), demand("b")], EIGHT) == {"a": 4, "b": 4}


def test_a_newcomer_gets_what_is_free_first() -> None:
    """a has 6 of 8 places open; both free ones go to b."""
    assert slots([demand("a", open=6), demand("b")], EIGHT) == {"a": 0, "b": 2}


def test_priority_weighs() -> None:
    assert slots([demand("a", priority=3), demand("b")], EIGHT) == {"a": 6, "b": 2}


def test_the_dominant_resource_counts() -> None:
    """One GPU of two is half the cluster, one CPU of eight an eighth: g stays at one, c takes the other half."""
    given_slots = slots([demand("g", gpu=1), demand("c")], EIGHT)
    assert given_slots == {"g": 1, "c": 4}


def test_what_no_node_can_hold_gets_nothing_and_blocks_nobody() -> None:
    assert slots([demand("big", gpu=3), demand("a")], EIGHT) == {"big": 0, "a": 8}


def test_short_attempts_are_queued_ahead_and_long_ones_are_not() -> None:
    assert depth(None) == 2
    assert depth(60.0) == 1
    assert depth(0.25) == 3
    assert depth(0.0001) == 32
    assert slots([demand("a", mean=0.25)], EIGHT) == {"a": 24}


def test_only_very_short_attempts_travel_together() -> None:
    assert per_launch(None, 64, 2) == 1
    assert per_launch(1.0, 64, 2) == 1
    assert per_launch(0.05, 64, 2) == 5
    assert per_launch(0.001, 8, 2) == 2, "both workers get their part"


demands = st.lists(
    st.builds(
        lambda cpu, gpu, priority, open, parallel, mean: demand(
            "", cpu=cpu, gpu=gpu, priority=priority, open=open, parallel=parallel, mean=mean
        ),
        st.sampled_from([0.5, 1, 2, 4]),
        st.sampled_from([0, 0.25, 1, 2]),
        st.floats(0.1, 10),
        st.integers(0, 20),
        st.integers(1, 50),
        st.sampled_from([None, 0.01, 1.0, 100.0]),
    ),
    min_size=1,
    max_size=6,
)


@given(demands)
def test_shares_respect_parallel_and_the_cluster(wishes: list[Demand]) -> None:
    named = [
        demand(str(i), cpu=d.cpu, gpu=d.gpu, priority=d.priority, open=d.open, parallel=d.parallel, mean=d.mean_seconds)
        for i, d in enumerate(wishes)
    ]
    given_slots = slots(named, EIGHT)
    before = sum(
        dominant(d, EIGHT) * d.open / depth(d.mean_seconds) for d in named if math.isfinite(dominant(d, EIGHT))
    )
    added = sum(dominant(d, EIGHT) * given_slots[d.study_id] / depth(d.mean_seconds) for d in named)
    assert all(given_slots[d.study_id] <= max(0, d.parallel - d.open) for d in named)
    assert added == 0 or before + added <= 1 + 1e-6


@given(demands)
def test_nobody_starves(wishes: list[Demand]) -> None:
    """On an empty cluster every study that fits beside the others' first attempts gets one."""
    named = [demand(str(i), cpu=0.5, priority=d.priority, parallel=d.parallel) for i, d in enumerate(wishes)]
    given_slots = slots(named, EIGHT)
    assert all(given_slots[d.study_id] >= 1 for d in named)
