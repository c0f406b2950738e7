"""Chosen columns of chosen trials: what parallel coordinates, slices, contours and scatter plots are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpo_service.core.definition import StudyDefinition
from hpo_service.views.columns import KINDS, ORIGINS, STATES, Bools, Floats, Ints, StudyColumns, numeral
from hpo_service.views.sampling import choose

DEFAULT_PARAMS = 20
"""So many parameters are sent where none are named."""
CELLS = 40_000
"""Values of all columns together: what keeps the answer under 500 KB."""
FIELDS = (
    "number", "state", "origin", "bracket", "rung", "resource", "value", "seconds", "cost", "started_at", "ended_at",
)  # fmt: skip
_WORDS = {"state": STATES, "origin": ORIGINS}
_NULLABLE = frozenset({"bracket", "rung"})


def default_fields(definition: StudyDefinition) -> list[str]:
    """The parameters, the first objective's value and the other objectives' metrics."""
    others = [f"metric.{o.metric}" for o in definition.objectives[1:]]
    return [*(f"param.{name}" for name in list(definition.space)[:DEFAULT_PARAMS]), "value", *others]


def sample(columns: StudyColumns, fields: Sequence[str], mask: Bools, limit: int) -> Mapping[str, Any]:
    """`fields` are those of filters (`value`, `param.lr`, `metric.loss`). Columns are named by their last part, or as
    the fields are where two have the same. Of many fields fewer trials are shown: `CELLS` in all."""
    numbers, chosen = choose(columns, mask, max(1, min(limit, CELLS // max(len(fields), 1))))
    described, found = [], {}
    last = [field.partition(".")[2] or field for field in fields]
    for field, name in zip(fields, last, strict=True):
        about, column = _column(columns, field, name, numbers)
        clear = name if last.count(name) == 1 else field
        described.append({**about, "name": clear})
        found[clear] = column
    kinds = columns.kind[numbers]
    return {
        "fields": described,
        "number": numbers,
        "state": [STATES[code] for code in columns.state[numbers]],
        "columns": found,
        "matches": mask[numbers].astype(np.int8),
        "matching": int(np.count_nonzero(mask)),
        "not_finite": {"value": int(np.count_nonzero(kinds > KINDS.index("finite")))},
        "shown": int(numbers.size),
        "of": columns.n,
        "chosen": chosen,
    }


def _column(columns: StudyColumns, field: str, name: str, numbers: Ints) -> tuple[dict[str, Any], Any]:
    if field in _WORDS:
        codes = getattr(columns, field)[numbers]
        return _about(name, "field", labels=list(_WORDS[field])), codes
    if field in FIELDS:
        column = getattr(columns, field)[numbers].astype(np.float64)
        if field in _NULLABLE:
            column[column < 0] = np.nan
        return _about(name, "field", column=column), column
    if field.startswith("metric."):
        metric = columns.metrics.get(name)
        column = np.full(numbers.size, np.nan) if metric is None else metric[numbers]
        return _about(name, "metric", column=column), column
    return _param(columns, name, numbers)


def _param(columns: StudyColumns, name: str, numbers: Ints) -> tuple[dict[str, Any], Any]:
    parameter = columns.definition.search_space.parameters.get(name)
    log = parameter is not None and parameter.logarithmic
    held = columns.params.get(name)
    if held is None:
        return _about(name, "param", column=np.full(numbers.size, np.nan), log=log), np.full(numbers.size, np.nan)
    if not held.categorical:
        column = held.numbers[numbers]
        return _about(name, "param", column=column, log=log), column
    labels = list(held.labels)
    codes = held.codes[numbers].astype(np.float64)
    for value in np.unique(held.numbers[numbers][~np.isnan(held.numbers[numbers])]):  # numbers among the texts
        codes[held.numbers[numbers] == value] = len(labels)
        labels.append(numeral(value))
    codes[codes < 0] = np.nan
    return _about(name, "param", labels=labels), codes


def _about(
    name: str, kind: str, *, column: Floats | None = None, labels: list[str] | None = None, log: bool = False
) -> dict[str, Any]:
    if labels is not None:
        return {"name": name, "kind": kind, "type": "category", "log": False, "labels": labels}
    finite = column[~np.isnan(column)] if column is not None else np.zeros(0)
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
    return {"name": name, "kind": kind, "type": "number", "log": log, "low": low, "high": high}
