"""How the objective's values are spread: the empirical distribution of all trials, and of groups of them. Pure.

Every trial with a value that ranks counts with the value it has: in a study with rungs, that is its value at the rung
where it stands, so group by rung or state to compare like with like.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from hpo_service.views.columns import KINDS, ORIGINS, STATES, Bools, Floats, StudyColumns, numeral

POINTS = 200
MAX_GROUPS = 12
PARTS = 4
"""A number with more values than there may be groups is cut into so many parts of equal size."""
_WORDS = {"state": STATES, "origin": ORIGINS}
_NULLABLE = frozenset({"bracket", "rung"})


def distribution(columns: StudyColumns, mask: Bools, by: str | None) -> dict[str, Any]:
    """All trials, those that meet the filter where one selects, and the groups by a field, parameter or metric as
    filters call it. A group's points are quantiles: `share` of its trials have at most that `value`."""
    value, ranks = columns.value, columns.ranks
    groups = [_group("all", value[ranks])]
    selects = not bool(mask.all())
    if selects:
        groups.append(_group("matching", value[ranks & mask]))
    if by is not None:
        groups += [_group(name, value[ranks & which]) for name, which in _groups(columns, by)]
    return {
        "metric": columns.definition.objective.metric,
        "direction": columns.definition.objective.direction,
        "by": by,
        "groups": [group for group in groups if group["n"] or group["name"] == "all"],
        "matching": int(np.count_nonzero(mask)),
        "not_finite": int(np.count_nonzero(columns.kind > KINDS.index("finite"))),
        "of": columns.n,
    }


def quantiles(values: Floats) -> tuple[Floats, Floats]:
    """At most `POINTS` of the sorted values, first and last among them, and the share of values up to each."""
    ordered = np.sort(values)
    n = ordered.size
    picked = np.arange(n) if n <= POINTS else np.unique(np.round(np.linspace(0, n - 1, POINTS)).astype(np.int64))
    return ordered[picked], (picked + 1) / max(n, 1)


def _group(name: str, values: Floats) -> dict[str, Any]:
    points, share = quantiles(values)
    return {
        "name": name,
        "value": points,
        "share": share,
        "n": int(values.size),
        "mean": float(values.mean()) if values.size else None,
    }


def _groups(columns: StudyColumns, by: str) -> Iterator[tuple[str, Bools]]:
    if by in _WORDS:
        codes = getattr(columns, by)
        yield from ((word, codes == code) for code, word in enumerate(_WORDS[by]))
        return
    name = by.partition(".")[2]
    if by.startswith("param."):
        column = columns.params.get(name)
        if column is None:
            return
        if column.categorical:
            yield from _by_label(column.codes, column.labels)
        yield from _by_number(column.numbers, "", room=MAX_GROUPS)
        return
    if by.startswith("metric."):
        numbers = columns.metrics.get(name, np.full(columns.n, np.nan))
    else:
        numbers = getattr(columns, by).astype(np.float64)
    if by in _NULLABLE:
        numbers[numbers < 0] = np.nan
    yield from _by_number(numbers, f"{by} " if by in _NULLABLE else "", room=MAX_GROUPS)


def _by_label(codes: Any, labels: list[str]) -> Iterator[tuple[str, Bools]]:
    """The labels with the most trials, in their order; the others together."""
    counts = np.bincount(codes[codes >= 0], minlength=len(labels))
    kept = np.sort(np.argsort(-counts, kind="stable")[:MAX_GROUPS])
    yield from ((labels[code], codes == code) for code in kept.tolist())
    if len(labels) > MAX_GROUPS:
        yield "other", (codes >= 0) & ~np.isin(codes, kept)


def _by_number(numbers: Floats, prefix: str, *, room: int) -> Iterator[tuple[str, Bools]]:
    """Each number, where they are few; else parts of about equal size, each up to and with its upper end."""
    there = ~np.isnan(numbers)
    distinct = np.unique(numbers[there])
    if distinct.size <= room:
        yield from ((prefix + numeral(number), numbers == number) for number in distinct.tolist())
        return
    ends = np.unique(np.quantile(numbers[there], np.arange(1, PARTS) / PARTS))
    low = -np.inf
    for high in [*ends.tolist(), np.inf]:
        within = there & (numbers > low) & (numbers <= high)
        if low == -np.inf:
            yield f"≤ {high:.3g}", within
        else:
            yield (f"> {low:.3g}" if high == np.inf else f"{low:.3g} – {high:.3g}"), within
        low = high
