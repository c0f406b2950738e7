"""One process of a trial that several train together under torch.distributed: rank 0 … N-1, each a child of the worker.

Rank 0 is the trial: its reports, checkpoints and artifacts count. The others see the same `Trial`, whose reports wait
for what rank 0's led to, so that all of them end at the same step and none waits in a collective for one that is gone.
A rank never outlives its worker: the kernel ends it with its parent (Linux), and the end of its pipe everywhere.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from workers import endings, isolation, memory, own_code, trainables
from workers.contract import CancelMode, Outcome
from workers.errors import AttemptEnd, InvalidOrderError, ReportError
from workers.ranks import Cancel, Decision, Done, Job, Over, Pipe
from workers.trial import Ending, Resumed, Trial

_PDEATHSIG = 1


class RankTrial(Trial):
    """The trial as one of its ranks sees it."""

    def __init__(self, job: Job, *, control: Control, send: Callable[[Any], Any], resumed: Resumed | None) -> None:
        super().__init__(
            job.order,
            emit=send,
            cancelled=control.cancelled,
            log=_print,
            device=job.device,
            resumed=resumed,
            started=job.started,
        )
        self._job = job
        self._control = control
        self._send = send
        self._agreed_save = False

    @property
    def rank(self) -> int:
        return self._job.rank

    @property
    def world_size(self) -> int:
        return self._job.world_size

    @property
    def should_save(self) -> bool:
        """The same on every rank: as it was on rank 0 after the last report, whoever has saved since."""
        return self._agreed_save

    def record(
        self,
        step: int,
        metrics: Mapping[str, Any],
        *,
        resource: float | None = None,
        state: Callable[[], Any] | None = None,
    ) -> None:
        if self._job.rank:
            self._follow(step)
            return
        if self.ending is not None:
            raise AttemptEnd
        try:
            super().record(step, metrics, resource=resource, state=state)
        except AttemptEnd:
            self._tell(raised=True)
            raise
        self._tell(raised=False)

    def _tell(self, *, raised: bool) -> None:
        if self._step is None:  # a checkpoint that could not be stored before the first report
            return
        self._agreed_save = super().should_save
        decision = Decision(
            step=self._step,
            resource=self._resource,
            ending=self.ending,
            raised=raised,
            should_save=self._agreed_save,
        )
        self._send(decision)

    def _follow(self, step: int) -> None:
        """Another rank's report: wait for rank 0's, and do as it does."""
        if self.ending is not None:
            raise AttemptEnd
        decision = self._control.next_decision()
        if decision is None:
            raise AttemptEnd
        if decision.step != step:
            raise ReportError(
                f"all ranks must report the same steps, but rank {self._job.rank} reported {step} where rank 0 "
                f"reported {decision.step}; report on every rank in the same loop, or on rank 0 alone"
            )
        self._step, self._resource = decision.step, decision.resource
        self._agreed_save, self.ending = decision.should_save, decision.ending
        if decision.raised:
            raise AttemptEnd

    def save_checkpoint(self, state: Any) -> None:
        if self._job.rank:
            if self.ending is not None:
                raise AttemptEnd
            return
        try:
            super().save_checkpoint(state)
        except AttemptEnd:
            self._tell(raised=True)
            raise

    def artifact(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        if self._job.rank == 0:
            super().artifact(path, name)


class Control:
    """What the worker tells this rank, taken in on a thread of its own; the end of its pipe ends the process."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._mode: CancelMode | None = None
        self._decisions: queue.SimpleQueue[Decision | Over] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="rank-control", daemon=True).start()

    def cancelled(self) -> CancelMode | None:
        return self._mode

    def next_decision(self) -> Decision | None:
        """Waits for it; None when there will be none."""
        found = self._decisions.get()
        return found if isinstance(found, Decision) else None

    def _listen(self) -> None:
        while (said := self._pipe.receive()) is not None:
            if isinstance(said, Cancel):
                self._mode = said.mode
            else:
                self._decisions.put(said)
        os.killpg(0, signal.SIGKILL)  # the worker is gone, or wants no more of us: with all that we started


