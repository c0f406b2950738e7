"""The predictions that a confirmation's workers left in the storage, read as plain arrays and checked; never unpickled.

What ensembles are made of them: `core.ensemble`. Who writes them: `workers.predictions`.
"""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpo_service import storage
from hpo_service.core.ensemble import Array, Kind, Model, Right

logger = logging.getLogger(__name__)
MOST_BYTES = 64 << 20
"""Of one file."""
MOST_VALUES = 50_000_000
"""Predicted numbers of all models together; 200 MB."""
_NAMES = frozenset({"kind.npy", "val.npy", "val_right.npy", "test.npy", "test_right.npy"})


@dataclass(frozen=True, kw_only=True)
class Library:
    """Models that predict the same rows. `left_out` counts those that there was no room for."""

    right: Right
    models: tuple[Model, ...]
    left_out: int


def library(root: Path, study_id: str, order: Sequence[int]) -> Library | None:
    """The models of these trials, the first ones first; None where none of them left predictions. A file that is
    damaged, or of other rows than the first one's, is left out."""
    paths = {storage.trial_of(path): path for path in storage.predictions_of(root, study_id)}
    right: Right | None = None
    models: list[Model] = []
    size = left_out = 0
    for trial in order:
        arrays = _read(storage.confined(root, paths[trial])) if trial in paths else None
        if arrays is None:
            continue
        mine = Right(kind=_kind(arrays), val=arrays["val_right"], test=arrays["test_right"])
        right = right or mine
        size += arrays["val"].size + arrays["test"].size
        if size > MOST_VALUES or not _same(right, mine):
            left_out += 1
            continue
        models.append(Model(trial=trial, val=arrays["val"], test=arrays["test"]))
    return None if right is None or not models else Library(right=right, models=tuple(models), left_out=left_out)


def _read(path: Path) -> Mapping[str, Array] | None:
    try:
        with zipfile.ZipFile(path) as packed:
            inside = packed.infolist()
            if {one.filename for one in inside} != _NAMES or sum(one.file_size for one in inside) > MOST_BYTES:
                raise ValueError("these are not predictions, or too many")
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        _check(arrays)
    except (OSError, EOFError, MemoryError, ValueError, KeyError, zipfile.BadZipFile) as error:
        logger.warning("the predictions %s were left out: %s", path, error)
        return None
    return arrays


def _kind(arrays: Mapping[str, Array]) -> Kind:
    return "classes" if str(arrays["kind"]) == "classes" else "values"


def _check(arrays: Mapping[str, Array]) -> None:
    """Raises ValueError for shapes and numbers that do not fit together."""
    classes = _kind(arrays) == "classes"
    for part in ("val", "test"):
        predicted, right = arrays[part], arrays[f"{part}_right"]
        fits = predicted.ndim == (2 if classes else 1) and right.ndim == 1 and len(predicted) == len(right)
        numbers = predicted.dtype.kind == "f" and right.dtype.kind == ("i" if classes else "f")
        if not (fits and numbers and np.isfinite(predicted).all()):
            raise ValueError(f"{part} has shapes {predicted.shape} and {right.shape} of {right.dtype}")
        if classes and len(right) and not 0 <= right.min() <= right.max() < predicted.shape[1]:
            raise ValueError(f"{part} names classes that are not predicted")
    if not len(arrays["val"]):
        raise ValueError("there are no validation rows")


def _same(one: Right, other: Right) -> bool:
    alike = one.kind == other.kind and np.array_equal(one.val, other.val)
    return alike and np.array_equal(one.test, other.test)
