"""Where a trial stands among the others of its study: the most similar configurations, its place, its retries. Pure.

Distance is measured in the unit cube: numbers on their own scale (logarithms where they are drawn so), categories equal
or not, a parameter that only one of two trials has as far apart as can be.
"""

from __future__ import annotations

import math

import numpy as np

from hpo_service.views.columns import STATES, Bools, Floats, Ints, ParamColumn, StudyColumns
from search_spaces.parameters import BaseParameter, Choice, LogNormal, Normal, Ordinal


def nearest(columns: StudyColumns, number: int, most: int) -> tuple[Ints, Floats]:
    """The `most` trials whose configurations are the most similar, and their distances in [0, 1]; ties by number.
    Trials that only wait are left out."""
    apart = distances(columns, number)
    others = columns.state != STATES.index("waiting")
    others[number] = False
    numbers = np.flatnonzero(others)
    if numbers.size > most:
        limit = np.partition(apart[numbers], most - 1)[most - 1]
        numbers = numbers[apart[numbers] <= limit]
    found: Ints = numbers[np.argsort(apart[numbers], kind="stable")][:most]
    return found, apart[found]


def distances(columns: StudyColumns, number: int) -> Floats:
    """float[n]: the root mean square over all parameters of how far each trial's value is from this one's."""
    total = np.zeros(columns.n)
    known = columns.definition.search_space.parameters
    held = columns.params
    for name, column in held.items():
        total += _apart(column, known.get(name), number) ** 2
    found: Floats = np.sqrt(total / max(len(held), 1))
    return found


def _apart(column: ParamColumn, parameter: BaseParameter | None, number: int) -> Floats:
    there = _there(column)
    if isinstance(parameter, Choice) or (column.categorical and not isinstance(parameter, Ordinal)):
        same = (column.codes == column.codes[number]) & _equal(column.numbers, column.numbers[number])
        return np.where(same, 0.0, 1.0)
    places = _ordinal(column, parameter) if isinstance(parameter, Ordinal) else _places(column.numbers, parameter)
    found: Floats = there.astype(np.float64)
    if not there[number]:
        return found
    apart = np.abs(places - places[number])
    found = np.where(there, np.nan_to_num(np.clip(apart, 0.0, 1.0), nan=1.0), 1.0)
    return found


def _there(column: ParamColumn) -> Bools:
    found: Bools = (column.codes >= 0) | ~np.isnan(column.numbers)
    return found


def _equal(numbers: Floats, value: float) -> Bools:
    found: Bools = np.isnan(numbers) if math.isnan(value) else numbers == value
    return found


def _places(numbers: Floats, parameter: BaseParameter | None) -> Floats:
    """Where numbers lie between the ends of their parameter's scale; of an unknown one between those that were seen."""
    if isinstance(parameter, Normal | LogNormal):
        x = np.log(np.where(numbers > 0, numbers, np.nan)) if isinstance(parameter, LogNormal) else numbers
        found: Floats = (x - parameter.mu) / (6 * parameter.sigma)
        return found
    low, high = getattr(parameter, "low", None), getattr(parameter, "high", None)
    if low is None or high is None:
        seen = numbers[~np.isnan(numbers)]
        low, high = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
    if parameter is not None and parameter.logarithmic:
        numbers, low, high = np.log(np.where(numbers > 0, numbers, np.nan)), math.log(low), math.log(high)
    placed: Floats = (numbers - low) / ((high - low) or 1.0)
    return placed


def _ordinal(column: ParamColumn, parameter: Ordinal) -> Floats:
    """Ordered values lie evenly, whatever they are called."""
    values = list(parameter.values)
    step = 1 / max(len(values) - 1, 1)
    places = np.full(column.numbers.size, np.nan)
    for index, value in enumerate(values):
        if isinstance(value, int | float) and not isinstance(value, bool):
            places[column.numbers == float(value)] = index * step
    of_labels = [values.index(label) * step if label in values else np.nan for label in column.labels]
    coded = column.codes >= 0
    places[coded] = np.array(of_labels)[column.codes[coded]]
    return places


def rank(columns: StudyColumns, number: int) -> tuple[int | None, int]:
    """The trial's place by the study's rule, and how many trials have one: what keeps all constraints first, then what
    breaks them least; there the highest resource, the best value, ties by number. None for a trial without a finite
    value, and for a failed one."""
    ranks = columns.ranks
    total = int(np.count_nonzero(ranks))
    if not ranks[number]:
        return None, total
    resource, value = columns.resource, columns.sort_value
    better = value > value[number] if columns.definition.objective.maximize else value < value[number]
    first = (value == value[number]) & (columns.number < number)
    before = (resource > resource[number]) | ((resource == resource[number]) & (better | first))
    if columns.definition.constraints:
        broken = np.nan_to_num(columns.violation, nan=np.inf)
        before = (broken < broken[number]) | ((broken == broken[number]) & before)
    return 1 + int(np.count_nonzero(before & ranks)), total


def first_of_origin(columns: StudyColumns, code: int) -> int | None:
    """The first trial of an origin."""
    found = np.flatnonzero(columns.origin == code)
    return int(found[0]) if found.size else None


def retries(columns: StudyColumns, number: int) -> Ints:
    """The trials that tried this one again."""
    found: Ints = np.flatnonzero(columns.retry_of == number)
    return found
