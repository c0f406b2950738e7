"""One order of a fused launch: its trial, its log, its checkpoints, and how it ends. It knows nothing of the others."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from workers import checkpoints, endings
from workers.capture import LogBuffer
from workers.checkpoints import Request
from workers.contract import (
    CancelMode,
    CheckpointRef,
    Ended,
    Logged,
    Message,
    Outcome,
    Saved,
    WorkOrder,
)
from workers.errors import StorageError
from workers.saving import Saver
from workers.trainables import Prepared
from workers.trial import KEPT_PER_ATTEMPT, Ending, Trial


class Lane:
    """A lane of a launch. `ended` is True from the moment on at which its training is over; its `Ended` follows when
    what it saved is durable."""

    def __init__(
        self,
        order: WorkOrder,
        *,
        emit: Callable[[Message], None],
        cancelled: Callable[[], CancelMode | None],
        saver: Saver,
        started: float,
    ) -> None:
        self.order = order
        self.emit = emit
        self.cancelled = cancelled
        self.log = LogBuffer(lambda text: emit(Logged(key=order.key, text=text)))
        self.prepared: Prepared | None = None
        self.trial: Trial | None = None
        self.reached = False  # by an earlier attempt: there is nothing to train
        self.resumed_path = ""  # of the checkpoint that it goes on from
        self.ended = False
        self._saver = saver
        self._started = started
        self._refs: list[CheckpointRef] = []
        self._failed: StorageError | None = None

    def begin(self, *, device: str) -> float:
        """Make the lane's trial, which goes on from its newest readable checkpoint; returns that one's resource."""
        assert self.prepared is not None
        resumed = endings.newest_readable(self.order, weights_only=self.prepared.weights_only, log=self.log.write)
        self.resumed_path = resumed.ref.path if resumed else ""
        self.trial = Trial(
            self.order,
            emit=self._passed,
            cancelled=self.cancelled,
            log=self.log.write,
            device=device,
            resumed=resumed,
            started=self._started,
            keep=self._keep,
        )
        if resumed is not None and resumed.ref.resource >= self.order.target_resource:
            self.trial.ending = Ending(outcome=Outcome.REACHED)  # the end of an earlier attempt was lost
            self.reached = True
        return resumed.ref.resource if resumed else 0.0

    def never_start(self, mode: CancelMode) -> None:
        """End a lane whose cancellation came first."""
        self.ended = True
        self.emit(endings.never_started(self.order, mode))

    def give_up(self, mode: CancelMode, *, use: dict[str, Any]) -> None:
        """End a lane that was cancelled while it waited for its turn: where it came from, it goes on from."""
        self.ended = True
        self.log.flush()
        ended = endings.never_started(self.order, mode)
        ended = replace(ended, seconds=time.monotonic() - self._started, **use)
        self._saver.then(lambda: self.emit(ended))

    def end(self, error: BaseException | None, *, use: dict[str, Any]) -> None:
        """The lane's training is over, by itself (None) or by `error`. `use` holds its costs, as `Ended` names them."""
        self.end_as(*endings.conclude(self.order, self.trial, error, log=self.log.write), use=use)

    def end_as(self, ending: Ending, traceback: str = "", *, use: dict[str, Any]) -> None:
        """End in this way, once everything that was saved is durable."""
        assert not self.ended, f"the attempt {self.order.key} ends twice"
        self.ended = True
        self.log.flush()
        resource = self.trial.resource if self.trial else 0.0
        seconds = time.monotonic() - self._started
        self._saver.then(lambda: self._say_end(ending, traceback, resource=resource, seconds=seconds, **use))

    def _passed(self, message: Message) -> None:
        self.log.tick()
        self.emit(message)

    def _keep(self, state: Any, step: int, resource: float) -> None:
        if self._failed is not None:
            raise self._failed
        self._saver.save(Request(self.order.storage_root, self.order.key, state, step, resource), self._kept)

    # On the saver's thread

    def _kept(self, answer: CheckpointRef | Exception) -> None:
        if isinstance(answer, Exception):
            self._failed = answer if isinstance(answer, StorageError) else StorageError(str(answer))
            return
        self._refs.append(answer)
        self.emit(Saved(key=self.order.key, checkpoint=answer))
        while len(self._refs) > KEPT_PER_ATTEMPT:
            checkpoints.remove(self.order.storage_root, self._refs.pop(0))

    def _say_end(self, ending: Ending, traceback: str, **measured: Any) -> None:
        if self._failed is not None and ending.outcome is not Outcome.FAILED:
            ending = endings.storage_failed(self._failed)
        self.emit(
            Ended(
                key=self.order.key,
                outcome=ending.outcome,
                failure=ending.failure,
                reason=ending.reason,
                traceback=traceback,
                checkpoint=self._refs[-1] if self._refs else None,
                **measured,
            )
        )