def main() -> None:
    """The entry point: `read write parent` on the command line are the pipes' ends and the worker's process."""
    read, write, parent = map(int, sys.argv[1:4])
    _die_with(parent)
    pipe = Pipe(read=read, write=write)
    job = pipe.receive()
    if not isinstance(job, Job):
        os._exit(1)
    _print_soon()
    with contextlib.suppress(ModuleNotFoundError):
        import torch.distributed  # noqa: F401 - before the user's folders join sys.path
    sys.argv[:] = [""]
    sys.path[:] = job.path
    if job.order.trainer.bundle:
        own_code.join(os.getcwd(), job.order.trainer.bundle)
    control = Control(pipe)
    done = _Run(job, control, pipe.send).run()
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    pipe.send(done)
    os._exit(0)  # threads and communicators of a library may wait for ever for ranks that are gone


class _Run:
    def __init__(self, job: Job, control: Control, send: Callable[[Any], Any]) -> None:
        self._job, self._control, self._send = job, control, send
        self._usage = memory.Usage(job.device)
        self._trial: RankTrial | None = None

    def run(self) -> Done:
        error: BaseException | None = None
        try:
            self._train()
        except BaseException as raised:
            error = raised
        at = time.monotonic()
        ending, traceback = self._concluded(error)
        decided = self._trial is not None and self._trial.ending is not None
        checkpoint, ending = endings.last_checkpoint(self._trial if self._job.rank == 0 else None, ending)
        return Done(
            ending=ending,
            decided=decided,
            traceback=traceback,
            resource=self._trial.resource if self._trial else 0.0,
            checkpoint=checkpoint,
            peak_memory_bytes=self._usage.peak_bytes(),
            gpu_peak_memory_bytes=self._usage.gpu_peak_bytes(),
            at=at,
        )

    def _train(self) -> None:
        job = self._job
        if job.device != "cpu":
            import torch

            torch.cuda.set_device(job.device)
        _join(job.device)
        prepared = trainables.resolve(job.order).prepare(job.order, device=job.device)
        resumed = endings.newest_readable(job.order, weights_only=prepared.weights_only, log=_print)
        with isolation.computing(cpu=job.cpu, deterministic=job.order.deterministic):
            self._trial = RankTrial(job, control=self._control, send=self._send, resumed=resumed)
            prepared.run(self._trial)

    def _concluded(self, error: BaseException | None) -> tuple[Ending, str]:
        if self._job.rank and (error is None or (isinstance(error, AttemptEnd) and self._trial is not None)):
            return Ending(outcome=Outcome.COMPLETED), ""
        return endings.conclude(self._job.order, self._trial, error, log=_print)


def _join(device: str) -> None:
    """Make the default process group, so that code may use it at once: gloo for tensors on the CPU, nccl for those on a
    GPU. Code that makes one itself, as for torchrun, gets this one: gloo does not bear a second one right after the
    first, for a slow rank still connects when a quick one has closed."""
    import torch.distributed as dist

    make, backends = dist.init_process_group, {"gloo", None, "undefined"}
    if device != "cpu" and dist.is_nccl_available():
        backends |= {"nccl", "cpu:gloo,cuda:nccl"}
    make("cpu:gloo,cuda:nccl" if "nccl" in backends else "gloo", init_method="env://")

    def make_own(backend: str | None = None, *args: Any, **named: Any) -> None:
        if not dist.is_initialized():  # they have closed it
            os.environ["TORCHELASTIC_RESTART_COUNT"] += "0"  # a part of the store that nobody has written in
            make(backend, *args, **named)
        elif backend not in backends:
            raise InvalidOrderError(
                f"the processes of a trial talk by {' or '.join(sorted(filter(None, backends)))}, but got {backend!r}; "
                "leave out init_process_group, which is done already"
            )

    dist.init_process_group = make_own


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(1)


def _print_soon() -> None:
    """Lines go out as they end; logging goes with them; what a crash has to say comes out, too."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="replace")  # type: ignore[union-attr]  # they are text files here
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    faulthandler.enable()


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
