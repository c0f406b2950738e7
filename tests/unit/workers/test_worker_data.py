"""Reading, splitting and preparing data."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces import catalog
from workers.data import TaskData, load_task
from workers.data.splits import sequence, split
from workers.errors import InvalidOrderError


def images(data: object, **params: Any) -> TaskData:
    full = catalog.complete("image_classifier", {"data": str(data), **params})
    return load_task(full, device="cpu", as_images=True)


def table(data: object, **params: Any) -> TaskData:
    full = catalog.complete("tabular", {"data": str(data), **params})
    return load_task(full, device="cpu", as_images=False)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(20, 300),
    classes=st.integers(0, 5),
    seed=st.integers(0, 1000),
    folds=st.integers(1, 5),
    test=st.floats(0, 0.3),
)
def test_splits_are_disjoint_and_repeat(rows: int, classes: int, seed: int, folds: int, test: float) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, classes, rows) if classes else rng.normal(size=rows)
    options: dict[str, Any] = {
        "classes": classes,
        "split_seed": seed,
        "val_fraction": 0.2,
        "test_fraction": test,
        "folds": folds,
    }
    pairs = split(y, **options)
    again = split(y, **options)
    kept = rows - round(rows * test)
    for (train, val), (train2, val2) in zip(pairs, again, strict=True):
        assert not set(train) & set(val)
        assert len(train) + len(val) == kept
        assert (train == train2).all()
        assert (val == val2).all()
    if folds > 1:
        assert len(set(np.concatenate([val for _, val in pairs]))) == kept


def test_any_stretch_of_the_sequence_is_stratified() -> None:
    y = np.repeat([0, 1, 2], [600, 300, 100])
    rows = sequence(y, classes=3, split_seed=1)
    assert sorted(rows) == list(range(1000))
    for start in range(0, 1000, 100):
        counts = np.bincount(y[rows[start : start + 100]], minlength=3)
        assert abs(counts - [60, 30, 10]).max() <= 2


def test_splits_hang_on_the_split_seed_only() -> None:
    base, again, other = images("digits"), images("digits", lr=0.5), images("digits", split_seed=1)
    assert base.folds[0].x_val is again.folds[0].x_val
    assert not torch.equal(base.folds[0].x_val, other.folds[0].x_val)


def test_digits_are_standardised_images_without_their_test_rows() -> None:
    data = images("digits")
    fold = data.folds[0]
    assert fold.x_train.shape[1:] == (1, 8, 8)
    assert fold.x_train.dtype == torch.float32
    assert fold.x_train.mean().item() == pytest.approx(0, abs=1e-4)
    assert len(fold.x_train) + len(fold.x_val) == 1797 - round(1797 * 0.15)
    assert (data.classes, len(data.identity["sha256"])) == (10, 64)


def _write_idx(path: Path, array: np.ndarray[Any, Any], code: int = 8) -> None:
    header = bytes([0, 0, code, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    data = header + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_folder(tmp_path: Path, suffix: str) -> None:
    x = np.random.default_rng(0).integers(0, 255, (60, 5, 6), dtype=np.uint8)
    y = np.arange(60, dtype=np.uint8) % 3
    _write_idx(tmp_path / f"train-images-idx3-ubyte{suffix}", x)
    _write_idx(tmp_path / f"train-labels-idx1-ubyte{suffix}", y)
    _write_idx(tmp_path / f"t10k-images-idx3-ubyte{suffix}", x[:5])
    data = images(tmp_path)
    fold = data.folds[0]
    assert (tuple(fold.x_train.shape), len(fold.x_val), data.classes) == ((48, 1, 5, 6), 12, 3)


def test_damaged_idx_is_refused(tmp_path: Path) -> None:
    _write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((4, 2, 2), np.uint8))
    _write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(4, np.uint8))
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InvalidOrderError, match="must hold 32 bytes"):
        images(tmp_path)


@pytest.mark.parametrize("names", [("x", "y"), ("x_train", "y_train")])
def test_npz(tmp_path: Path, names: tuple[str, str]) -> None:
    x = np.random.default_rng(0).random((50, 4, 4, 3))
    arrays = {names[0]: x, names[1]: np.array(["a", "b"] * 25)}
    if names[0] == "x_train":
        arrays |= {"x_test": x[:2], "y_test": np.array(["a", "b"])}
    np.savez(tmp_path / "d.npz", allow_pickle=False, **arrays)
    data = images(tmp_path / "d.npz")
    fold = data.folds[0]
    assert fold.x_train.shape[1:] == (3, 4, 4)
    assert data.classes == 2
    kept = 50 if names[0] == "x_train" else 50 - round(50 * 0.15)
    assert len(fold.x_train) + len(fold.x_val) == kept


def test_npz_of_other_names_or_with_pickles_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=np.zeros((3, 2, 2)))
    with pytest.raises(InvalidOrderError, match="x_train and y_train"):
        images(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.array([{}, {}]), y=np.zeros(2))
    with pytest.raises(InvalidOrderError, match="plain arrays"):
        images(tmp_path / "b.npz")


def test_image_folder_needs_pillow_or_reads(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image") if _has_pillow() else None
    for name, shade in (("cats", 10), ("dogs", 200)):
        (tmp_path / name).mkdir()
        for i in range(10):
            if pillow is not None:
                pillow.new("RGB", (9, 7), (shade, i, 0)).save(tmp_path / name / f"{i}.png")
    if pillow is None:
        with pytest.raises(InvalidOrderError, match="install pillow"):
            images(tmp_path)
        return
    data = images(tmp_path, image_size=8)
    assert data.folds[0].x_train.shape[1:] == (3, 8, 8)
    assert data.classes == 2


def _has_pillow() -> bool:
    import importlib.util

    return importlib.util.find_spec("PIL") is not None


CSV = "colour,size,weight,price\n" + "\n".join(
    f"{'red' if i % 3 else 'blue'},{i if i % 5 else ''},{i * 0.5},{'cheap' if i < 30 else 'dear'}" for i in range(60)
)


def test_csv_columns_become_features(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(CSV)
    data = table(path, target="price", test_fraction=0.0)
    fold = data.folds[0]
    assert data.classes == 2
    assert fold.x_train.shape[1] == 4  # blue, red, size, weight
    assert set(fold.x_train[:, :2].unique().tolist()) == {0.0, 1.0}
    assert (fold.x_train[:, :2].sum(1) == 1).all()
    assert fold.x_train[:, 2:].mean(0).abs().max().item() < 1e-5
    assert torch.allclose(fold.x_train[:, 2:].std(0, correction=0), torch.ones(2), atol=1e-5)
    assert bool(torch.isfinite(fold.x_val).all())


def test_csv_levels_unseen_in_training_are_zero(tmp_path: Path) -> None:
    from workers.data.raw import RawTable
    from workers.data.tables import features

    raw = RawTable(name="t", columns={"c": np.array(["a", "b", "", "new"])}, y=np.zeros(4), classes=0, fingerprint="")
    made = features(raw, np.array([0, 1, 2]))
    assert made.tolist() == [[1, 0], [0, 1], [1, 0], [0, 0]]


def test_statistics_come_from_the_training_rows_alone(tmp_path: Path) -> None:
    from workers.data.raw import RawTable
    from workers.data.tables import features

    column = np.array([0.0, 2.0, np.nan, 1000.0])
    raw = RawTable(name="t", columns={"c": column}, y=np.zeros(4), classes=0, fingerprint="")
    made = features(raw, np.array([0, 1, 2]))
    assert made[2, 0] == 0.0
    assert made[3, 0] > 1000


def test_csv_regression_and_task(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(CSV)
    assert table(path, target="weight").classes == 0
    assert table(path, target="colour").classes == 2
    with pytest.raises(InvalidOrderError, match="must be numeric"):
        table(path, target="colour", task="regression")
    with pytest.raises(InvalidOrderError, match="did you mean 'price'"):
        table(path, target="prise")
    with pytest.raises(InvalidOrderError, match="row 2 has none"):
        table(path, target="size")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a,b\n1,2\n", "at least two rows"),
        ("a,a\n1,2\n3,4\n", "different names"),
        ("a,b\n1,2\n3\n", "row 3"),
    ],
)
def test_malformed_csv_is_refused(tmp_path: Path, text: str, hint: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(InvalidOrderError, match=hint):
        table(path)


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=np.zeros((20, 4, 4)), y=np.arange(20) % 2)
    first = images(path).identity["sha256"]
    np.savez(path, x=np.ones((24, 4, 4)), y=np.arange(24) % 2)
    assert images(path).identity["sha256"] != first


def test_missing_data_is_refused() -> None:
    with pytest.raises(InvalidOrderError, match="there is nothing at"):
        images("/no/such/thing")
