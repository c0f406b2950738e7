"""Several studies side by side, as the API says it; what best and different mean stands in `core.analysis`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hpo_service.api.schemas import BestSoFar, Difference
from hpo_service.core import analysis
from hpo_service.store.rows import TrialRow

_NOT_COMPARED = frozenset({"name", "notes", "tags", "project"})


def best_so_far(trials: Iterable[TrialRow], *, maximize: bool) -> BestSoFar:
    """The trials, in the order of their numbers, that were the study's best when they had run."""
    series = analysis.best_so_far(((t.number, t.value, t.resource) for t in trials), maximize=maximize)
    return BestSoFar(trials=list(series.trials), values=list(series.values))


def differences(documents: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """The dotted paths at which the documents differ, with each one's value there; null where it has none."""
    compared = [{name: value for name, value in d.items() if name not in _NOT_COMPARED} for d in documents]
    return [Difference(path=d.path, values=list(d.values)) for d in analysis.differences(compared)]
