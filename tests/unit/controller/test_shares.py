"""Fair shares: worked examples, and properties over random demands."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from hpo_service.controller.shares import Demand, depth, dominant, fractions, per_launch, slots
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


def test_room_is_kept_for_a_wide_attempt_whose_turn_it_is() -> None:
    """a has 7 of 8 places; b needs 4: the free one is not given to a again. Nor does b keep a from the rest for ever:
    with one b running a second one would not fit beside it, and a gets what is left."""
    assert slots([demand("a", open=7), demand("b", cpu=4)], EIGHT) == {"a": 0, "b": 0}
    assert slots([demand("a", open=4), demand("b", cpu=4)], EIGHT) == {"a": 0, "b": 1}
    assert slots([demand("a", open=2), demand("b", cpu=5, open=1, priority=10)], EIGHT) == {"a": 1, "b": 0}


def test_the_dominant_resource_counts() -> None:
    """One GPU of two is half the cluster, one CPU of eight an eighth; what one cannot use the other gets."""
    assert slots([demand("g", gpu=1), demand("c")], EIGHT) == {"g": 2, "c": 6}
    assert slots([demand("g", cpu=2, gpu=1), demand("c", open=5)], EIGHT) == {"g": 1, "c": 0}


def test_a_study_on_gpus_and_one_on_cpus_do_not_wait_for_each_other() -> None:
    assert slots([demand("g", gpu=1, open=2), demand("c")], EIGHT) == {"g": 0, "c": 6}
    assert slots([demand("g", gpu=1), demand("c", open=6)], EIGHT) == {"g": 2, "c": 0}
    waiting = [demand("g", gpu=1, open=2), demand("h", gpu=1), demand("c")]
    assert slots(waiting, EIGHT) == {"g": 0, "h": 0, "c": 5}, "a CPU is kept for h, and no more"


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
    assert all(given_slots[d.study_id] <= max(0, d.parallel - d.open) for d in named)
    for kind in (0, 1):
        parts = {d.study_id: fractions(d, EIGHT)[kind] / depth(d.mean_seconds) for d in named}
        fitting = [d for d in named if math.isfinite(dominant(d, EIGHT))]
        before = sum(parts[d.study_id] * d.open for d in fitting)
        added = sum(parts[d.study_id] * given_slots[d.study_id] for d in fitting)
        assert added == 0 or before + added <= 1 + 1e-6


@given(demands)
def test_nobody_starves(wishes: list[Demand]) -> None:
    """On an empty cluster every study that fits beside the others' first attempts gets one."""
    named = [demand(str(i), cpu=0.5, priority=d.priority, parallel=d.parallel) for i, d in enumerate(wishes)]
    given_slots = slots(named, EIGHT)
    assert all(given_slots[d.study_id] >= 1 for d in named)
