"""How much each parameter mattered: which trials are looked at, how their parameters are encoded, and what came out.

Compared are values of trials that came about as far: those at the highest resource that enough trials came to, or
beyond. Short trials look worse than long ones whatever their parameters. Pure, but for the forest of `fanova`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo_service.core.tables import TOLERANCE
from hpo_service.views import fanova, ped_anova
from hpo_service.views.columns import STATES, Bools, Floats, Ints, ParamColumn, StudyColumns
from search_spaces import BaseParameter, SpaceError

LEAST = 10
"""With fewer trials nothing is said."""
ENOUGH = 50
"""So many trials must have come to a resource for its values to be compared: the best tenth are five then."""
MAX_LEVELS = 50
"""Where trials end at more resources than that, none is a level, and all are taken."""
FOREST_TRIALS = 500
WORST = 0.9
"""A forest sees losses up to this quantile: one that diverged would be all it learns."""
TABLE = 2_049
"""Places at which a continuous scale is tabled, to find where many values lie on it at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """Trials whose values are compared, and the sentence that says which."""

    numbers: Ints
    words: str


def choose(columns: StudyColumns, mask: Bools) -> Chosen:
    """The trials at rest that rank and meet the filter, at the highest resource that enough of them came to."""
    resting = np.isin(columns.state, [STATES.index(name) for name in ("finished", "stopped", "paused")])
    numbers = np.flatnonzero(columns.ranks & mask & resting)
    resource = columns.resource[numbers]
    levels, counts = np.unique(resource, return_counts=True)
    if not 1 < levels.size <= MAX_LEVELS:
        words = "all trials that ended with a value"
        return Chosen(numbers=numbers, words=words)
    came = np.cumsum(counts[::-1])[::-1]
    fitting = np.flatnonzero(came >= ENOUGH)
    level = float(levels[fitting[-1]]) if fitting.size else float(levels[0])
    kept = numbers[resource >= level * (1 - TOLERANCE)]
    words = f"the trials that came to resource {level:g} or further"
    return Chosen(numbers=kept, words=words)


def spread(chosen: Chosen, limit: int) -> Chosen:
    """At most so many of them, spread evenly over their numbers."""
    size = chosen.numbers.size
    if size <= limit:
        return chosen
    picked = (2 * np.arange(limit) + 1) * size // (2 * limit)
    return Chosen(numbers=chosen.numbers[picked], words=f"an even spread of {limit:,} of {chosen.words}")


def tuned(columns: StudyColumns) -> list[str]:
    """The parameters that vary, as the space declares them and some trial has them."""
    space = columns.definition.search_space
    return [name for name in space.parameters if space.parameters[name].cardinality != 1 and name in columns.params]


def by_quantile(columns: StudyColumns, chosen: Chosen) -> dict[str, float]:
    """PED-ANOVA over all of the chosen; a conditional parameter by the trials that have it."""
    space = columns.definition.search_space
    cells = {}
    for name in tuned(columns):
        parameter = space.parameters[name]
        cells[name] = cells_of(parameter, places(parameter, columns.params[name], chosen.numbers))
    return ped_anova.importances(cells, _losses(columns, chosen.numbers))


@dataclass(frozen=True, kw_only=True, slots=True)
class ForestData:
    """What a forest learns from; `names` are the columns' parameters. Holds copies, to be used on another thread."""

    names: tuple[str, ...]
    places: Floats
    categories: tuple[int, ...]
    losses: Floats

    @property
    def digest(self) -> int:
        """Equal for equal data."""
        return hash((self.names, self.categories, self.places.tobytes(), self.losses.tobytes()))

    def importances(self) -> dict[str, float]:
        """fANOVA. Raises fanova.Missing."""
        found = fanova.importances(self.places, self.categories, self.losses)
        return dict(zip(self.names, found.tolist(), strict=True))


def forest_data(columns: StudyColumns, chosen: Chosen) -> ForestData:
    """The chosen trials as a table without gaps: an inactive parameter stands at its default, or its middle."""
    space, names, made, categories = columns.definition.search_space, [], [], []
    for name in tuned(columns):
        parameter = space.parameters[name]
        column = places(parameter, columns.params[name], chosen.numbers)
        column[np.isnan(column)] = parameter.to_unit(parameter.center)
        count = 0 if parameter.scale.ordered else parameter.cardinality or 0
        names.append(name)
        categories.append(count)
        made.append(_index(column, count).astype(np.float64) if count else column)
    losses = _losses(columns, chosen.numbers)
    if losses.size:
        losses = np.minimum(losses, np.quantile(losses, WORST))
        losses = (losses - losses.min()) / (np.ptp(losses) or 1.0)  # squares of huge losses leave the range
    table = np.column_stack(made) if made else np.zeros((chosen.numbers.size, 0))
    return ForestData(names=tuple(names), places=table, categories=tuple(categories), losses=losses)


