"""One attempt from end to end: resolve, go on from a checkpoint, train, and say how it ended.

`run_order` never raises for what a trainable does: every way to end becomes an `Ended`. It knows nothing of Ray;
whoever calls it decides where messages go and how cancelling is asked for.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from workers import checkpoints, environment, isolation, memory, trainables
from workers.capture import LogBuffer, captured
from workers.contract import (
    CancelMode,
    CheckpointRef,
    Ended,
    FailureKind,
    Logged,
    Message,
    Outcome,
    Reported,
    Started,
    WorkOrder,
)
from workers.errors import AttemptEnd, CheckpointError, InvalidOrderError, StorageError
from workers.tracebacks import format_exception, summary
from workers.trial import Ending, Resumed, Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerIdentity:
    """Who trains: stable over the worker's life."""

    worker_id: str
    node: str
    device: str = "cpu"
    cpu: float = 1.0


def this_process(*, device: str = "cpu", cpu: float = 1.0) -> WorkerIdentity:
    """An identity for training in the current process."""
    node = socket.gethostname()
    return WorkerIdentity(worker_id=f"{node}-{os.getpid()}", node=node, device=device, cpu=cpu)


def run_order(
    order: WorkOrder,
    emit: Callable[[Message], None],
    cancelled: Callable[[], CancelMode | None],
    *,
    worker: WorkerIdentity | None = None,
) -> Ended:
    """Train one segment. Everything but the final `Ended`, which is returned, goes through `emit`, in order."""
    return Attempt(order, emit, cancelled, worker=worker).run()


