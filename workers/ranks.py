"""What a worker and the processes of one trial say to each other: length-prefixed pickles over two pipes.

Both ends are ours and of one trust: whatever a trial's code may do, it may do in any of its processes. Nothing here
starts a process (`distributed` does) or trains (`rank` does).
"""

from __future__ import annotations

import os
import pickle
import struct
import threading
from dataclasses import dataclass
from typing import Any

from workers.contract import CancelMode, CheckpointRef, Message, WorkOrder
from workers.trial import Ending

_LENGTH = struct.Struct(">Q")


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a rank is to do. `order` names at most one checkpoint: the one that every rank goes on from."""

    order: WorkOrder
    rank: int
    world_size: int
    device: str
    cpu: float  # its share
    path: tuple[str, ...]  # sys.path as the worker has it
    started: float  # the attempt's beginning, by the machine's monotonic clock


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What rank 0's report led to: every other rank's report at this step leads to the same."""

    step: int
    resource: float
    ending: Ending | None
    raised: bool  # the attempt ended in the report itself; else, where `ending` is set, at the next save
    should_save: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Cancel:
    """The attempt is to end at its next report."""

    mode: CancelMode


@dataclass(frozen=True, kw_only=True, slots=True)
class Over:
    """Rank 0 is through: nobody reports any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A rank is through. `decided`: by a report or save; else it returned, or failed on its own. `at` is the machine's
    monotonic clock: what failed first is to blame for what failed after it."""

    ending: Ending
    decided: bool
    traceback: str
    resource: float
    checkpoint: CheckpointRef | None
    peak_memory_bytes: int | None
    gpu_peak_memory_bytes: int | None
    at: float


ToRank = Job | Decision | Cancel | Over
FromRank = Message | Decision | Done


class Pipe:
    """One end of the pair of pipes between a worker and a rank; both directions may be used at the same time."""

    def __init__(self, *, read: int, write: int) -> None:
        self._read = os.fdopen(read, "rb")
        self._write = write
        self._lock = threading.Lock()

    def send(self, value: Any) -> bool:
        """Whether it was sent: False once the other end is gone."""
        data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
        view = memoryview(_LENGTH.pack(len(data)) + data)
        try:
            with self._lock:
                while view:
                    view = view[os.write(self._write, view) :]
        except OSError:
            return False
        return True

    def receive(self) -> Any:
        """The next value; None once the other end is gone."""
        try:
            head = self._read.read(_LENGTH.size)
            if len(head) < _LENGTH.size:
                return None
            length = _LENGTH.unpack(head)[0]
            data = self._read.read(length)
        except (OSError, ValueError):  # closed on this side
            return None
        return pickle.loads(data) if len(data) == length else None

    def close_write(self) -> None:
        """The other end sees the end of what is sent."""
        with self._lock:
            if self._write >= 0:
                os.close(self._write)
                self._write = -1

    def close_read(self) -> None:
        """Once nobody waits in `receive`."""
        self._read.close()
