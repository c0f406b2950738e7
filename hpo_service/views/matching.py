"""Which trials a filter selects, over columns: the same answer as the store's pages give, held equal by a test.

The grammar is `api.filters`, the meaning on tables `store.trial_pages`. Tags are no columns: the caller looks them up.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from hpo_service.store.reading import Filter
from hpo_service.store.trial_pages import words_of
from hpo_service.views.columns import ORIGINS, STATES, Bools, StudyColumns

Tagged = Callable[[str], Collection[int]]
"""The numbers of the trials that carry a tag."""
_ORDER: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WORDS = {"state": STATES, "origin": ORIGINS}
_NULLABLE = frozenset({"bracket", "rung"})
_FEASIBLE: Mapping[str, Callable[[npt.NDArray[np.float64]], Any]] = {
    "yes": lambda violation: violation == 0,
    "no": lambda violation: violation > 0,
    "unknown": np.isnan,
}


def matches(columns: StudyColumns, filters: Sequence[Filter], tagged: Tagged) -> Bools:
    """bool[n]: whether each trial meets every filter."""
    found = np.ones(columns.n, dtype=np.bool_)
    for one in filters:
        found &= _one(columns, one, tagged)
    return found


def _one(columns: StudyColumns, f: Filter, tagged: Tagged) -> Bools:
    if f.field == "tag":
        return _tags(columns, f, tagged)
    if f.field in _WORDS:
        return _words(getattr(columns, f.field), _WORDS[f.field], f)
    if f.field == "feasible":
        found = np.zeros(columns.n, dtype=np.bool_)
        for word in words_of(f):
            found |= _FEASIBLE[word](columns.violation)
        return found
    prefix, _, name = f.field.partition(".")
    if prefix == "param" and name:
        return _param(columns, name, f)
    if prefix == "metric" and name:
        column = columns.metrics.get(name)
        return _numbers(np.full(columns.n, np.nan) if column is None else column, f)
    numbers = getattr(columns, f.field).astype(np.float64)
    if f.field in _NULLABLE:
        numbers[numbers < 0] = np.nan
    return _numbers(numbers, f)


def _numbers(column: npt.NDArray[np.float64], f: Filter) -> Bools:
    """What is missing or not finite meets no condition, `!=` neither: as NULL does in SQL."""
    there = ~np.isnan(column)
    wanted = [float(v) for v in _values(f) if isinstance(v, int | float) and not isinstance(v, bool)]
    if f.op in _ORDER:
        with np.errstate(invalid="ignore"):
            return there & np.asarray(_ORDER[f.op](column, wanted[0]), dtype=np.bool_)
    equal = np.isin(column, wanted)
    return there & (~equal if f.op == "!=" else equal)


def _param(columns: StudyColumns, name: str, f: Filter) -> Bools:
    column = columns.params.get(name)
    if column is None:
        return np.zeros(columns.n, dtype=np.bool_)
    first = _values(f)[0] if _values(f) else ""
    if isinstance(first, int | float) and not isinstance(first, bool):
        return _numbers(column.numbers, f)
    texts = [v if isinstance(v, str) else orjson.dumps(v).decode() for v in _values(f)]
    codes = [code for code, label in enumerate(column.labels) if label in texts]
    equal = np.isin(column.codes, codes)
    return (column.codes >= 0) & ~equal if f.op == "!=" else equal


def _words(column: npt.NDArray[np.int8], words: Sequence[str], f: Filter) -> Bools:
    equal: Bools = np.isin(column, [words.index(str(v)) for v in _values(f) if v in words])
    return ~equal if f.op == "!=" else equal


def _tags(columns: StudyColumns, f: Filter, tagged: Tagged) -> Bools:
    found = np.zeros(columns.n, dtype=np.bool_)
    for tag in _values(f):
        numbers = [number for number in tagged(str(tag)) if number < columns.n]
        found[numbers] = True
    return ~found if f.op == "!=" else found


def _values(f: Filter) -> Sequence[Any]:
    return f.value if f.op == "in" else (f.value,)