class Attempt:
    """One attempt; `run` may be called once. `flush_logs` may be called from another thread meanwhile."""

    def __init__(
        self,
        order: WorkOrder,
        emit: Callable[[Message], None],
        cancelled: Callable[[], CancelMode | None],
        *,
        worker: WorkerIdentity | None = None,
    ) -> None:
        self._order = order
        self._worker = worker or this_process()
        self._send = emit
        self._cancelled = cancelled
        self._log = LogBuffer(lambda text: emit(Logged(key=order.key, text=text)))
        self._usage = memory.Usage(self._worker.device)
        self._trial: Trial | None = None
        self._started = time.monotonic()

    def flush_logs(self) -> None:
        """Send what was printed, if it has waited long enough."""
        self._log.tick()

    def run(self) -> Ended:
        """Train to the target, to a cancellation, or to a failure."""
        mode = self._cancelled()
        if mode is not None:
            return self._never_started(mode)
        with isolation.isolated(), captured(self._log):
            ending, traceback = self._guarded()
        self._log.flush()
        return self._ended(ending, traceback)

    def _guarded(self) -> tuple[Ending, str]:
        try:
            prepared = self._prepare()
            with _threads(self._worker), _deterministic(self._order):
                self._train(prepared)
        except AttemptEnd as signal:
            ending = self._decided() or Ending(
                outcome=Outcome.FAILED,
                failure=FailureKind.EXCEPTION,
                reason="the function raised the end of an attempt",
            )
            return ending, format_exception(signal) if ending.with_traceback else ""
        except BaseException as error:
            return self._failed(error), "" if isinstance(error, InvalidOrderError) else format_exception(error)
        return self._returned(), ""

    def _prepare(self) -> trainables.Prepared:
        if self._order.preflight:
            checkpoints.probe(self._order.storage_root)
        return trainables.resolve(self._order).prepare(self._order, device=self._worker.device)

    def _train(self, prepared: trainables.Prepared) -> None:
        order = self._order
        resumed = self._newest_readable(weights_only=prepared.weights_only)
        run = {
            "method": "plain",
            "width": order.width,
            "determinism": environment.determinism(asked=order.deterministic),
        }
        found = environment.capture(device=self._worker.device, code=prepared.code, data=prepared.data, run=run)
        self._send(
            Started(
                key=order.key,
                worker_id=self._worker.worker_id,
                node=self._worker.node,
                device=self._worker.device,
                resumed_from=resumed.ref.resource if resumed else 0.0,
                environment=found,
            )
        )
        self._trial = Trial(
            order,
            emit=self._emit,
            cancelled=self._cancelled,
            log=self._log.write,
            device=self._worker.device,
            resumed=resumed,
            started=self._started,
        )
        if resumed is None or resumed.ref.resource < order.target_resource or order.preflight:
            prepared.run(self._trial)
        else:  # the end of an earlier attempt was lost, not its training
            self._trial.ending = Ending(outcome=Outcome.REACHED)

    def _emit(self, message: Message) -> None:
        if isinstance(message, Reported):
            self._usage.sample()
        self._log.tick()
        self._send(message)

    def _newest_readable(self, *, weights_only: bool) -> Resumed | None:
        for ref in self._order.checkpoints:
            try:
                state = checkpoints.load(self._order.storage_root, ref, weights_only=weights_only)
            except CheckpointError as error:
                self._log.write(f"{error}; going on from the one before\n")
                continue
            return Resumed(ref=ref, state=state)
        return None

    # How it ended

    def _decided(self) -> Ending | None:
        return self._trial.ending if self._trial else None

    def _returned(self) -> Ending:
        trial = self._trial
        assert trial is not None
        if trial.ending is not None:
            return trial.ending
        if trial.reported or trial.resource > 0:
            return Ending(outcome=Outcome.COMPLETED, reason="the trainable ended on its own")
        return Ending(
            outcome=Outcome.FAILED,
            failure=FailureKind.MISSING_METRIC,
            reason=f"a trial must report {self._order.metric!r} at least once, "
            "but the function returned without a report; "
            f"call trial.report(step, {self._order.metric}=…)",
        )

    def _failed(self, error: BaseException) -> Ending:
        decided = self._decided()
        if decided is not None:
            self._log.write(f"after the end of the attempt: {format_exception(error)}")
            return decided
        kind, reason = _classify(error, started=self._trial is not None)
        return Ending(outcome=Outcome.FAILED, failure=kind, reason=reason)

    def _never_started(self, mode: CancelMode) -> Ended:
        newest = self._order.checkpoints[0] if self._order.checkpoints else None
        outcome = Outcome.PAUSED if mode is CancelMode.PAUSE else Outcome.CANCELLED
        return Ended(
            key=self._order.key,
            outcome=outcome,
            resource=newest.resource if newest else 0.0,
            seconds=0.0,
            reason="cancelled before it started",
            checkpoint=newest,
        )

    def _ended(self, ending: Ending, traceback: str) -> Ended:
        checkpoint, ending = self._last_checkpoint(ending)
        return Ended(
            key=self._order.key,
            outcome=ending.outcome,
            resource=self._trial.resource if self._trial else 0.0,
            seconds=time.monotonic() - self._started,
            failure=ending.failure,
            reason=ending.reason,
            traceback=traceback,
            checkpoint=checkpoint,
            peak_memory_bytes=self._usage.peak_bytes(),
            gpu_peak_memory_bytes=self._usage.gpu_peak_bytes(),
            gpu_utilisation=self._usage.gpu_mean_utilisation(),
        )

    def _last_checkpoint(self, ending: Ending) -> tuple[CheckpointRef | None, Ending]:
        if self._trial is None:
            return None, ending
        try:
            self._trial.close()
        except StorageError as error:
            ending = Ending(outcome=Outcome.FAILED, failure=FailureKind.STORAGE, reason=str(error))
        return self._trial.checkpoint, ending


def _classify(error: BaseException, *, started: bool) -> tuple[FailureKind, str]:
    if isinstance(error, InvalidOrderError):
        return FailureKind.INVALID, str(error)
    if isinstance(error, StorageError):
        return FailureKind.STORAGE, str(error)
    if memory.is_out_of_memory(error):
        return FailureKind.OUT_OF_MEMORY, summary(error)
    if not started:
        return FailureKind.INVALID, f"the trainer must import and prepare without an error, but: {summary(error)}"
    return FailureKind.EXCEPTION, summary(error)


@contextmanager
def _threads(worker: WorkerIdentity) -> Iterator[None]:
    """As many computing threads as the worker has cores; one for small shares."""
    torch = memory.loaded_torch()
    wanted = max(1, int(worker.cpu))
    if torch is None or torch.get_num_threads() == wanted:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(wanted)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _deterministic(order: WorkOrder) -> Iterator[None]:
    """Deterministic kernels for this attempt, where asked for; `isolated` puts the switches back."""
    torch = memory.loaded_torch()
    if order.deterministic and torch is not None:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
    yield
