"""Array files: IDX (plain or .gz) in a folder, and NPZ."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from workers.data.raw import Array, RawArrays, class_numbers, files_fingerprint
from workers.errors import InvalidOrderError

_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> Array:
    """One IDX file: two zero bytes, a type byte, the number of dimensions, their sizes, the values (big-endian).

    Raises:
        InvalidOrderError: the file is not IDX, or shorter than its header says.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidOrderError(f"an IDX file must be readable, but {path} is not: {error}; fetch it again") from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _IDX_TYPES:
        raise InvalidOrderError(f"{path} must be an IDX file, but its first bytes are {data[:4]!r}; fetch it again")
    dimensions = data[3]
    start = 4 + 4 * dimensions
    shape = tuple(int.from_bytes(data[i : i + 4], "big") for i in range(4, start, 4))
    dtype = np.dtype(_IDX_TYPES[data[2]])
    needed = start + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if len(data) != needed:
        raise InvalidOrderError(f"{path} must hold {needed} bytes for shape {shape}, not {len(data)}; fetch it again")
    return np.frombuffer(data, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def has_idx(folder: Path) -> bool:
    """True if the folder holds IDX files by the usual names."""
    return bool(_idx_files(folder, "images"))


def load_idx(folder: Path) -> RawArrays:
    """A folder with `*images*` and `*labels*` IDX files; those whose names hold `t10k` or `test` stay unread.

    Raises:
        InvalidOrderError: not exactly one pair of training files, or lengths that differ.
    """
    pair = []
    for part in ("images", "labels"):
        found = _idx_files(folder, part)
        if len(found) != 1:
            raise InvalidOrderError(
                f"an IDX folder must hold one training file named *{part}*, but {folder} holds {len(found)}; "
                "name them like train-images-idx3-ubyte and train-labels-idx1-ubyte"
            )
        pair.append(found[0])
    own_test = any(_is_test(path) for path in folder.iterdir())
    x, y = read_idx(pair[0]), read_idx(pair[1])
    return from_arrays(str(folder), x, y, files_fingerprint(pair), own_test=own_test)


def load_npz(path: Path) -> RawArrays:
    """An NPZ file with x_train and y_train (x_test and y_test stay unread), or x and y.

    Raises:
        InvalidOrderError: other names, pickled objects, lengths that differ.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            names = set(stored.files)
            first = "_train" if {"x_train", "y_train"} <= names else ""
            if not {f"x{first}", f"y{first}"} <= names:
                raise InvalidOrderError(
                    f"an NPZ file must hold x_train and y_train, or x and y, but {path} holds {sorted(names)}; "
                    "rename them"
                )
            x, y = stored[f"x{first}"], stored[f"y{first}"]
    except (OSError, ValueError) as error:
        raise InvalidOrderError(f"{path} must be an NPZ file of plain arrays, but: {error}; save it again") from error
    own_test = {"x_test", "y_test"} <= names
    return from_arrays(str(path), x, y, files_fingerprint([path]), own_test=own_test)


def from_arrays(name: str, x: Array, y: Array, fingerprint: str, *, own_test: bool) -> RawArrays:
    """Images as [rows, height, width], [rows, height, width, 1 or 3 or 4] or [rows, channels, height, width]."""
    y = y.reshape(-1)
    if len(x) != len(y) or len(x) == 0:
        raise InvalidOrderError(f"features and labels must have equal lengths above 0, but got {len(x)} and {len(y)}")
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[-1] in (1, 3, 4) and x.shape[1] not in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    elif x.ndim not in (2, 4):
        raise InvalidOrderError(f"features must have 2, 3 or 4 dimensions, but {name} has shape {x.shape}")
    numbers, classes = class_numbers(y)
    return RawArrays(
        name=name,
        x=np.ascontiguousarray(x, dtype=np.float32),
        y=numbers,
        classes=classes,
        fingerprint=fingerprint,
        own_test=own_test,
    )


def _idx_files(folder: Path, part: str) -> list[Path]:
    return sorted(p for p in folder.iterdir() if part in p.name and p.is_file() and "idx" in p.name and not _is_test(p))


def _is_test(path: Path) -> bool:
    return "t10k" in path.name or "test" in path.name
