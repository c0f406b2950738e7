"""The warm worker: trains launches on a thread of its own and streams what happens, in batches.

The orders of a plain launch are trained one after another, those of a fused one together. While the last checkpoints of
a fused launch are on their way to the disk, the next launch may already train.

`Worker` is a plain class, is tested as one, and knows no Ray. Wrapping, placing, watching and giving work is the
executor's.

Call it like this: `run` streams (`num_returns="streaming"`, concurrency group "train"); `cancel`, `ping` and `stop`
go to the concurrency group "control", so that they are answered while `run` trains; so does `fill`.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import queue
import socket
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from workers import environment, memory, own_code
from workers.contract import FUSED, AttemptKey, CancelMode, Ended, FailureKind, Launch, Message, Outcome, WorkOrder
from workers.endings import never_started
from workers.reproduction import Reproduction
from workers.saving import Saver
from workers.session import Attempt, WorkerIdentity
from workers.session_fused import FusedAttempts
from workers.tracebacks import format_exception, summary

BATCH_SECONDS = 0.05
FUSED_BATCH_SECONDS = 0.1  # lanes report together and often, and a batch costs as much as an epoch of a lane
SOON_SECONDS = 0.005  # a beginning and an end wait so long for what follows at once: sending costs half a millisecond
LEAVE_SECONDS = 0.5  # for the last messages to be read before the process ends
TURN_SECONDS = 30.0  # an earlier call that does not come within it never will
_REMEMBERED_CANCELS = 4096


class Worker:
    """One worker process. Trains one launch at a time."""

    def __init__(
        self,
        worker_id: str,
        *,
        cpu: float = 1.0,
        gpu: float = 0.0,
        node: str | None = None,
        code_paths: Sequence[str] = (),
        bundle: str = "",
    ) -> None:
        device = "cuda:0" if gpu > 0 else "cpu"
        self._me = WorkerIdentity(
            worker_id=worker_id, node=node or socket.gethostname(), device=device, cpu=cpu, gpu=gpu
        )
        self._code_paths = tuple(code_paths)
        self._bundle = bundle
        self._cancels: OrderedDict[AttemptKey, CancelMode] = OrderedDict()
        self._filled: dict[str, list[WorkOrder]] = {}  # further orders of the launch that trains
        self._lock = threading.Lock()
        self._behind: Sequence[WorkOrder] = ()  # of the plain launch that trains: what comes after its current order
        self._current: Attempt | FusedAttempts | Reproduction | None = None
        self._saver = Saver()
        self._warm: dict[str, Any] | None = None
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._turn = 0
        self._turned = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="hpo-train", daemon=True)
        self._thread.start()

    def warm(self) -> dict[str, Any]:
        """Load what every trial needs, so that the first is as quick as the rest; returns what `ping` returns.

        Raises:
            RuntimeError: a GPU was asked for and torch sees none.
        """
        done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

        def job() -> None:
            try:
                self._load()
            except BaseException as error:
                done.put(error)
            else:
                done.put(None)

        self._jobs.put(job)
        error = done.get()
        if error is not None:
            raise error
        return self.ping()

    def ping(self) -> dict[str, Any]:
        """Who this is: worker_id, node, pid, device, gpu_name, memory_bytes of the GPU, whether it is busy."""
        gpu = (self._warm or {}).get("gpu")
        return {
            "worker_id": self._me.worker_id,
            "node": self._me.node,
            "pid": os.getpid(),
            "device": self._me.device,
            "cpu": self._me.cpu,
            "gpu_name": gpu["name"] if gpu else None,
            "gpu_memory_bytes": gpu["memory_bytes"] if gpu else None,
            "busy": self._current is not None,
            "warm": self._warm is not None,
        }

    def run(self, launch: Launch, turn: int | None = None) -> Iterator[list[Message]]:
        """Train the orders of a launch; yields messages in order, in batches, an `Ended` last for each order.

        Two calls may stream at a time: the second launch begins while the last checkpoints of the first are still on
        their way to the disk. `turn` counts the calls from 0 where they may come in another order than they were made.
        """
        out: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        with self._turned:
            self._turned.wait_for(lambda: turn is None or turn <= self._turn, timeout=TURN_SECONDS)
            self._jobs.put(lambda: self._train(launch, out))
            self._turn += 1
            self._turned.notify_all()
        finished = False
        apart = FUSED_BATCH_SECONDS if launch.method == FUSED else BATCH_SECONDS
        flushed = time.monotonic() + SOON_SECONDS - apart
        try:
            while not finished:
                batch, finished = self._gather(out, not_before=flushed + apart)
                if batch:
                    flushed = time.monotonic()
                    yield batch
        finally:
            if not finished:  # nobody reads any more: give up at the next report
                for order in [*launch.orders, *self._filled.get(launch.launch_id, ())]:
                    self.cancel(order.key, CancelMode.STOP)

    def cancel(self, key: AttemptKey, mode: CancelMode) -> None:
        """Ask an attempt to end at its next report; one that has not begun never does. STOP outranks PAUSE."""
        with self._lock:
            if self._cancels.get(key) is not CancelMode.STOP:
                self._cancels[key] = mode
            while len(self._cancels) > _REMEMBERED_CANCELS:
                self._cancels.popitem(last=False)

    def fill(self, launch_id: str, orders: Sequence[WorkOrder]) -> None:
        """Give a fused launch that trains here further orders, for lanes that fall free. Where it is over they are
        ignored: its stream ends, or has ended, without them."""
        current = self._current
        if isinstance(current, FusedAttempts) and current.launch_id == launch_id:
            with self._lock:
                if current.add(orders):
                    self._filled.setdefault(launch_id, []).extend(orders)

    def stop(self) -> None:
        """End the worker's threads after its current launch."""
        self._jobs.put(None)

    # On the caller's thread

    def _gather(self, out: queue.SimpleQueue[Message | None], *, not_before: float) -> tuple[list[Message], bool]:
        """What has come by the time `not_before`, or soon after the end of a trial; at once if that time is past.

        The second value is True when all is over. Where nothing comes for 50 ms, the batch is empty.
        """
        batch: list[Message] = []
        while True:
            left = not_before - time.monotonic()
            patience = max(0.0, left) if batch else BATCH_SECONDS
            try:
                message = out.get(timeout=patience) if patience > 0 else out.get_nowait()
            except queue.Empty:
                break
            if message is None:
                return batch, True
            batch.append(message)
            if isinstance(message, Ended):
                not_before = min(not_before, time.monotonic() + SOON_SECONDS)
        attempt = self._current
        if attempt is not None:
            attempt.flush_logs()
        return batch, False

    # On the training thread

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        self._saver.close()

    def _train(self, launch: Launch, out: queue.SimpleQueue[Message | None]) -> None:
        if launch.method == FUSED:
            self._train_fused(launch, out)
            return
        try:
            for place, order in enumerate(launch.orders):
                self._behind = launch.orders[place + 1 :]
                ended = self._attempt(order, out.put)
                if ended.failure is FailureKind.OUT_OF_MEMORY:
                    memory.release()
                out.put(ended)
                self._forget(order)
        finally:
            out.put(None)

    def _train_fused(self, launch: Launch, out: queue.SimpleQueue[Message | None]) -> None:
        """Train the orders as lanes; the stream ends behind the last checkpoint that is still to be stored."""
        current: FusedAttempts | None = None
        try:
            self._load()
            self._current = current = FusedAttempts(
                launch, out.put, self._cancels.get, worker=self._me, saver=self._saver
            )
            current.run()
        except BaseException as error:  # as below: every attempt must end, and once
            for order in launch.orders if current is None else current.unfinished():
                self._saver.then(functools.partial(out.put, _broken(order, error)))
        finally:
            self._current = None
            with self._lock:
                further = self._filled.pop(launch.launch_id, [])
            for order in [*launch.orders, *further]:
                self._forget(order)
            self._saver.then(lambda: out.put(None))

    def _forget(self, order: WorkOrder) -> None:
        with self._lock:
            self._cancels.pop(order.key, None)

    def _made(self, order: WorkOrder, emit: Callable[[Message], None]) -> Attempt | Reproduction:
        def cancelled() -> CancelMode | None:
            return self._cancels.get(order.key)

        abandon = functools.partial(_leave, emit, self._behind)
        if order.reproduce is not None:
            return Reproduction(order, emit, cancelled, worker=self._me, abandon=abandon)
        return Attempt(order, emit, cancelled, worker=self._me, abandon=abandon)

    def _attempt(self, order: WorkOrder, emit: Callable[[Message], None]) -> Ended:
        try:
            self._load()
            self._current = self._made(order, emit)
            return self._current.run()
        except BaseException as error:  # the stream must end with an Ended whatever happens
            return _broken(order, error)
        finally:
            self._current = None

    def _load(self) -> None:
        """Import torch and the recipes where they are installed, then let the user's code join sys.path.

        In this order, so that a user's file named like one of our modules never takes its place. The folder of a bundle
        is the working directory.
        """
        if self._warm is not None:
            return
        with contextlib.suppress(ModuleNotFoundError):  # without torch only functions can be trained
            import torch  # lazy: seconds

            from workers import recipes  # lazy, for torch's sake

            torch.set_num_threads(max(1, int(self._me.cpu)))
            self._pin(torch)
            recipes.warm_up(device=self._me.device)
        found = environment.capture(device=self._me.device, code={}, data=None, run={})
        for path in reversed(self._code_paths):
            if path not in sys.path:
                sys.path.insert(0, path)
        if self._bundle:
            own_code.join(os.getcwd(), self._bundle)
        gc.freeze()  # what is loaded by now stays: a full collection would look at all of it, for 0.1 s
        self._warm = {"gpu": found["gpu"]}

    def _pin(self, torch: Any) -> None:
        if self._me.device == "cpu":
            return
        if not torch.cuda.is_available():
            raise RuntimeError(
                "a worker with a GPU needs one that torch can use, but torch.cuda.is_available() is False "
                f"(torch {torch.__version__}, CUDA_VISIBLE_DEVICES={os.environ.get('CUDA_VISIBLE_DEVICES')!r}); "
                "install a CUDA build of torch, or ask for gpu: 0"
            )
        torch.cuda.set_device(0)
        torch.zeros(1, device="cuda:0")


def _leave(emit: Callable[[Message], None], behind: Sequence[WorkOrder], ended: Ended) -> None:
    """End the process, for its training thread is lost to a trainable that never returns. What is to be said goes
    first, also of the orders `behind` it: they have not begun, and are placed again."""
    emit(ended)
    for order in behind:
        emit(never_started(order, CancelMode.PAUSE))
    time.sleep(LEAVE_SECONDS)
    os._exit(1)


def _broken(order: WorkOrder, error: BaseException) -> Ended:
    return Ended(
        key=order.key,
        outcome=Outcome.FAILED,
        resource=0.0,
        seconds=0.0,
        failure=FailureKind.OUT_OF_MEMORY if memory.is_out_of_memory(error) else FailureKind.EXCEPTION,
        reason=f"the worker failed: {summary(error)}",
        traceback=format_exception(error),
    )
