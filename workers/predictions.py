"""What a confirmation's trained models predict, stored beside their checkpoints: what ensembles are made of.

Plain arrays in an uncompressed .npz file, one per attempt; nothing in it is ever unpickled. Who reads them back:
`hpo_service.predictions`. Not here: how a model predicts (`workers.loops`).
"""

from __future__ import annotations

import contextlib
import os
import uuid
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workers.checkpoints import folder
from workers.contract import AttemptKey
from workers.errors import StorageError

SUFFIX = "-predictions.npz"
MOST_VALUES = 4_000_000
"""Predicted numbers of one trial, validation and test rows together: 16 MB."""
Array = npt.NDArray[np.float32]


class TooManyError(Exception):
    """More predictions than are kept."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Of one trained model: probabilities [rows, classes] (`kind` classes) or values in the target's unit [rows]
    (`kind` values), and what is right: class numbers or values, [rows]. Without test rows the last two are empty."""

    kind: str
    val: Array
    val_right: npt.NDArray[np.generic]
    test: Array
    test_right: npt.NDArray[np.generic]


def save(root: str, key: AttemptKey, found: Predictions) -> None:
    """Write them aside, sync, and give them their name; an earlier file of the same attempt is replaced.

    Raises:
        TooManyError: they are more than `MOST_VALUES`.
        StorageError: the disk refused.
    """
    size = found.val.size + found.test.size
    if size > MOST_VALUES:
        raise TooManyError(
            f"predictions of up to {MOST_VALUES:,} numbers are kept for ensembles, but this model predicts {size:,}; "
            "it is left out of them"
        )
    directory = folder(root, key)
    final = directory / f"{key.fence}{SUFFIX}"
    temporary = directory / f".{key.fence}-{uuid.uuid4().hex}.part"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as raw:
            np.savez(
                raw,
                kind=np.array(found.kind),
                val=found.val,
                val_right=found.val_right,
                test=found.test,
                test_right=found.test_right,
            )
            raw.flush()
            os.fsync(raw.fileno())
        temporary.replace(final)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StorageError(
            f"storage must be writable by every worker, but {final} could not be written: {error}; "
            "point HPO_STORAGE at a folder that every node can write"
        ) from error