def answer(
    columns: StudyColumns, method: str, chosen: Chosen, found: Mapping[str, float] | None, note: str
) -> dict[str, Any]:
    """What is sent; `found` is None where nothing was computed (yet)."""
    empty = {
        "method": method,
        "metric": columns.definition.objective.metric,
        "direction": columns.definition.objective.direction,
        "parameters": [],
        "trials_used": 0,
        "of": columns.n,
        "chosen": chosen.words,
        "note": note,
    }
    return with_shares(empty, found, int(chosen.numbers.size)) if found else empty


def with_shares(sent: Mapping[str, Any], found: Mapping[str, float], used: int) -> dict[str, Any]:
    """The answer with shares of one, the most important first."""
    parameters = ped_anova.shares(found)
    same = "" if parameters else "The values do not differ, so no parameter explains them."
    return {
        **sent,
        "parameters": [{"name": name, "importance": round(value, 6)} for name, value in parameters],
        "trials_used": used,
        "note": sent["note"] or same,
    }


def too_few(columns: StudyColumns, chosen: Chosen) -> str:
    """Why nothing can be said yet, or nothing."""
    if not tuned(columns) and columns.n:
        return "No parameter varies, so there is nothing to compare."
    have = int(chosen.numbers.size)
    if have < LEAST:
        return f"It takes at least {LEAST} trials with a value, and there {'is' if have == 1 else 'are'} {have}."
    return ""


def places(parameter: BaseParameter, column: ParamColumn, numbers: Ints) -> Floats:
    """Where the trials' values lie on the parameter's scale, in [0, 1]; NaN where they have none or an illegal one."""
    values, codes = column.numbers[numbers], column.codes[numbers]
    found = np.full(numbers.size, np.nan)
    there = ~np.isnan(values)
    if there.any():
        found[there] = _listed(parameter, values[there]) if parameter.cardinality else _tabled(parameter, values[there])
    if (codes >= 0).any():
        of_label = np.array([_of_label(parameter, label) for label in column.labels])
        found[codes >= 0] = of_label[codes[codes >= 0]]
    return found


def _listed(parameter: BaseParameter, values: Floats) -> Floats:
    """Of a parameter with countable values: each different one is looked up."""
    distinct, back = np.unique(values, return_inverse=True)
    if distinct.size > 2 * TABLE:
        return _tabled(parameter, values)
    return np.array([_of_value(parameter, value) for value in distinct.tolist()])[back]


def _tabled(parameter: BaseParameter, values: Floats) -> Floats:
    """Of a continuous one: interpolated between places, on a logarithmic axis where the scale is one."""
    table = np.linspace(0.0, 1.0, TABLE)
    known = parameter.scale.coordinates(table)
    if getattr(parameter.scale, "log", False) and known[0] > 0:
        known, values = np.log(known), np.log(np.maximum(values, np.finfo(float).tiny))
    slack = 1e-9 * max(1.0, float(np.abs(known).max()))
    found = np.interp(values, known, table)
    found[(values < known[0] - slack) | (values > known[-1] + slack)] = np.nan
    return found


def _of_value(parameter: BaseParameter, value: Any) -> float:
    try:
        return parameter.to_unit(value)
    except SpaceError:
        return np.nan


def _of_label(parameter: BaseParameter, label: str) -> float:
    """A label is the text itself, or JSON of what is neither text nor number."""
    place = _of_value(parameter, label)
    if not np.isnan(place):
        return place
    try:
        return _of_value(parameter, json.loads(label))
    except ValueError:
        return np.nan


def cells_of(parameter: BaseParameter, column: Floats) -> tuple[Ints, int, bool]:
    """The cell of each place (-1 for NaN), how many there are, and whether they have an order."""
    count = parameter.cardinality
    if count is not None and (count <= ped_anova.CELLS or not parameter.scale.ordered):
        return _index(column, count), count, parameter.scale.ordered
    cells = np.ceil(np.nan_to_num(column) * (ped_anova.CELLS - 1) - 0.5).astype(np.int64)
    cells = np.clip(cells, 0, ped_anova.CELLS - 1)
    return np.where(np.isnan(column), -1, cells), ped_anova.CELLS, True


def _index(column: Floats, count: int) -> Ints:
    cells = np.minimum(count - 1, (np.nan_to_num(column) * count).astype(np.int64))
    return np.where(np.isnan(column), -1, cells)


def _losses(columns: StudyColumns, numbers: Ints) -> Floats:
    value = columns.value[numbers]
    return -value if columns.definition.objective.maximize else value
