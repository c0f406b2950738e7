"""A trial that several processes train together: the worker starts its ranks, hands on what rank 0 says, and ends them.

All ranks are children of the worker, rank 0 too. So a rank that dies, hangs in a collective or takes its CUDA context
down never takes the worker along, and the others are ended at once instead of waiting for a time-out. See
docs/decisions/0010-ranks-are-children.md.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from workers import own_code
from workers.contract import CancelMode, CheckpointRef, Message, Outcome, Reported, Saved, WorkOrder
from workers.errors import InvalidOrderError
from workers.ranks import Cancel, Decision, Done, Job, Over, Pipe
from workers.trial import Ending

POLL_S = 0.1
BLAME_S = 1.0
"""After the first failure: how long others are waited for that may have failed before it."""
LEAVE_S = 10.0
"""How long ranks may go on when rank 0 is through, or rank 0 when its end was decided."""
_ROOT = str(Path(__file__).resolve().parents[1])
_START = "import sys; sys.path.insert(0, {root!r}); import search_spaces; from workers.rank import main; main()"
_LONGEST_LINE = 8192


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupEnd:
    """How the ranks' attempt ended."""

    ending: Ending
    traceback: str = ""
    resource: float = 0.0
    checkpoint: CheckpointRef | None = None
    peak_memory_bytes: int | None = None
    gpu_peak_memory_bytes: int | None = None


class Ranks:
    """The processes of one attempt; `run` may be called once. What they print goes to `log`, line by line."""

    def __init__(
        self,
        order: WorkOrder,
        *,
        emit: Callable[[Message], None],
        cancelled: Callable[[], CancelMode | None],
        log: Callable[[str], None],
        device: str,
        cpu: float,
        started: float,
    ) -> None:
        self._order = order
        self._emit = emit
        self._cancelled = cancelled
        self._log = log
        self._device = device
        self._cpu = cpu
        self._started = started
        self._said: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self._ranks: list[_Rank] = []
        self._mode: CancelMode | None = None
        self._done: dict[int, Done] = {}
        self._dead: dict[int, int] = {}
        self._resource = 0.0
        self._checkpoint: CheckpointRef | None = None
        self._decided: Ending | None = None
        self._until: float | None = None

    def run(self) -> GroupEnd:
        """Train to the end; every process is gone when this returns.

        Raises:
            InvalidOrderError: torch is missing, or the GPUs cannot be divided.
        """
        store = _open_store()
        try:
            self._start(store.port)
            self._attend()
        finally:
            for rank in self._ranks:
                rank.kill()
            for rank in self._ranks:
                rank.close()
            del store
        return self._end()

    # While they train

    def _start(self, port: int) -> None:
        count = self._order.processes
        for number, device in enumerate(devices(self._device, count)):
            job = Job(
                order=self._order,
                rank=number,
                world_size=count,
                device=device,
                cpu=self._cpu / count,
                path=tuple(sys.path),
                started=self._started,
            )
            environment = {**os.environ, **own_code.before(), **_environment(number, count, port, cpu=self._cpu)}
            self._ranks.append(_Rank(job, environment, said=self._said, log=self._log))

    def _attend(self) -> None:
        while not self._over():
            with contextlib.suppress(queue.Empty):
                self._hear(*self._said.get(timeout=POLL_S))
            self._pass_on_cancel()

    def _over(self) -> bool:
        if len(self._done) + len(self._dead) == len(self._ranks) and self._said.empty():
            return True
        return self._until is not None and time.monotonic() >= self._until

    def _hear(self, rank: int, said: Any) -> None:
        if said is None:
            if rank not in self._done:
                self._dead[rank] = self._ranks[rank].status()
                self._hurry(BLAME_S)
        elif isinstance(said, Decision):
            for other in self._ranks[1:]:
                other.send(said)
            if said.raised:
                self._decided = said.ending
                self._hurry(LEAVE_S)
        elif isinstance(said, Done):
            self._done[rank] = said
            if _failed(said):
                self._hurry(BLAME_S)
            elif rank == 0:
                for other in self._ranks[1:]:
                    other.send(Over())
                self._hurry(LEAVE_S)
        else:
            self._note(said)
            self._emit(said)

    def _note(self, message: Message) -> None:
        if isinstance(message, Reported):
            self._resource = message.resource
        elif isinstance(message, Saved):
            self._checkpoint = message.checkpoint

    def _hurry(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self._until = until if self._until is None else min(self._until, until)

    def _pass_on_cancel(self) -> None:
        mode = self._cancelled()
        if mode is not None and mode is not self._mode:
            self._mode = mode
            self._ranks[0].send(Cancel(mode=mode))

    # What it came to

    def _end(self) -> GroupEnd:
        first = self._done.get(0)
        ending, traceback = self._judged(first)
        return GroupEnd(
            ending=ending,
            traceback=traceback,
            resource=first.resource if first is not None else self._resource,
            checkpoint=(first.checkpoint if first is not None else None) or self._checkpoint,
            peak_memory_bytes=_sum(done.peak_memory_bytes for done in self._done.values()),
            gpu_peak_memory_bytes=_sum(done.gpu_peak_memory_bytes for done in self._done.values()),
        )

    def _judged(self, first: Done | None) -> tuple[Ending, str]:
        if first is not None and first.decided:
            return first.ending, first.traceback
        if self._decided is not None:  # rank 0 did not come back from its last report
            return self._decided, ""
        if self._dead:
            number, status = min(self._dead.items())
            others = f"; so were ranks {sorted(set(self._dead) - {number})}" if len(self._dead) > 1 else ""
            reason = f"rank {number} of {len(self._ranks)} {_words(status)}{others}; see the end of what it printed"
            return Ending(outcome=Outcome.LOST, reason=reason), ""
        failures = {number: done for number, done in self._done.items() if _failed(done)}
        if failures:
            number = min(failures, key=lambda one: failures[one].at)
            done = failures[number]
            reason = f"rank {number} of {len(self._ranks)}: {done.ending.reason}"
            return Ending(outcome=Outcome.FAILED, failure=done.ending.failure, reason=reason), done.traceback
        assert first is not None
        return first.ending, first.traceback


class _Rank:
    """A child process, and the threads that listen to it."""

    def __init__(
        self,
        job: Job,
        environment: dict[str, str],
        *,
        said: queue.SimpleQueue[tuple[int, Any]],
        log: Callable[[str], None],
    ) -> None:
        self._number = job.rank
        self._said = said
        self._killed = False
        ours, theirs = os.pipe(), os.pipe()  # to the rank, from the rank
        try:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-c", _START.format(root=_ROOT)),
                    *map(str, (ours[0], theirs[1], os.getpid())),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment,
                pass_fds=(ours[0], theirs[1]),
                start_new_session=True,
            )
        finally:
            os.close(ours[0])
            os.close(theirs[1])
        self._pipe = Pipe(read=theirs[0], write=ours[1])
        assert self._process.stdout is not None
        printed = threading.Thread(target=_hand_on, args=(self._process.stdout, f"[rank {job.rank}] ", log))
        self._threads = [printed, threading.Thread(target=self._listen)]
        for thread in self._threads:
            thread.daemon = True
            thread.start()
        self._pipe.send(job)

    def send(self, value: Any) -> None:
        self._pipe.send(value)

    def status(self) -> int:
        """The exit status of a rank whose pipe has ended; negative: the signal that ended it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=BLAME_S)
        self.kill()
        self._killed = True  # its number may be another process's by the time of a second look
        return self._process.wait()

    def kill(self) -> None:
        """End it and all that it started."""
        if not self._killed:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Wait for its end, and for the last of what it printed; a process that slipped out of its group may keep that
        open, and is not waited for."""
        self._process.wait()
        self._pipe.close_write()
        for thread in self._threads:
            thread.join(timeout=BLAME_S)
        if not self._threads[1].is_alive():
            self._pipe.close_read()

    def _listen(self) -> None:
        while (said := self._pipe.receive()) is not None:
            self._said.put((self._number, said))
        self._said.put((self._number, None))


