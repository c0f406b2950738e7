"""Predictions that workers left are read as plain arrays, checked, and never more than there is room for."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hpo_service import storage
from hpo_service.api import predictions

RIGHT = np.arange(20) % 3
GOOD: dict[str, Any] = {
    "kind": "classes",
    "val": np.full((20, 3), 1 / 3, dtype=np.float32),
    "val_right": RIGHT,
    "test": np.full((20, 3), 1 / 3, dtype=np.float32),
    "test_right": RIGHT,
}


def _write(root: Path, trial: int, fence: int = 1, **changes: Any) -> Path:
    path = root / "checkpoints" / "s" / str(trial) / f"{fence}-predictions.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{**GOOD, **changes})
    return path


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in ("kind", "val", "val_right", "test", "test_right"):
            packed.writestr(f"{name}.npy", b"\0" * (20 << 20))


def _liar(path: Path) -> None:
    """A header that promises far more numbers than follow."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 45, 3)})
    with zipfile.ZipFile(path, "w") as packed:
        for name in ("kind", "val", "val_right", "test", "test_right"):
            packed.writestr(f"{name}.npy", header.getvalue())


def test_the_newest_attempts_file_counts(tmp_path: Path) -> None:
    _write(tmp_path, 0, fence=2, val=np.full((20, 3), 0.2, dtype=np.float32))
    _write(tmp_path, 0, fence=10)
    _write(tmp_path, 3)
    found = predictions.library(tmp_path, "s", [3, 0, 7])
    assert found is not None
    assert [model.trial for model in found.models] == [3, 0]
    assert found.models[1].val[0, 0] == pytest.approx(1 / 3)
    assert storage.predictions_of(tmp_path, "s") == [
        f"checkpoints/s/{name}-predictions.npz" for name in ("0/2", "0/10", "3/1")
    ]
    assert predictions.library(tmp_path, "other", [0]) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"val": np.array([{"a": 1}], dtype=object)},
        {"val": np.full((20, 3), np.nan, dtype=np.float32)},
        {"val": np.full((19, 3), 0.3, dtype=np.float32)},
        {"val_right": RIGHT + 5},
        {"val_right": RIGHT.astype(np.float32)},
        {"kind": "values"},
        {"val": np.zeros((0, 3), dtype=np.float32), "val_right": RIGHT[:0]},
        {"more": np.zeros(3)},
    ],
    ids=["pickle", "nan", "rows", "classes", "floats", "kind", "empty", "more"],
)
def test_what_does_not_fit_is_left_out(tmp_path: Path, changes: dict[str, Any]) -> None:
    _write(tmp_path, 0)
    _write(tmp_path, 1, **changes)
    found = predictions.library(tmp_path, "s", [1, 0])
    assert found is not None
    assert [model.trial for model in found.models] == [0]


@pytest.mark.parametrize("damage", [_bomb, _liar, lambda path: path.write_bytes(b"PK\x03\x04 no more")])
def test_a_damaged_or_malicious_file_is_left_out(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    damage(_write(tmp_path, 0))
    assert predictions.library(tmp_path, "s", [0]) is None


def test_models_of_other_rows_and_beyond_the_room_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for trial in range(3):
        _write(tmp_path, trial)
    _write(tmp_path, 3, val_right=RIGHT[::-1].copy())
    found = predictions.library(tmp_path, "s", [0, 1, 2, 3])
    assert found is not None
    assert (len(found.models), found.left_out) == (3, 1)
    monkeypatch.setattr(predictions, "MOST_VALUES", 250)
    found = predictions.library(tmp_path, "s", [0, 1, 2])
    assert found is not None
    assert (len(found.models), found.left_out) == (2, 1)
