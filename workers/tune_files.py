"""Files of a Ray Tune trainable: the attempt's own folder, and checkpoint directories as one archive and back.

Not here: when a checkpoint is made, and what the trainable does with it.
"""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workers import folders
from workers.errors import CheckpointError

_FORMAT = "ray_tune/1"
_PREFIX = "hpo-tune-"
_STAY_VARIABLE = "RAY_CHDIR_TO_TRIAL_DIR"  # Ray's own: 0 leaves the working directory alone


@contextmanager
def attempt_folder() -> Iterator[Path]:
    """A fresh folder for one attempt, which is the working directory meanwhile as with Ray Tune; removed after it, or,
    where its worker was killed, by the next attempt on this machine."""
    before = os.getcwd()
    with folders.temporary(_PREFIX) as folder:
        os.environ.setdefault("TUNE_ORIG_WORKING_DIR", before)
        if os.environ.get(_STAY_VARIABLE, "1") != "0":
            os.chdir(folder)
        try:
            yield folder
        finally:
            with contextlib.suppress(OSError):
                os.chdir(before)


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