def devices(device: str, count: int) -> list[str]:
    """The device of each rank: the CPU for all, or an equal part of the worker's GPUs, by its first one.

    Raises:
        InvalidOrderError: they cannot be divided.
    """
    if device == "cpu":
        return ["cpu"] * count
    import torch

    gpus = torch.cuda.device_count()
    if gpus < count or gpus % count:
        raise InvalidOrderError(
            f"the GPUs of a trial must be divided equally among its processes, but {count} processes have {gpus}; "
            "set resources.gpu to a multiple of resources.processes"
        )
    return [f"cuda:{number * (gpus // count)}" for number in range(count)]


def _open_store() -> Any:
    """Where the ranks find each other: on loopback, on a port that is taken here and given to nobody else."""
    try:
        import torch.distributed  # lazy: functions may do without torch
    except ModuleNotFoundError as error:
        raise InvalidOrderError(
            "resources.processes above 1 needs torch on the workers; pip install 'hpo-service[worker]', or set it to 1"
        ) from error
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    port = listener.getsockname()[1]
    make: Any = torch.distributed
    return make.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())


def _environment(rank: int, count: int, port: int, *, cpu: float) -> dict[str, str]:
    """What torchrun would set, and what keeps ranks on one machine off its network."""
    names = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": count,
        "LOCAL_WORLD_SIZE": count,
        "GROUP_RANK": 0,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "TORCHELASTIC_USE_AGENT_STORE": True,  # the store stands here: ranks only join it
        "TORCHELASTIC_RESTART_COUNT": 0,
        "OMP_NUM_THREADS": max(1, int(cpu / count)),
    }
    found = {name: str(value) for name, value in names.items()}
    if "GLOO_SOCKET_IFNAME" not in os.environ and sys.platform == "linux":
        found["GLOO_SOCKET_IFNAME"] = "lo"
    return found


def _hand_on(stream: IO[bytes], prefix: str, log: Callable[[str], None]) -> None:
    """What a rank prints, C code included, line by line; until it and all that it started have closed it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest = ""
    while piece := os.read(stream.fileno(), 1 << 16):
        lines = (rest + decoder.decode(piece)).split("\n")
        rest = lines.pop()
        if len(rest) > _LONGEST_LINE:
            lines.append(rest)
            rest = ""
        if lines:
            log("".join(f"{prefix}{line}\n" for line in lines))
    if rest:
        log(f"{prefix}{rest}\n")
    stream.close()


def _failed(done: Done) -> bool:
    return not done.decided and done.ending.outcome is Outcome.FAILED


def _words(status: int) -> str:
    if status >= 0:
        return f"left with exit status {status} without a word"
    with contextlib.suppress(ValueError):
        name = signal.Signals(-status).name
        why = ", as it is when memory runs out" if name == "SIGKILL" else ""
        return f"was ended by {name}{why}"
    return f"was ended by signal {-status}"


def _sum(amounts: Any) -> int | None:
    known: Sequence[int] = [amount for amount in amounts if amount is not None]
    return sum(known) if known else None
