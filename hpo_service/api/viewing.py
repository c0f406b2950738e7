"""What all chart routes do: read the filter, hold the study's columns still, answer from the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from fastapi import Query, Request, Response

from hpo_service.api import answers
from hpo_service.api.filters import Names, known_names, parse_filters
from hpo_service.api.state import Shared
from hpo_service.store import reading
from hpo_service.store.reading import Filter
from hpo_service.store.rows import StudyRow
from hpo_service.views.columns import Bools, StudyColumns
from hpo_service.views.matching import matches
from search_spaces.catalog import RECIPES

FilterText = Annotated[
    str, Query(description="Trials that meet it are marked in `matches`: lr>1e-3 state:failed number:1,2")
]
Build = Callable[[StudyColumns, Bools], Mapping[str, Any]]


def view(request: Request, shared: Shared, study: StudyRow, *, filter: str, build: Build) -> Response:
    """The answer that `build` makes of the study's columns and of which trials meet the filter, with `seq` added."""
    filters = read_filter(shared, study, filter)

    def make() -> Mapping[str, Any]:
        with shared.columns.at(study.id, study.last_seq) as columns:
            return {"seq": columns.seq, **build(columns, mask_of(shared, columns, filters))}

    keep = all(one.field != "tag" for one in filters)  # tags change without an event
    return answers.respond(
        shared.answers, request, study_id=study.id, seq=study.last_seq, build=make, keep=keep
    )  # fmt: skip


def read_filter(shared: Shared, study: StudyRow, text: str) -> tuple[Filter, ...]:
    """The filters in `text`. Raises InvalidInput saying where."""
    return parse_filters(text, names_of(shared, study)) if text else ()


def mask_of(shared: Shared, columns: StudyColumns, filters: Sequence[Filter]) -> Bools:
    """Which trials meet the filters."""
    return matches(columns, filters, lambda tag: reading.tagged(shared.db, columns.study_id, tag))


def count(shared: Shared, study: StudyRow, filters: Sequence[Filter]) -> int:
    """How many trials meet the filters."""
    with shared.columns.at(study.id, study.last_seq) as columns:
        return int(np.count_nonzero(mask_of(shared, columns, filters)))


def names_of(shared: Shared, study: StudyRow) -> Names:
    """What bare names may mean in this study: its parameters, its reported metrics and those of its recipe."""
    metrics = reading.metric_names(shared.db, study.id)
    recipe = RECIPES.get(str(study.definition["trainer"].get("recipe")))
    if recipe is not None:
        metrics += [metric.name for metric in recipe.metrics]
    return known_names(study.definition["space"], metrics, constrained=bool(study.definition.get("constraints")))
