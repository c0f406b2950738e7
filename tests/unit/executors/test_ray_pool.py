"""Placing launches on workers, with workers that are made of nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.executors.ray_flights import Shape
from hpo_service.executors.ray_pool import AHEAD_BELOW_S, DEPTH, START_LIMIT_S, TENURE_S, Pool
from hpo_service.executors.ray_session import Node
from hpo_service.executors.ray_workers import PooledWorker, Remote
from workers.contract import AttemptKey, CancelMode, Launch, Runtime, Started, TrainerSpec, WorkOrder

OTHER = Shape(1.0, 0.0, Runtime(bundle="b" * 64, bundle_path="bundles/b.zip"))
WHO = {"device": "cpu", "pid": 1}
SMALL, LARGE = Shape(1.0, 0.0), Shape(2.0, 0.0)
SHAPES = [SMALL, LARGE, OTHER, Shape(0.5, 0.0), Shape(1.0, 1.0), Shape(0.5, 0.5)]


class FakeRemote:
    def __init__(self) -> None:
        self.killed = False

    def run(self, launch: Launch) -> Any:
        return object()

    def cancel(self, key: AttemptKey, mode: CancelMode) -> None: ...

    def fill(self, launch_id: str, orders: Sequence[WorkOrder]) -> None: ...

    def warm(self) -> Any:
        return object()

    def ping(self) -> Any:
        return object()

    def kill(self) -> None:
        self.killed = True


def pool(*nodes: tuple[float, float], idle_s: float = 300.0) -> Pool:
    def start(worker_id: str, shape: Shape, node: Node) -> Remote:
        return FakeRemote()

    made = Pool(start, idle_s=idle_s)
    made.nodes = [Node(node_id=f"n{i}", name=f"n{i}", cpu=cpu, gpu=gpu) for i, (cpu, gpu) in enumerate(nodes)]
    return made


def launch(trial: int, shape: Shape = SMALL) -> Launch:
    order = WorkOrder(
        key=AttemptKey(study_id="s", trial=trial, fence=1), trainer=TrainerSpec(function="a:b"), params={}, seed=0,
        metric="loss", metrics=("loss",), from_resource=0, target_resource=1, horizon=1, storage_root="",
    )  # fmt: skip
    return Launch(launch_id=str(trial), orders=(order,), cpu=shape.cpu, gpu=shape.gpu, runtime=shape.runtime)


def warm(made: Pool, now: float) -> None:
    for worker in list(made.workers.values()):
        if worker.state == "starting":
            worker.ready(WHO, now)
    made.place(now)


def finish(made: Pool, worker: PooledWorker, now: float) -> int:
    flight = worker.flights[0]
    assert flight.launch.runtime == worker.shape.runtime, "a process serves one runtime"
    flight.progress = flight.to_train()
    flight.unfinished.clear()
    made.finished(worker, flight, now)
    return flight.launch.orders[0].key.trial


def shapes(made: Pool) -> list[Shape]:
    return sorted(worker.shape for worker in made.workers.values())


def filled(count: int, shape: Shape = SMALL, *nodes: tuple[float, float]) -> Pool:
    made = pool(*(nodes or ((2.0, 0.0),)))
    for trial in range(count):
        made.add(launch(trial, shape), 0.0)
    made.place(0.0)
    return made


def test_as_many_workers_start_as_have_work_and_room() -> None:
    assert shapes(filled(1)) == [SMALL]
    assert shapes(filled(9)) == [SMALL, SMALL]
    assert shapes(filled(9, Shape(0.5, 0.5), (8.0, 2.0))) == [Shape(0.5, 0.5)] * 4


def test_a_worker_must_fit_on_one_node() -> None:
    assert shapes(filled(2, Shape(3.0, 0.0), (2.0, 0.0), (2.0, 0.0))) == []
    made = filled(4, Shape(1.0, 1.0), (4.0, 0.0), (1.0, 4.0))
    assert [worker.node.name for worker in made.workers.values()] == ["n1"]


def test_nothing_is_sent_before_a_worker_is_ready() -> None:
    made = filled(3)
    assert len(list(made.waiting())) == 3
    warm(made, 1.0)
    assert [worker.state for worker in made.workers.values()] == ["busy", "busy"]
    assert len(list(made.waiting())) == 1


def test_only_short_launches_are_sent_ahead() -> None:
    for took, depth in ((AHEAD_BELOW_S / 2, DEPTH), (AHEAD_BELOW_S * 2, 1)):
        made = filled(20)
        warm(made, 0.0)
        now = 0.0
        for _ in range(6):
            now += took
            for worker in list(made.workers.values()):
                finish(made, worker, now)
            made.place(now)
        assert {len(worker.flights) for worker in made.workers.values()} == {depth}


def test_nothing_is_sent_to_wait_behind_a_study_that_is_slow_or_unknown() -> None:
    made = pool((1.0, 0.0))
    quick, slow = launch(0), launch(1)
    other = replace(slow.orders[0], key=AttemptKey(study_id="other", trial=0, fence=1))
    made.add(quick, 0.0)
    made.place(0.0)
    warm(made, 0.0)
    finish(made, next(iter(made.workers.values())), 0.1)
    made.add(replace(slow, orders=(other,)), 0.1)
    made.add(launch(2), 0.1)
    made.place(0.1)
    assert [len(worker.flights) for worker in made.workers.values()] == [1]
    finish(made, next(iter(made.workers.values())), 9.0)
    made.add(launch(3), 9.0)
    made.place(9.0)
    assert [len(worker.flights) for worker in made.workers.values()] == [2]


def test_idle_workers_of_another_shape_make_room_but_no_more_than_needed() -> None:
    made = filled(4, SMALL, (4.0, 0.0))
    warm(made, 0.0)
    for worker in list(made.workers.values()):
        finish(made, worker, 1.0)
    made.add(launch(10, LARGE), 2.0)
    made.place(2.0)
    assert shapes(made) == [SMALL, SMALL, LARGE]
    assert sum(worker.state == "gone" for worker in made.changed) == 2
    assert all(worker.remote.killed for worker in made.changed if worker.state == "gone")  # type: ignore[attr-defined]


def test_a_starving_shape_gets_its_room_from_busy_workers_after_their_tenure() -> None:
    made = filled(40)
    warm(made, 0.0)
    made.add(launch(99, LARGE), 0.5)
    now = 0.5
    while now < TENURE_S - 1:
        now += 1.0
        for worker in list(made.workers.values()):
            finish(made, worker, now)
        made.place(now)
        assert shapes(made) == [SMALL, SMALL]
    now = TENURE_S + 1
    for worker in list(made.workers.values()):
        finish(made, worker, now)
    made.place(now)
    assert shapes(made) == [LARGE]


def contended(made: Pool, studies: int, *, trial_s: float, seconds: int = 200) -> tuple[list[int], float]:
    """Studies with code of their own, two launches of each at a time; the next is sent when the controller has heard of
    the last one's end. How many launches each worker has served, and how long a study had to wait for its next end."""
    bundles = [Shape(1.0, 0.0, Runtime(bundle=name * 64, bundle_path=name)) for name in "abcdefgh"[:studies]]
    served: dict[str, int] = {}
    ends: dict[Shape, list[float]] = {shape: [0.0] for shape in bundles}
    trials, due = itertools.count(), [(0.5 * i, shape) for i, shape in enumerate(bundles) for _ in range(2)]
    for tick in range(10 * seconds):
        now = tick / 10
        for worker in list(made.workers.values()):
            if worker.state == "starting" and now - worker.born_at >= 5.0:
                worker.ready(WHO, now)
            elif worker.flights and now - worker.flights[0].begun_at >= trial_s:
                finish(made, worker, now)
                served[worker.worker_id] = served.get(worker.worker_id, 0) + 1
                ends[worker.shape].append(now)
                due.append((now + 0.2, worker.shape))
        for _, shape in [one for one in due if one[0] <= now]:
            made.add(launch(next(trials), shape), now)
        due = [one for one in due if one[0] > now]
        made.place(now)
    gaps = (later - earlier for every in ends.values() for earlier, later in itertools.pairwise([*every, seconds]))
    return sorted(served.values()), max(gaps)


