"""Training with recorded steps on a CPU, beside training call by call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from tests.unit.workers.lanes_support import HORIZON, Ran
from tests.unit.workers.tape import TapeRecorder
from workers.loops import graphs, lane_networks, products, recorded_steps
from workers.loops.lanes import LaneLearner
from workers.loops.products import one_thread
from workers.loops.single import Task

REPLAYED = "steps as CUDA graphs, 10 times as fast as call by call"


@contextmanager
def by_tape(*, phase: int | None = 1, **clock: float) -> Iterator[list[TapeRecorder]]:
    """In this block learners on a CPU record: the recorders made, one per learner. `phase` shortens the phases that
    lead to replays; None leaves them. Products are torch's: numpy's no recorder sees."""
    made: list[TapeRecorder] = []

    def recorder(_: str) -> TapeRecorder:
        made.append(TapeRecorder(**clock))
        return made[-1]

    with called_by_torch(), ExitStack() as stack:
        stack.enter_context(patch.object(graphs, "recorder_of", recorder))
        stack.enter_context(patch.object(recorded_steps, "_cost", recorded_steps._Cost()))
        if phase is not None:
            stack.enter_context(patch.object(recorded_steps, "WARMING_STEPS", phase))
            stack.enter_context(patch.object(recorded_steps, "TIMED_STEPS", phase))
        yield made


@contextmanager
def called_by_torch() -> Iterator[None]:
    """In this block learners multiply by torch, on one thread."""
    with (
        patch.object(products, "by_numpy", lambda: False),
        patch.object(lane_networks, "by_numpy", lambda: False),
        one_thread("cpu"),
    ):
        yield


def learner_of(tasks: Sequence[Task], **more: Any) -> LaneLearner:
    """One whose lanes are seeded by their places."""
    count = len(tasks)
    return LaneLearner(tasks, fold=0, seeds=range(count), horizons=[HORIZON] * count, **more)


def trained(learner: LaneLearner, epochs: Sequence[int], lanes: int) -> list[Ran]:
    """The metrics of each epoch, and the last state, by lane."""
    metrics = [learner.epoch([number] * lanes, ahead=9) for number in epochs]
    return [([each[lane] for each in metrics], learner.state_dict(lane)) for lane in range(lanes)]


def both(
    tasks: Sequence[Task], *, epochs: int = 3, phase: int | None = 1, **clock: float
) -> tuple[list[Ran], list[Ran], LaneLearner, TapeRecorder]:
    """Call by call; and as a learner that may record, with that learner and its recorder."""
    numbers = range(1, epochs + 1)
    with called_by_torch():
        called = trained(learner_of(tasks), numbers, len(tasks))
    with by_tape(phase=phase, **clock) as made:
        learner = learner_of(tasks)
        recorded = trained(learner, numbers, len(tasks))
    (recorder,) = made
    return called, recorded, learner, recorder


def lanes_of(structure: Mapping[str, Any], each: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The parameters of each lane."""
    return [{**structure, **lane} for lane in each]
