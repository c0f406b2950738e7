"""Temporary folders that outlive nobody: one whose process was killed is removed by the next process that makes one.

A folder is locked as long as its process lives. Not here: what lies in them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def temporary(prefix: str) -> Iterator[Path]:
    """A fresh folder whose name begins with `prefix`, removed when the block ends. Those of the same prefix that
    killed processes of this machine have left behind go first."""
    _remove_abandoned(prefix)
    folder, held = _made(prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _made(prefix: str) -> tuple[Path, int]:
    """A new folder that is locked as long as this process lives; it has its name only when it is locked."""
    new = Path(tempfile.mkdtemp(prefix=f".new-{prefix}"))
    held = os.open(new, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    folder = new.with_name(new.name.removeprefix(".new-"))
    new.rename(folder)
    return folder, held


def _remove_abandoned(prefix: str) -> None:
    """Remove folders that nobody locks: their processes were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # somebody else's, or in use, or just removed
            held = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)
