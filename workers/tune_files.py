"""Files of a Ray Tune trainable: the attempt's own folder, and checkpoint directories as one archive and back.

Not here: when a checkpoint is made, and what the trainable does with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workers.errors import CheckpointError

_FORMAT = "ray_tune/1"
_PREFIX = "hpo-tune-"
_STAY_VARIABLE = "RAY_CHDIR_TO_TRIAL_DIR"  # Ray's own: 0 leaves the working directory alone


@contextmanager
def attempt_folder() -> Iterator[Path]:
    """A fresh folder for one attempt, which is the working directory meanwhile as with Ray Tune; removed after it, or,
    where its worker was killed, by the next attempt on this machine."""
    before = os.getcwd()
    _remove_abandoned()
    folder, held = _made()
    os.environ.setdefault("TUNE_ORIG_WORKING_DIR", before)
    if os.environ.get(_STAY_VARIABLE, "1") != "0":
        os.chdir(folder)
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(held)


def _made() -> tuple[Path, int]:
    """A new folder that is locked as long as this process lives; it has its name only when it is locked."""
    new = Path(tempfile.mkdtemp(prefix=f".new-{_PREFIX}"))
    held = os.open(new, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    folder = new.with_name(new.name.removeprefix(".new-"))
    new.rename(folder)
    return folder, held


def _remove_abandoned() -> None:
    """Remove folders that nobody locks: their workers were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # somebody else's, or in use, or just removed
            held = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)


def packed(directory: Path, **facts: Any) -> dict[str, Any]:
    """The state of a checkpoint: the directory's files as the bytes of a tar archive, beside plain `facts`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        archive.add(directory, arcname=".")
    return {"format": _FORMAT, "archive": buffer.getvalue(), **facts}


def unpacked(state: Any, directory: Path) -> Mapping[str, Any]:
    """Put the files of a checkpoint's state into `directory`, which is made; returns the state.

    Raises:
        CheckpointError: the state was written by something else.
    """
    if not isinstance(state, Mapping) or state.get("format") != _FORMAT:
        raise CheckpointError(
            f"the checkpoint of a Ray Tune trainable must hold an archive ({_FORMAT}), but got {type(state).__name__}; "
            "a trial cannot go on under another kind of trainer: start it anew"
        )
    directory.mkdir(parents=True)
    with tarfile.open(fileobj=io.BytesIO(state["archive"])) as archive:
        archive.extractall(directory, filter="data")
    return state
