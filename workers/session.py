"""One attempt from end to end: resolve, go on from a checkpoint, train, and say how it ended.

`run_order` never raises for what a trainable does: every way to end becomes an `Ended`. It knows nothing of Ray;
whoever calls it decides where messages go and how cancelling is asked for.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from workers import checkpoints, endings, environment, isolation, memory, trainables
from workers.capture import LogBuffer, captured
from workers.contract import PLAIN, CancelMode, Ended, Logged, Message, Outcome, Reported, Started, WorkOrder
from workers.distributed import GroupEnd, Ranks
from workers.errors import InvalidOrderError
from workers.trial import Ending, Resumed, Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerIdentity:
    """Who trains: stable over the worker's life. `gpu` is the fraction of a GPU that it has, or how many."""

    worker_id: str
    node: str
    device: str = "cpu"
    cpu: float = 1.0
    gpu: float = 0.0


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
        abandon: Callable[[Ended], None] | None = None,
    ) -> None:
        """`abandon` takes the end of a trainable that goes on for ever after it, and ends the process."""
        self._order = order
        self._worker = worker or this_process()
        self._send = emit
        self._cancelled = cancelled
        self._abandon = abandon
        self._log = LogBuffer(lambda text: emit(Logged(key=order.key, text=text)))
        self._usage = memory.Usage(self._worker.device)
        self._trial: Trial | None = None
        self._group: GroupEnd | None = None
        self._started = time.monotonic()

    def flush_logs(self) -> None:
        """Send what was printed, if it has waited long enough."""
        self._log.tick()

    def run(self) -> Ended:
        """Train to the target, to a cancellation, or to a failure."""
        mode = self._cancelled()
        if mode is not None:
            return endings.never_started(self._order, mode)
        with isolation.isolated(), captured(self._log):
            ending, traceback = self._guarded()
        self._log.flush()
        return self._ended(ending, traceback)

    def _guarded(self) -> tuple[Ending, str]:
        try:
            with memory.bounded(self._most_bytes()):
                self._train_as_asked()
        except BaseException as error:
            return self._concluded(error)
        return self._concluded(None)

    def _train_as_asked(self) -> None:
        prepared = self._prepare()
        with isolation.computing(cpu=self._worker.cpu, deterministic=self._order.deterministic):
            try:
                self._train(prepared)
            finally:
                self._calibrate(prepared)

    def _concluded(self, error: BaseException | None) -> tuple[Ending, str]:
        if error is None and self._group is not None:
            return self._group.ending, self._group.traceback
        return endings.conclude(self._order, self._trial, error, log=self._log.write)

    def _prepare(self) -> trainables.Prepared:
        if self._order.preflight:
            checkpoints.probe(self._order.storage_root)
        return trainables.resolve(self._order).prepare(self._order, device=self._worker.device)

    def _train(self, prepared: trainables.Prepared) -> None:
        order = self._order
        resumed = endings.newest_readable(order, weights_only=prepared.weights_only, log=self._log.write)
        run = {
            "method": PLAIN,
            "width": order.width,
            "determinism": environment.determinism(asked=order.deterministic),
            **({} if prepared.task is None else {"products": environment.products(self._worker.device)}),
            **({"processes": order.processes} if order.processes > 1 else {}),
            **({"gpu": self._worker.gpu} if 0 < self._worker.gpu < 1 else {}),
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
                resumed_path=resumed.ref.path if resumed else "",
            )
        )
        if order.processes > 1:
            self._group = self._train_together(resumed)
            return
        self._trial = Trial(
            order,
            emit=self._emit,
            cancelled=self._cancelled,
            log=self._log.write,
            device=self._worker.device,
            resumed=resumed,
            started=self._started,
            abandon=None if self._abandon is None else self._give_up,
        )
        if resumed is None or resumed.ref.resource < order.target_resource or order.preflight:
            self._run(prepared, self._trial)
        else:  # the end of an earlier attempt was lost, not its training
            self._trial.ending = Ending(outcome=Outcome.REACHED)

    def _train_together(self, resumed: Resumed | None) -> GroupEnd:
        """Train in several processes; all of them go on from the checkpoint that could be read here."""
        order = replace(self._order, checkpoints=() if resumed is None else (resumed.ref,))
        if order.trainer.function is None:
            raise InvalidOrderError(
                "several processes train a function only, but this trainer is none; set resources.processes to 1"
            )
        if resumed is not None and resumed.ref.resource >= order.target_resource and not order.preflight:
            return GroupEnd(ending=Ending(outcome=Outcome.REACHED), resource=resumed.ref.resource)
        ranks = Ranks(
            order,
            emit=self._emit,
            cancelled=self._cancelled,
            log=self._log.write,
            device=self._worker.device,
            cpu=self._worker.cpu,
            started=self._started,
        )
        return ranks.run()

    def _give_up(self) -> None:
        """The trainable swallows its end for ever: say how the attempt ended, and leave it to its process's end."""
        assert self._trial is not None
        assert self._trial.ending is not None
        assert self._abandon is not None
        self._log.write("after its end the trial went on reporting, so its worker was ended; let BaseException pass\n")
        self._log.flush()
        self._abandon(self._ended(self._trial.ending, ""))

    def _run(self, prepared: trainables.Prepared, trial: Trial) -> None:
        process = os.getpid()
        try:
            prepared.run(trial)
        finally:
            if os.getpid() != process:  # a child that the trainable forked came back: it must not go on as a worker
                os._exit(0 if sys.exc_info()[0] is None else 1)

    def _most_bytes(self) -> int | None:
        """What the attempt may hold; on a GPU unbounded, for drivers map more than they use."""
        node = memory.node_bytes() if self._worker.device == "cpu" else None
        return None if node is None else int(node * memory.MOST_OF_NODE)

    def _calibrate(self, prepared: trainables.Prepared) -> None:
        """Measure how such trials are best trained, where that was asked for and the preflight went well."""
        ending = self._trial.ending if self._trial is not None else None
        if self._order.calibrate is None or ending is None or ending.outcome is not Outcome.REACHED:
            return
        from workers import calibration  # lazy: it needs torch, functions may not

        self._send(calibration.calibrate(self._order, prepared, device=self._worker.device))

    def _emit(self, message: Message) -> None:
        if isinstance(message, Reported):
            self._usage.sample()
        self._log.tick()
        self._send(message)

    def _ended(self, ending: Ending, traceback: str) -> Ended:
        if self._group is not None:
            return self._ended_together(self._group, traceback)
        checkpoint, ending = endings.last_checkpoint(self._trial, ending)
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

    def _ended_together(self, group: GroupEnd, traceback: str) -> Ended:
        return Ended(
            key=self._order.key,
            outcome=group.ending.outcome,
            resource=group.resource,
            seconds=time.monotonic() - self._started,
            failure=group.ending.failure,
            reason=group.ending.reason,
            traceback=traceback,
            checkpoint=group.checkpoint,
            peak_memory_bytes=_sum(self._usage.peak_bytes(), group.peak_memory_bytes),
            gpu_peak_memory_bytes=_sum(self._usage.gpu_peak_bytes(), group.gpu_peak_memory_bytes),
            gpu_utilisation=self._usage.gpu_mean_utilisation(),
        )


def _sum(own: int | None, theirs: int | None) -> int | None:
    return theirs if own is None else own + (theirs or 0)