def test_a_worker_serves_its_time_though_its_next_launch_takes_a_moment_to_come() -> None:
    served, longest = contended(pool((2.0, 0.0)), 3, trial_s=1.0)
    assert served[2] >= 8, "but for those that the end came upon"
    assert sum(served) > 2 * 200 * 0.6, "most of the time is spent on training"
    assert longest < 3 * TENURE_S


@pytest.mark.parametrize("trial_s", [1.0, 12.0])
@pytest.mark.parametrize(("studies", "cpus"), [(2, 2.0), (2, 4.0), (3, 4.0)])
def test_studies_that_have_room_beside_each_other_swap_no_workers(studies: int, cpus: float, trial_s: float) -> None:
    served, _ = contended(pool((cpus, 0.0)), studies, trial_s=trial_s)
    assert len(served) <= cpus + studies  # those that go when the later ones come


def test_room_counts_idle_starting_and_possible_workers_less_what_waits() -> None:
    made = pool((4.0, 1.0))
    assert made.room(SMALL) == 4
    assert made.room(Shape(1.0, 0.25)) == 4
    assert made.room(Shape(1.0, 1.0)) == 1
    assert made.room(Shape(8.0, 0.0)) == 0
    for trial in range(3):
        made.add(launch(trial), 0.0)
    made.place(0.0)
    assert made.room(SMALL) == 1
    warm(made, 1.0)
    assert made.room(SMALL) == 1
    assert made.room(LARGE) == 0
    finish(made, next(iter(made.workers.values())), 2.0)
    assert made.room(SMALL) == 2
    assert made.room(LARGE) == 1


