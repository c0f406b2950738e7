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
    pair = _idx_pair(folder, test=False)
    own_test = any(_is_test(path) for path in folder.iterdir())
    x, y = read_idx(pair[0]), read_idx(pair[1])
    return from_arrays(str(folder), x, y, files_fingerprint(pair), own_test=own_test)


def load_test(path: Path) -> tuple[Array, Array, str]:
    """The test part that the source itself brings: features shaped like the training rows', class numbers as there, and
    a fingerprint.

    Raises:
        InvalidOrderError: unreadable, of another shape, or with classes that no training row has.
    """
    if path.is_dir():
        (x, y), (x_train, y_train) = (map(read_idx, _idx_pair(path, test=part)) for part in (True, False))
        fingerprint = files_fingerprint(_idx_pair(path, test=True))
    else:
        with np.load(path, allow_pickle=False) as stored:
            x, y, x_train, y_train = (stored[name] for name in ("x_test", "y_test", "x_train", "y_train"))
        fingerprint = files_fingerprint([path])
    found = from_arrays(str(path), x, y, fingerprint, own_test=False).x
    trained_on = from_arrays(str(path), x_train[:2], y_train[:2], fingerprint, own_test=True).x
    if found.shape[1:] != trained_on.shape[1:]:
        raise InvalidOrderError(
            f"test rows must be shaped like training rows, {trained_on.shape[1:]}, but those of {path} are "
            f"{found.shape[1:]}; save them again"
        )
    return found, _numbered(y.reshape(-1), np.unique(y_train), path), fingerprint


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


def _numbered(labels: Array, names: Array, path: Path) -> Array:
    """Labels as places in the sorted `names`."""
    numbers = np.minimum(np.searchsorted(names, labels), len(names) - 1)
    strange = names[numbers] != labels
    if strange.any():
        raise InvalidOrderError(
            f"every class of a test row must be one of the {len(names)} that training rows have, but {path} has "
            f"{labels[strange][0]!r}; remove such rows"
        )
    return numbers.astype(np.int64)


def _idx_pair(folder: Path, *, test: bool) -> list[Path]:
    pair = []
    for part in ("images", "labels"):
        found = _idx_files(folder, part, test=test)
        if len(found) != 1:
            kind, start = ("test", "t10k") if test else ("training", "train")
            raise InvalidOrderError(
                f"an IDX folder must hold one {kind} file named *{part}*, but {folder} holds {len(found)}; "
                f"name them like {start}-images-idx3-ubyte and {start}-labels-idx1-ubyte"
            )
        pair.append(found[0])
    return pair


def _idx_files(folder: Path, part: str, *, test: bool = False) -> list[Path]:
    files = (p for p in folder.iterdir() if part in p.name and p.is_file() and "idx" in p.name)
    return sorted(p for p in files if _is_test(p) is test)


def _is_test(path: Path) -> bool:
    return "t10k" in path.name or "test" in path.name
