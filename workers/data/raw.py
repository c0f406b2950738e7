"""The two shapes of raw data: arrays (images or plain features) and tables with named columns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workers.errors import InvalidOrderError

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class RawArrays:
    """Rows of features: `x` is [rows, channels, height, width] for images, [rows, features] otherwise.

    `y` holds class numbers (int64, `classes` of them) or real targets (float32, `classes` = 0). `own_test` says
    that the source came with a test part of its own, which is not in here.
    """

    name: str
    x: Array
    y: Array
    classes: int
    fingerprint: str
    own_test: bool = False


@dataclass(frozen=True, kw_only=True)
class RawTable:
    """Rows of a CSV file: each column is float64 with NaN for missing (numeric) or str with "" (categorical)."""

    name: str
    columns: dict[str, Array]
    y: Array
    classes: int
    fingerprint: str
    own_test: bool = False


Raw = RawArrays | RawTable


def rows(raw: Raw) -> int:
    """Number of rows."""
    return len(raw.y)


def class_numbers(labels: Array) -> tuple[Array, int]:
    """Labels of any kind as 0 … classes-1 in sorted order, and the number of classes."""
    names, numbers = np.unique(labels, return_inverse=True)
    return numbers.reshape(-1).astype(np.int64), len(names)


def array_fingerprint(*arrays: Array) -> str:
    """SHA-256 over types, shapes and contents."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def files_fingerprint(files: Iterable[Path]) -> str:
    """SHA-256 over names and contents, in the given order."""
    sha = hashlib.sha256()
    for path in files:
        sha.update(path.name.encode() + b"\0")
        with path.open("rb") as handle:
            sha.update(hashlib.file_digest(handle, "sha256").digest())
    return sha.hexdigest()


def existing(path: str) -> Path:
    """The path, if something is there.

    Raises:
        InvalidOrderError: nothing is there (the server cannot see it, so this is where it is found out).
    """
    found = Path(path).expanduser()
    if not found.exists():
        raise InvalidOrderError(
            f"data must be a known set or a path that every worker can read, but there is nothing at {path!r}; "
            "correct the path, or mount it on the workers"
        )
    return found
