"""Several studies side by side: where their definitions differ, and how fast each found its best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpo_service.api.schemas import BestSoFar, Difference
from hpo_service.core.values import is_better
from hpo_service.store.rows import TrialRow

_MISSING = object()
_NOT_COMPARED = frozenset({"name", "notes", "tags", "project"})


def best_so_far(trials: Iterator[TrialRow], *, maximize: bool) -> BestSoFar:
    """The trials, in the order of their numbers, that improved on all before them, at whatever resource."""
    numbers: list[int] = []
    values: list[float] = []
    for trial in trials:
        best = values[-1] if values else None
        if trial.value is not None and is_better(trial.value, best, maximize=maximize):
            numbers.append(trial.number)
            values.append(trial.value)
    return BestSoFar(trials=numbers, values=values)


def differences(documents: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """The dotted paths at which the documents differ, with each one's value there; null where it has none."""
    flat = [dict(_flatten(document, "")) for document in documents]
    paths = sorted({path for one in flat for path in one})
    found = []
    for path in paths:
        values = [one.get(path, _MISSING) for one in flat]
        if any(value != values[0] for value in values[1:]):
            found.append(Difference(path=path, values=[None if v is _MISSING else v for v in values]))
    return found


def _flatten(document: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if not prefix and name in _NOT_COMPARED:
            continue
        path = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{path}.")
        else:
            yield path, value
