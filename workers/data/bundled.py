"""The small sets that come with scikit-learn: digits, iris, wine, breast_cancer, diabetes."""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from workers.data.raw import Array, RawArrays, array_fingerprint
from workers.errors import InvalidOrderError

CLASSIFICATION = ("digits", "iris", "wine", "breast_cancer")
NAMES = (*CLASSIFICATION, "diabetes")


def load(name: str, *, as_images: bool) -> RawArrays:
    """A set by name; `as_images` gives digits as [rows, 1, 8, 8].

    Raises:
        InvalidOrderError: scikit-learn is not installed.
    """
    if importlib.util.find_spec("sklearn") is None:
        raise InvalidOrderError(f"data {name!r} comes with scikit-learn, which is not installed; install scikit-learn")
    x, y = _digits() if name == "digits" else _from_sklearn(name)
    x = x.astype(np.float32)
    if as_images and name == "digits":
        x = x.reshape(-1, 1, 8, 8)
    regression = name not in CLASSIFICATION
    return RawArrays(
        name=name,
        x=x,
        y=y.astype(np.float32 if regression else np.int64),
        classes=0 if regression else int(y.max()) + 1,
        fingerprint=array_fingerprint(x.reshape(len(x), -1), y.astype(np.float64)),
    )


def _digits() -> tuple[Array, Array]:
    """Read the file itself where it lies as expected: importing sklearn.datasets takes seconds."""
    spec = importlib.util.find_spec("sklearn")
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz" if spec and spec.origin else None
    if path is None or not path.exists():
        return _from_sklearn("digits")
    with gzip.open(path, "rt") as handle:
        table = np.loadtxt(handle, delimiter=",")
    return table[:, :-1], table[:, -1]


def _from_sklearn(name: str) -> tuple[Array, Array]:
    from sklearn import datasets  # lazy: slow to import, and only needed for these sets

    loaded = getattr(datasets, f"load_{name}")()
    return np.asarray(loaded.data), np.asarray(loaded.target)
