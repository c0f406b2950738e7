"""One server per SQLite file: a lock that the kernel lets go of when its process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from hpo_service.errors import Conflict


class ServerLock:
    """The held lock; `release` it, or leave the `with` block. A child process does not inherit it."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor: int | None = descriptor
        self.path = path

    def release(self) -> None:
        """Let the lock go; again is fine."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_sqlite(path: str | Path) -> ServerLock:
    """Take the server's lock of the SQLite file `path` (kept in `path` + ".lock").

    Raises Conflict with the holder's process id when another server has it. The lock file stays: removing it would let
    two servers lock two files of one name.
    """
    target = Path(f"{path}.lock")
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise Conflict(
            f"one server may use a database file, but {path} is in use by process {holder}",
            remedy="stop that server, or give this one another HPO_DATA",
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    os.fsync(descriptor)
    return ServerLock(descriptor, target)
