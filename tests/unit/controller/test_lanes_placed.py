"""Groups of trials become launches; interrupted lanes go together again; places are counted by launches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hpo_service.controller.flights import Flights
from hpo_service.controller.orders import Relaunch, anew, launches, place_again, place_groups, relaunches
from hpo_service.controller.shares import Demand, slots
from hpo_service.core.launches import FUSED, PLAIN, Group
from hpo_service.executors.base import Capacity
from hpo_service.store.rows import Placement
from tests.unit.controller.test_flights_and_orders import DEFINITION, opened
from workers.contract import AttemptKey

EIGHT = Capacity(cpu=8, gpu=2, node_cpu=8, node_gpu=2)


def group(*trials: int, method: str = FUSED) -> Group:
    return Group(trials=trials, method=method, params={})


def lane(launch: str, lane: int, width: int) -> Placement:
    return Placement(launch=launch, lane=lane, width=width, method=FUSED if width > 1 else PLAIN)


def test_a_fused_group_is_one_launch_and_plain_ones_travel_together() -> None:
    placed = place_groups([group(3, 4, 5), group(6, method=PLAIN), group(7, 8), group(9, method=PLAIN)], 2)
    assert [(placed[t].lane, placed[t].width, placed[t].method) for t in (3, 4, 5, 7, 8)] == [
        (0, 3, FUSED), (1, 3, FUSED), (2, 3, FUSED), (0, 2, FUSED), (1, 2, FUSED),
    ]  # fmt: skip
    assert len({placed[t].launch for t in (3, 4, 5)}) == 1
    assert placed[3].launch != placed[7].launch
    assert (placed[6].launch, placed[6].width, placed[6].method) == (placed[9].launch, 1, PLAIN)


def test_lanes_of_one_launch_go_together_again_at_its_width() -> None:
    last = {1: lane("a", 2, 4), 2: lane("b", 0, 3), 5: lane("a", 0, 4), 7: lane("plain", 1, 1), 8: lane("plain", 0, 1)}
    assert relaunches(last, lambda _: 9) == [
        Relaunch(trials=(5, 1), width=4),
        Relaunch(trials=(2,), width=3),
        Relaunch(trials=(7,)),
        Relaunch(trials=(8,)),
    ]


def test_what_ran_out_of_memory_goes_on_in_narrower_launches() -> None:
    last = {n: lane("a", n, 6) for n in range(5)}
    assert relaunches(last, lambda _: 2) == [
        Relaunch(trials=(0, 1), width=2),
        Relaunch(trials=(2, 3), width=2),
        Relaunch(trials=(4,), width=2),
    ]
    assert relaunches(last, lambda _: 1) == [Relaunch(trials=(n,)) for n in range(5)]


def test_a_group_waits_until_it_fits_whole() -> None:
    waiting = [Relaunch(trials=(1, 2, 3), width=4), Relaunch(trials=(4,))]
    assert place_again(waiting, slots=9, room=2, parallel=8, size=1) == {}
    placed = place_again(waiting, slots=1, room=8, parallel=8, size=1)
    assert {t: (p.lane, p.width) for t, p in placed.items()} == {1: (0, 4), 2: (1, 4), 3: (2, 4)}
    assert set(place_again(waiting, slots=4, room=4, parallel=8, size=1)) == {1, 2, 3, 4}


relaunched = st.lists(st.tuples(st.integers(1, 6), st.booleans()), max_size=8)


@given(relaunched, st.integers(1, 5), st.integers(1, 3))
def test_everything_that_waits_is_placed_once_within_parallel(
    kinds: list[tuple[int, bool]], parallel: int, size: int
) -> None:
    """Even where `parallel` was lowered below what once went together."""
    waiting, number = [], 0
    for count, fused in kinds:
        count = count if fused else 1
        waiting.append(Relaunch(trials=tuple(range(number, number + count)), width=6 if fused else 1))
        number += count
    done: list[int] = []
    while waiting:
        placed = place_again(waiting, slots=parallel, room=parallel, parallel=parallel, size=size)
        assert 0 < len(placed) <= parallel
        done += placed
        left = [Relaunch(trials=tuple(t for t in w.trials if t not in placed), width=w.width) for w in waiting]
        waiting = [w for w in left if w.trials]
    assert sorted(done) == list(range(number))


def test_an_order_says_its_launch_and_width() -> None:
    [launch] = launches(DEFINITION, [opened(1, "a", 1, width=4), opened(0, "a", 0, width=4)], Path("/storage"))
    assert (launch.method, launch.width, [o.key.trial for o in launch.orders]) == (FUSED, 4, [0, 1])
    assert [(o.lane, o.width) for o in launch.orders] == [(0, 4), (1, 4)]


def test_lanes_share_a_place_until_the_last_one_ended() -> None:
    flights = Flights()
    keys = [AttemptKey(study_id="s", trial=n, fence=1) for n in range(6)]
    flights.add(keys[:4], cpu=1, gpu=0, launch="a")
    flights.add(keys[4:], cpu=1, gpu=0)
    assert flights.occupied("s") == 3
    for key in keys[:3]:
        flights.remove(key, charged=0.5)
    assert flights.occupied("s") == 3
    flights.remove(keys[3], charged=0.5)
    assert flights.occupied("s") == 2
    assert flights.charged("s") == (2.0, 4)
    assert flights.occupied("other") == 0


wide = st.builds(
    lambda occupied, lanes, width, parallel, mean: Demand(
        study_id="s",
        cpu=1,
        gpu=0,
        priority=1,
        open=occupied * lanes,
        parallel=parallel,
        mean_seconds=mean,
        occupied=occupied,
        width=width,
    ),
    st.integers(0, 12),
    st.integers(1, 40),
    st.floats(1, 40),
    st.integers(1, 600),
    st.sampled_from([None, 0.01, 1.0, 100.0]),
)


@given(wide)
def test_where_a_place_is_free_and_parallel_allows_something_is_given(demand: Demand) -> None:
    given_slots = slots([demand], EIGHT)["s"]
    if demand.places < 8 and demand.open < demand.parallel:
        assert given_slots > 0
    assert given_slots <= max(0, demand.parallel - demand.open)


def test_a_place_that_lanes_share_gets_as_many_trials() -> None:
    demand = Demand(
        study_id="s", cpu=1, gpu=0, priority=1, open=64, parallel=999, mean_seconds=60.0, occupied=2, width=32.0
    )  # fmt: skip
    assert slots([demand], EIGHT) == {"s": 6 * 32}


@given(wide)
def test_alone_a_study_gets_what_it_would_beside_one_that_is_content(demand: Demand) -> None:
    content = Demand(study_id="c", cpu=1, gpu=0, priority=1, open=0, parallel=1, mean_seconds=60.0, occupied=0)
    alone = slots([demand, replace(content, parallel=0)], EIGHT)["s"]
    assert slots([demand], EIGHT)["s"] == alone
    beside = slots([demand, replace(content, priority=1e-9, open=demand.open)], EIGHT)["s"]
    assert beside <= alone


def test_what_never_began_goes_as_if_for_the_first_time() -> None:
    found = anew([group(1, 2), group(3, method=PLAIN), Group(trials=(4, 5), method=None, params={})])
    assert found == [
        Relaunch(trials=(1, 2), width=2),
        Relaunch(trials=(3,)),
        Relaunch(trials=(4,)),
        Relaunch(trials=(5,)),
    ]
