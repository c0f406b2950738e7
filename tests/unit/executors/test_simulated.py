"""The virtual clock: determinism, time, faults by key. The general guarantees are in the conformance suite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.executors.curves import PowerLaw
from hpo_service.executors.simulated import SimulatedExecutor
from workers.contract import (
    AttemptKey,
    CheckpointRef,
    Ended,
    Launch,
    Message,
    Outcome,
    Reported,
    Saved,
    Started,
    TrainerSpec,
    WorkOrder,
)

ORDER = WorkOrder(
    key=AttemptKey(study_id="s", trial=0, fence=1), trainer=TrainerSpec(function="module:train"), params={"lr": 0.1},
    seed=1, metric="val_loss", metrics=("val_loss",), from_resource=0, target_resource=4, horizon=9, storage_root="",
)  # fmt: skip


def orders(count: int) -> list[WorkOrder]:
    return [
        replace(ORDER, key=AttemptKey(study_id="s", trial=n, fence=1), params={"lr": 10.0 ** -(n % 5)})
        for n in range(count)
    ]


def play(executor: SimulatedExecutor, launches: Sequence[Sequence[WorkOrder]]) -> list[Message]:
    for number, group in enumerate(launches):
        executor.launch(Launch(launch_id=str(number), orders=tuple(group)))
    messages: list[Message] = []
    while batch := executor.poll(0.0):
        messages += batch
    return messages


def outcomes(messages: Sequence[Message]) -> dict[int, Outcome]:
    return {m.key.trial: m.outcome for m in messages if isinstance(m, Ended)}


def test_launches_share_the_cpus_and_the_clock_says_so() -> None:
    executor = SimulatedExecutor(PowerLaw(), seconds_per_resource=2.0, cpus=2)
    play(executor, [[order] for order in orders(5)])
    assert executor.now == 3 * 4 * 2.0


def test_lanes_of_a_fused_launch_train_together() -> None:
    executor = SimulatedExecutor(PowerLaw(), cpus=1)
    executor.launch(Launch(launch_id="l", orders=tuple(orders(8)), method="fused"))
    while executor.poll(0.0):
        pass
    assert executor.now == 4.0


def test_a_larger_launch_waits_for_its_room_and_nobody_passes_it() -> None:
    executor = SimulatedExecutor(PowerLaw(), cpus=2)
    first, large, last = orders(3)
    executor.launch(Launch(launch_id="a", orders=(first,)))
    executor.launch(Launch(launch_id="b", orders=(large,), cpu=2.0))
    executor.launch(Launch(launch_id="c", orders=(last,)))
    ended = []
    while batch := executor.poll(0.0):
        ended += [m.key.trial for m in batch if isinstance(m, Ended)]
    assert ended == [0, 1, 2]
    assert executor.now == 12.0


@given(count=st.integers(1, 30), cpus=st.integers(1, 8), seed=st.integers(0, 99), batch=st.sampled_from([1, 7, 1000]))
@settings(deadline=None, max_examples=30)
def test_runs_repeat_and_faults_hang_on_the_key_alone(count: int, cpus: int, seed: int, batch: int) -> None:
    def once(cpus: int, batch: int) -> list[Message]:
        executor = SimulatedExecutor(
            PowerLaw(noise=0.1), cpus=cpus, seed=seed, failure_rate=0.2, loss_rate=0.2, batch=batch
        )
        return play(executor, [[order] for order in orders(count)])

    messages = once(cpus, batch)
    assert messages == once(cpus, batch)
    assert outcomes(messages) == outcomes(once(3, 1))
    assert len(outcomes(messages)) == count


def test_fault_rates_are_kept() -> None:
    executor = SimulatedExecutor(PowerLaw(), cpus=8, failure_rate=0.2, loss_rate=0.1, batch=1000)
    found = list(outcomes(play(executor, [[order] for order in orders(2000)])).values())
    assert found.count(Outcome.FAILED) / 2000 == pytest.approx(0.2, abs=0.03)
    assert found.count(Outcome.LOST) / 2000 == pytest.approx(0.1, abs=0.03)


def test_checkpoints_on_the_way_are_what_a_successor_goes_on_from() -> None:
    executor = SimulatedExecutor(PowerLaw(), cpus=1, checkpoint_every=2.0)
    messages = play(executor, [[replace(ORDER, target_resource=5.0)]])
    saved = [m.checkpoint for m in messages if isinstance(m, Saved)]
    assert [(ref.resource, ref.step) for ref in saved] == [(2.0, 2), (4.0, 4), (5.0, 5)]
    key = AttemptKey(study_id="s", trial=0, fence=2)
    again = play(executor, [[replace(ORDER, key=key, target_resource=5.0, checkpoints=(saved[1], saved[0]))]])
    assert [m.resumed_from for m in again if isinstance(m, Started)] == [4.0]
    assert [m.step for m in again if isinstance(m, Reported)] == [5]


def test_a_target_between_steps_is_reached_exactly() -> None:
    messages = play(SimulatedExecutor(PowerLaw(), cpus=1), [[replace(ORDER, target_resource=2.5)]])
    assert [m.resource for m in messages if isinstance(m, Reported)] == [1.0, 2.0, 2.5]


def test_a_target_that_is_behind_the_checkpoint_is_reached_at_once() -> None:
    ref = CheckpointRef(path="p", digest="d", resource=4.0, step=4, size_bytes=0)
    executor = SimulatedExecutor(PowerLaw(), cpus=1)
    ended = [m for m in play(executor, [[replace(ORDER, checkpoints=(ref,))]]) if isinstance(m, Ended)]
    assert [(m.outcome, m.resource, m.checkpoint) for m in ended] == [(Outcome.REACHED, 4.0, ref)]
    assert executor.now == 0.0


def test_preflight_trains_one_step_and_saves_nothing() -> None:
    messages = play(SimulatedExecutor(PowerLaw(), cpus=1), [[replace(ORDER, preflight=True)]])
    assert [type(m) for m in messages if not hasattr(m, "state")] == [Started, Reported, Ended]


def test_a_metric_that_is_not_reported_fails_the_attempt() -> None:
    messages = play(SimulatedExecutor(PowerLaw(), cpus=1), [[replace(ORDER, metric="f1")]])
    ended = next(m for m in messages if isinstance(m, Ended))
    assert ended.failure == "missing_metric"
    assert "'f1'" in ended.reason


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="step must be > 0"):
        SimulatedExecutor(PowerLaw(), step=0.0)