def test_idle_workers_are_let_go_and_late_ones_named() -> None:
    made = filled(2)
    warm(made, 0.0)
    first, second = made.workers.values()
    finish(made, first, 10.0)
    assert made.let_idle_go(309.0) == []
    assert made.let_idle_go(311.0) == [first]
    assert list(made.workers.values()) == [second]
    late = filled(1)
    assert late.late_starters(START_LIMIT_S - 1) == []
    assert len(late.late_starters(START_LIMIT_S + 1)) == 1


def test_waiting_launches_can_be_replaced_and_taken_out() -> None:
    made = pool()
    first, second, shorter = launch(1), launch(2), launch(3)
    made.add(first, 0.0)
    made.add(second, 1.0)
    made.replace(first, shorter)
    made.replace(second, None)
    assert list(made.waiting()) == [shorter]
    assert made.waits_since() == {SMALL: 0.0}
    assert made.take_waiting(SMALL) == [shorter]
    assert list(made.waiting()) == []


@given(
    wishes=st.lists(st.sampled_from(SHAPES), min_size=1, max_size=40),
    nodes=st.lists(st.sampled_from([(2.0, 0.0), (4.0, 1.0)]), max_size=2),
    seconds=st.sampled_from([0.1, 3.0]),
)
@settings(deadline=None, max_examples=60)
def test_every_launch_comes_to_its_turn_and_no_node_is_overfull(
    wishes: list[Shape], nodes: list[tuple[float, float]], seconds: float
) -> None:
    made = pool((2.0, 1.0), *nodes)
    for trial, shape in enumerate(wishes):
        made.add(launch(trial, shape), 0.0)
    done: list[int] = []
    now = 0.0
    while len(done) < len(wishes):
        made.place(now)
        for node in made.nodes:
            here = [worker.shape for worker in made.workers.values() if worker.node == node]
            assert sum(shape.cpu for shape in here) <= node.cpu
            assert sum(shape.gpu for shape in here) <= node.gpu
        assert all(len(worker.flights) <= DEPTH for worker in made.workers.values())
        now += seconds
        warm(made, now)
        for worker in list(made.workers.values()):
            if worker.flights:
                done.append(finish(made, worker, now))
        assert now < 200 * TENURE_S, "somebody starves"
    assert sorted(done) == list(range(len(wishes)))


def test_warming_fills_free_room_once_and_drives_nobody_out() -> None:
    made = pool((4.0, 0.0))
    made.add(launch(0, LARGE), 0.0)
    made.place(0.0)
    made.warm(SMALL, 9, 1.0)
    made.warm(SMALL, 9, 2.0)
    assert sorted(worker.shape for worker in made.workers.values()) == [SMALL, SMALL, LARGE]
    made.warm(LARGE, 3, 3.0)
    assert len(made.workers) == 3


def test_what_has_begun_behind_a_launch_that_still_stores_is_in_training_too() -> None:
    made = filled(3, SMALL, (1.0, 0.0))
    warm(made, 0.0)
    [worker] = made.workers.values()
    finish(made, worker, 0.1)
    made.place(0.1)
    first, second = worker.flights
    assert worker.in_training() == set(first.unfinished)
    [key] = second.unfinished
    begun = Started(key=key, worker_id="w", node="n", device="cpu", resumed_from=0.0, environment={})
    second.take([begun], 0.2)
    assert worker.in_training() == {*first.unfinished, key}
