"""Which lanes of launches under way are free, by what was sent and what workers said."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.controller.open_lanes import OpenLanes
from workers.contract import (
    FUSED,
    PLAIN,
    AttemptKey,
    Ended,
    Launch,
    Message,
    Narrowed,
    Outcome,
    Reported,
    Started,
    TrainerSpec,
    WorkerSeen,
    WorkOrder,
)


def key(trial: int) -> AttemptKey:
    return AttemptKey(study_id="s", trial=trial, fence=1)


def launch(name: str, *lanes: tuple[int, int], width: int = 4, to: float = 9.0, method: str = FUSED) -> Launch:
    """Of (trial, lane)."""
    orders = tuple(
        WorkOrder(
            key=key(trial), trainer=TrainerSpec(recipe="tabular"), params={"size": 32}, seed=0, metric="loss",
            metrics=("loss",), from_resource=0.0, target_resource=to, horizon=to, storage_root="", lane=lane,
            width=width,
        )
        for trial, lane in lanes
    )  # fmt: skip
    return Launch(launch_id=name, orders=orders, method=method, width=width)


def started(trial: int, at: float = 0.0) -> Started:
    return Started(key=key(trial), worker_id="w", node="n", device="cpu", resumed_from=at, environment={})


def reported(trial: int, resource: float) -> Reported:
    return Reported(key=key(trial), step=1, resource=resource, metrics={}, seconds=1.0, sent_at=0.0)


def ended(trial: int) -> Ended:
    return Ended(key=key(trial), outcome=Outcome.REACHED, resource=1.0, seconds=1.0)


def free(lanes: OpenLanes, study: str = "s") -> list[tuple[str, tuple[int, ...], float]]:
    return [(v.launch, v.lanes, v.left) for v in lanes.vacancies(study)]


def test_a_lane_is_free_from_its_end_on_while_others_train() -> None:
    lanes = OpenLanes()
    lanes.add(launch("a", (0, 0), (1, 1), (2, 2), width=3))
    lanes.note([started(0), started(1), started(2, at=2.0)])
    assert free(lanes) == []
    lanes.note([reported(0, 3.0), reported(1, 4.0), ended(1)])
    assert free(lanes) == [("a", (1,), 7.0)]
    assert free(lanes, "another") == []
    lanes.note([reported(2, 8.0), ended(0), reported(2, 8.5)])
    assert free(lanes) == [("a", (0, 1), 0.5)]
    lanes.note([ended(2)])
    assert free(lanes) == []


def test_lanes_that_only_repeat_another_are_free() -> None:
    lanes = OpenLanes()
    lanes.add(launch("a", (5, 0), width=4))
    assert free(lanes) == [], "nobody knows yet whether it trains"
    lanes.note([started(5)])
    assert free(lanes) == [("a", (1, 2, 3), 9.0)]


def test_whoever_joined_has_its_lane_before_it_begins() -> None:
    lanes = OpenLanes()
    lanes.add(launch("a", (0, 0), (1, 1), width=2))
    lanes.note([started(0), started(1), ended(1)])
    lanes.join(launch("a", (7, 1), width=2, to=20.0))
    assert free(lanes) == []
    lanes.note([ended(0)])
    assert free(lanes) == [], "what has not begun keeps no launch alive"
    lanes.note([started(7)])
    assert free(lanes) == [("a", (0,), 20.0)]


def test_launches_that_are_plain_narrowed_or_unknown_have_none() -> None:
    lanes = OpenLanes()
    lanes.add(launch("plain", (0, 0), method=PLAIN))
    lanes.add(launch("narrow", (1, 0)))
    lanes.join(launch("gone", (2, 0)))
    seen = WorkerSeen(worker_id="w", node="n", state="busy", device="cpu", cpu=1, gpu=0)
    lanes.note([started(0), started(1), started(2), seen, Narrowed(key=key(1), width=2, reason="out of memory")])
    assert free(lanes) == []


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["start", "report", "end", "join"]), st.integers(0, 9)), max_size=40))
def test_lanes_are_taken_or_free_and_nothing_is_kept_of_what_is_over(steps: list[tuple[str, int]]) -> None:
    lanes = OpenLanes()
    lanes.add(launch("a", *((i, i) for i in range(3)), width=4))
    alive = {0: 0, 1: 1, 2: 2}
    for what, trial in steps:
        message: dict[str, Any] = {"start": started(trial), "report": reported(trial, 1.0), "end": ended(trial)}
        vacant = free(lanes)
        if what == "join" and vacant and trial not in alive and alive:
            lane = vacant[0][1][0]
            lanes.join(launch("a", (trial, lane), width=4))
            alive[trial] = lane
        elif what in message:
            sent: Message = message[what]
            lanes.note([sent])
            if what == "end":
                alive.pop(trial, None)
        for _, numbers, _ in free(lanes):
            assert sorted([*numbers, *alive.values()]) == [0, 1, 2, 3]
        if not alive:
            break
    lanes.note([ended(trial) for trial in list(alive)])
    assert not lanes._programs
    assert not lanes._of
