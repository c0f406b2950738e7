"""Launches are trained in the order in which they were sent, in whatever order their calls come."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from workers.actor import Worker
from workers.contract import AttemptKey, Ended, Launch, Message, TrainerSpec, WorkOrder


class Recording(Worker):
    """Remembers in which order it trained."""

    trained: list[int]

    def _attempt(self, order: WorkOrder, emit: Callable[[Message], None]) -> Ended:
        self.trained.append(order.key.trial)
        return super()._attempt(order, emit)


def launch(trial: int, root: Path) -> Launch:
    order = WorkOrder(
        key=AttemptKey(study_id="s", trial=trial, fence=1), trainer=TrainerSpec(function="math:sqrt"), params={},
        seed=0, metric="loss", metrics=("loss",), from_resource=0, target_resource=1, horizon=1, storage_root=str(root),
    )  # fmt: skip
    return Launch(launch_id=str(trial), orders=(order,))


def test_calls_that_come_in_another_order_take_their_turns(tmp_path: Path) -> None:
    worker = Recording("w")
    worker.trained = []
    ended: list[int] = []

    def stream(turn: int) -> None:
        for batch in worker.run(launch(turn, tmp_path), turn):
            ended.extend(m.key.trial for m in batch if isinstance(m, Ended))

    threads = [threading.Thread(target=stream, args=(turn,)) for turn in (2, 1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    worker.stop()
    assert worker.trained == [0, 1, 2]
    assert sorted(ended) == [0, 1, 2]
