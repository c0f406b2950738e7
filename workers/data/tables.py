"""CSV files with a target column, and how their columns become features.

Statistics (means, most frequent levels, levels) come from the training rows alone.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from workers.data.raw import Array, RawTable, class_numbers, files_fingerprint
from workers.errors import InvalidOrderError, nearest

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})
_MOST_LEVELS = 1000
_MOST_CLASSES_BY_GUESS = 20


def load_csv(path: Path, *, target: str | None, task: str) -> RawTable:
    """A CSV file with a header; `task` is auto, classification or regression.

    With `auto` a target of words, or of at most 20 different whole numbers, is classification.

    Raises:
        InvalidOrderError: no such column, no rows, ragged rows, a missing or unfit target value.
    """
    header, body = _read(path)
    target = header[-1] if target is None else target
    if target not in header:
        raise InvalidOrderError(
            f"the target must be a column of {path.name}, but there is no {target!r}"
            + (nearest(target, header) or f"; its columns are {', '.join(header[:20])}")
        )
    table = np.array(body, dtype=np.str_)
    columns = {name: _column(name, table[:, i]) for i, name in enumerate(header) if name != target}
    y, classes = _target(table[:, header.index(target)], target=target, task=task)
    fingerprint = f"{files_fingerprint([path])}-{target}-{classes}"
    return RawTable(name=str(path), columns=columns, y=y, classes=classes, fingerprint=fingerprint)


def features(table: RawTable, train: Array) -> Array:
    """[rows, features] as float32: numeric columns imputed by their training mean and standardised, categorical
    ones imputed by their most frequent training level and one-hot over the training levels (others: all zero)."""
    parts = []
    for column in table.columns.values():
        parts.append(_numeric(column, train) if column.dtype.kind == "f" else _one_hot(column, train))
    return np.concatenate(parts, axis=1, dtype=np.float32)


def _numeric(column: Array, train: Array) -> Array:
    seen = column[train]
    present = seen[~np.isnan(seen)]
    mean = present.mean() if len(present) else 0.0
    filled = np.where(np.isnan(column), mean, column)
    spread = filled[train].std()
    scaled: Array = (filled - mean) / (spread if spread > 0 else 1.0)
    return scaled[:, None]


def _one_hot(column: Array, train: Array) -> Array:
    seen = column[train]
    levels, counts = np.unique(seen[seen != ""], return_counts=True)
    if len(levels) == 0:
        return np.zeros((len(column), 1))
    filled = np.where(column == "", levels[counts.argmax()], column)
    hot: Array = filled[:, None] == levels[None, :]
    return hot.astype(np.float64)


def _read(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            lines = [line for line in csv.reader(handle) if line]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidOrderError(
            f"a CSV file must be readable as UTF-8, but {path} is not: {error}; convert it"
        ) from error
    if len(lines) < 3:
        raise InvalidOrderError(
            f"a CSV file must have a header and at least two rows, but {path} has {len(lines)} lines"
        )
    header, body = [name.strip() for name in lines[0]], lines[1:]
    if len(set(header)) != len(header) or len(header) < 2:
        raise InvalidOrderError(f"a CSV header must hold at least two different names, but {path} has {header[:20]}")
    for number, line in enumerate(body, start=2):
        if len(line) != len(header):
            raise InvalidOrderError(
                f"every CSV row must have {len(header)} values, but row {number} of {path} has {len(line)}; correct it"
            )
    return header, body


def _clean(values: Array) -> Array:
    stripped = np.char.strip(values)
    return np.where(np.isin(np.char.lower(stripped), list(MISSING)), "", stripped)


def _as_numbers(values: Array) -> Array | None:
    try:
        numbers = np.array([float(v) if v else np.nan for v in values], dtype=np.float64)
    except ValueError:
        return None
    return numbers if not np.isinf(numbers).any() else None


def _column(name: str, values: Array) -> Array:
    cleaned = _clean(values)
    numbers = _as_numbers(cleaned)
    if numbers is not None:
        return numbers
    levels = len(np.unique(cleaned))
    if levels > _MOST_LEVELS:
        raise InvalidOrderError(
            f"a categorical column may have {_MOST_LEVELS} levels, but {name!r} has {levels}; "
            "drop it or group its levels"
        )
    return cleaned


def _target(values: Array, *, target: str, task: str) -> tuple[Array, int]:
    cleaned = _clean(values)
    if (cleaned == "").any():
        row = int(np.flatnonzero(cleaned == "")[0]) + 2
        raise InvalidOrderError(
            f"the target {target!r} must be known in every row, but row {row} has none; remove the row"
        )
    numbers = _as_numbers(cleaned)
    if task == "auto":
        whole = numbers is not None and bool((numbers == np.round(numbers)).all())
        few = len(np.unique(cleaned)) <= _MOST_CLASSES_BY_GUESS
        task = "classification" if numbers is None or (whole and few) else "regression"
    if task == "classification":
        return class_numbers(numbers if numbers is not None else cleaned)
    if numbers is None:
        raise InvalidOrderError(f"a regression target must be numeric, but {target!r} is not; use task: classification")
    return numbers.astype(np.float32), 0
