"""Launches that wait: each study's in order, the studies in turn."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.executors.ray_queue import Queue
from workers.contract import AttemptKey, Launch, TrainerSpec, WorkOrder


def launch(study: str, trial: int, *, preflight: bool = False) -> Launch:
    order = WorkOrder(
        key=AttemptKey(study_id=study, trial=trial, fence=1), trainer=TrainerSpec(recipe="r"), params={}, seed=0,
        metric="loss", metrics=("loss",), from_resource=0, target_resource=1, horizon=1, storage_root="",
        preflight=preflight,
    )  # fmt: skip
    return Launch(launch_id=f"{study}{trial}", orders=(order,))


def drained(queue: Queue) -> list[str]:
    return [queue.take().launch_id for _ in range(len(queue))]


def test_a_block_of_one_study_keeps_another_waiting_for_one_launch() -> None:
    queue = Queue()
    for trial in range(4):
        queue.add(launch("a", trial), 0.0)
    queue.add(launch("b", 0), 1.0)
    assert drained(queue) == ["a0", "b0", "a1", "a2", "a3"]


def test_what_trials_wait_for_goes_before_them() -> None:
    queue = Queue()
    queue.add(launch("a", 0), 0.0)
    queue.add(launch("a", -2, preflight=True), 5.0)
    assert queue.since() == 0.0
    assert drained(queue) == ["a-2", "a0"]


def test_a_launch_is_replaced_in_its_place_or_taken_out() -> None:
    queue = Queue()
    first, second, third = launch("a", 0), launch("a", 1), launch("b", 0)
    for each in (first, second, third):
        queue.add(each, 0.0)
    queue.replace(first, launch("a", 9))
    queue.replace(third, None)
    assert len(queue) == 2
    assert drained(queue) == ["a9", "a1"]
    with pytest.raises(KeyError):
        queue.take()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_each_comes_once_in_its_studys_order_and_no_study_is_passed_over(steps: list[tuple[str, bool]]) -> None:
    """Between two launches of one study, every other one that had something waiting all the while gets its turn."""
    queue, added, taken = Queue(), dict.fromkeys("abc", 0), []
    waiting: list[set[str]] = []
    for study, take in steps:
        queue.add(launch(study, added[study]), float(len(taken)))
        added[study] += 1
        if take:
            waiting.append({each.orders[0].key.study_id for each in queue.launches()})
            taken.append(queue.take())
    taken_first = len(taken)
    while len(queue):
        taken.append(queue.take())
    for study, count in added.items():
        assert [t.orders[0].key.trial for t in taken if t.orders[0].key.study_id == study] == list(range(count))
    turns = [t.orders[0].key.study_id for t in taken[:taken_first]]
    for study in "abc":
        at = [i for i, turn in enumerate(turns) if turn == study]
        for first, second in pairwise(at):
            always = set.intersection(*waiting[first : second + 1])
            assert always - {study} <= set(turns[first + 1 : second])
