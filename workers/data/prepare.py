"""From the parameters of a recipe to tensors on the training device, cached per process by content."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workers.data import arrays, bundled, images, tables
from workers.data.raw import Array, Raw, RawArrays, RawTable, existing
from workers.data.splits import rows_held_back, split
from workers.errors import InvalidOrderError

_CACHED = 4


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Training and validation rows on the device. `x` is float32; `y` is int64 classes or float32 targets. Test rows
    only where they were asked for and there are any."""

    x_train: torch.Tensor
    y_train: torch.Tensor
    x_val: torch.Tensor
    y_val: torch.Tensor
    x_test: torch.Tensor | None = None
    y_test: torch.Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class TaskData:
    """Everything a loop trains on: the folds (one without cross-validation), and what names the data.

    Regression targets are standardised by training statistics; `target_scale` turns errors back into their unit, and
    with `target_mean` (left out: 0) predictions.
    """

    folds: tuple[Fold, ...]
    classes: int
    target_scale: tuple[float, ...]
    identity: Mapping[str, Any]
    target_mean: tuple[float, ...] = ()

    @property
    def regression(self) -> bool:
        """True for real targets."""
        return self.classes == 0


class _Cache:
    """The few newest values by key."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: OrderedDict[Any, Any] = OrderedDict()

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._held:
            self._held[key] = make()
            while len(self._held) > self._size:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return self._held[key]


_raw_cache = _Cache(_CACHED)
_task_cache = _Cache(_CACHED)


def load_task(params: Mapping[str, Any], *, device: str, as_images: bool, test: bool = False) -> TaskData:
    """The data that `params` name, split and prepared; with `test`, the rows that no search sees too.

    Raises:
        InvalidOrderError: unreadable, missing or unfit data.
    """
    raw: Raw = _raw_cache.get(_source_key(params, as_images=as_images), lambda: _read(params, as_images=as_images))
    keys = ("split_seed", "val_fraction", "test_fraction", "folds")
    key = (raw.fingerprint, as_images, device, test, *(params[name] for name in keys))
    found: TaskData = _task_cache.get(key, lambda: _prepare(raw, params, device=device, test=test))
    return found


def _source_key(params: Mapping[str, Any], *, as_images: bool) -> tuple[Any, ...]:
    """What the raw data hang on: parameters, and the times and sizes of the files."""
    name = str(params["data"])
    options = tuple(params.get(option) for option in ("target", "task", "image_size", "image_channels"))
    if name in bundled.NAMES:
        return (name, as_images)
    path = existing(name)
    inside = sorted(path.rglob("*")) if path.is_dir() else [path]
    return (name, as_images, *options, *((str(p), p.stat().st_mtime_ns, p.stat().st_size) for p in inside))


def _read(params: Mapping[str, Any], *, as_images: bool) -> Raw:
    name = str(params["data"])
    if name in bundled.NAMES:
        return bundled.load(name, as_images=as_images)
    path = existing(name)
    raw = _read_images(path, params) if as_images else _read_table(path, params)
    if as_images and isinstance(raw, RawArrays) and raw.x.ndim != 4:
        raise InvalidOrderError(
            f"image_classifier needs images of 3 or 4 dimensions, but {name} has shape {raw.x.shape}; use tabular"
        )
    return raw


def _read_images(path: Path, params: Mapping[str, Any]) -> Raw:
    if path.is_file() and path.suffix == ".npz":
        return arrays.load_npz(path)
    if path.is_dir() and arrays.has_idx(path):
        return arrays.load_idx(path)
    if path.is_dir():
        return images.load_folder(path, size=int(params["image_size"]), channels=int(params["image_channels"]))
    raise InvalidOrderError(
        f"images must be an .npz file, a folder of IDX files or a folder of classes, but got {str(path)!r}"
    )


def _read_table(path: Path, params: Mapping[str, Any]) -> Raw:
    if path.is_file() and path.suffix == ".csv":
        return tables.load_csv(path, target=params.get("target"), task=str(params["task"]))
    raise InvalidOrderError(f"a table must be a .csv file, but got {str(path)!r}; convert it")


@dataclass(frozen=True, kw_only=True)
class _Test:
    """The test part: rows of the raw data, or a part of their own that the source brings."""

    rows: Array | None = None
    x: Array | None = None
    y: Array | None = None
    count: int = 0
    fingerprint: str = ""

    @property
    def identity(self) -> dict[str, Any]:
        named = {"test_sha256": self.fingerprint} if self.fingerprint else {}
        return {"test_rows": self.count, **named} if self.count else {}


def _prepare(raw: Raw, params: Mapping[str, Any], *, device: str, test: bool) -> TaskData:
    fraction = 0.0 if raw.own_test else float(params["test_fraction"])
    pairs = split(
        raw.y,
        classes=raw.classes,
        split_seed=int(params["split_seed"]),
        val_fraction=float(params["val_fraction"]),
        test_fraction=fraction,
        folds=int(params["folds"]),
    )
    held = _test_part(raw, params, fraction) if test else _Test()
    made = [_fold(raw, train, val, held, device=device) for train, val in pairs]
    return TaskData(
        folds=tuple(fold for fold, _, _ in made),
        classes=raw.classes,
        target_scale=tuple(scale for _, _, scale in made),
        target_mean=tuple(mean for _, mean, _ in made),
        identity={
            "name": raw.name,
            "sha256": raw.fingerprint,
            "rows": len(raw.y),
            "train_rows": len(pairs[0][0]),
            "val_rows": len(pairs[0][1]),
            "split_seed": int(params["split_seed"]),
            "folds": len(pairs),
            **held.identity,
        },
    )


def _test_part(raw: Raw, params: Mapping[str, Any], fraction: float) -> _Test:
    if raw.own_test:
        x, y, fingerprint = arrays.load_test(existing(str(params["data"])))
        return _Test(x=x, y=y, count=len(y), fingerprint=fingerprint)
    rows = rows_held_back(raw.y, classes=raw.classes, split_seed=int(params["split_seed"]), test_fraction=fraction)
    return _Test(rows=rows, count=len(rows)) if len(rows) else _Test()


def _fold(raw: Raw, train: Array, val: Array, held: _Test, *, device: str) -> tuple[Fold, float, float]:
    """The fold, and the mean and scale of its targets."""
    x = tables.features(raw, train) if isinstance(raw, RawTable) else _standardised(raw.x, raw.x, train)
    y, mean, scale = raw.y, 0.0, 1.0
    if raw.classes == 0:
        mean, scale = float(y[train].mean()), float(y[train].std()) or 1.0
        y = ((y - mean) / scale).astype(np.float32)
    parts = {"train": (x[train], y[train]), "val": (x[val], y[val])}
    if held.rows is not None:
        parts["test"] = (x[held.rows], y[held.rows])
    elif held.x is not None and held.y is not None and isinstance(raw, RawArrays):
        parts["test"] = (_standardised(held.x, raw.x, train), held.y)
    tensors = {}
    for name, (features, targets) in parts.items():
        tensors[f"x_{name}"] = torch.from_numpy(np.ascontiguousarray(features)).to(device)
        tensors[f"y_{name}"] = torch.from_numpy(np.ascontiguousarray(targets)).to(device)
    return Fold(**tensors), mean, scale


def _standardised(x: Array, known: Array, train: Array) -> Array:
    """Images by one mean and spread per channel, plain features by one per feature; of the training rows of `known`."""
    axes = (0, 2, 3) if x.ndim == 4 else (0,)
    mean = known[train].mean(axis=axes, keepdims=True, dtype=np.float64)
    spread = known[train].std(axis=axes, keepdims=True, dtype=np.float64)
    scaled: Array = ((x - mean) / np.where(spread > 0, spread, 1.0)).astype(np.float32)
    return scaled
