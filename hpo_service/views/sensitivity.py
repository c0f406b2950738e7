"""One parameter changed at a time: which trials differ from the baseline in one parameter, and what to try next. Pure.

A trial differs in one parameter when that is the only one in which both have a value and the values differ; parameters
that became active with it must stand at their default (or middle), as a person who changes one thing leaves them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from hpo_service.core.values import ValueKind
from hpo_service.views.columns import KINDS, ORIGINS, STATES, Bools, Ints, ParamColumn, StudyColumns
from search_spaces import BaseParameter, SearchSpace, SpaceError

Params = Mapping[str, Any]
MAX_POINTS = 200
MAX_PARAMETERS = 50
MAX_CELLS = 4_000
"""Of more parameters those are shown that were changed alone most often. Each brings configurations of all of them to
try, so that in a very wide space they are fewer."""
OFFSETS = (-0.25, -0.1, 0.1, 0.25)
"""Of the unit interval: where a continuous parameter is tried beside the baseline."""
SUGGESTED = 4
APART = 0.02
"""Of the unit interval: a value closer to one that was tried tells nothing new."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What all others are compared with: a trial and its parameters, or none and why."""

    trial: int | None
    params: Params
    note: str


def sensitivity(columns: StudyColumns, load: Callable[[int], Params], trial: int | None = None) -> dict[str, Any]:
    """Points and suggestions per parameter around the baseline, or around `trial`. `load` gives a trial's parameters
    as they were stored."""
    origin = _origin(columns, load, trial)
    space = columns.definition.search_space
    names = [name for name in space.parameters if name in origin.params and space.parameters[name].cardinality != 1]
    differing = one_apart(columns, origin) if origin.trial is not None else {}
    note, room = origin.note, min(MAX_PARAMETERS, max(1, MAX_CELLS // max(1, len(names))))
    if len(names) > room:
        note = f"{note} Shown are {room} of {len(names):,} parameters.".strip()
        most = sorted(names, key=lambda name: -differing[name].size if name in differing else 0)[:room]
        names = [name for name in names if name in most]
    return {
        "metric": columns.definition.objective.metric,
        "direction": columns.definition.objective.direction,
        "baseline": None if origin.trial is None else _baseline(columns, origin),
        "missing": None if origin.trial is not None or not origin.params else dict(origin.params),
        "note": note,
        "parameters": [_parameter(columns, origin, name, differing.get(name, np.zeros(0, int))) for name in names],
    }


def _origin(columns: StudyColumns, load: Callable[[int], Params], trial: int | None) -> Origin:
    space = columns.definition.search_space
    if trial is not None:
        return Origin(trial=trial, params=load(trial), note="")
    first = np.flatnonzero(columns.origin == ORIGINS.index("baseline"))
    if first.size:
        return Origin(trial=int(first[0]), params=load(int(first[0])), note="")
    defaults = _defaults(space)
    if defaults is None:
        note = "The space names no defaults, so there is no baseline: give parameters a default, or choose a trial."
        return Origin(trial=None, params={}, note=note)
    for number in equal(columns, defaults).tolist():
        return Origin(trial=number, params=load(number), note="")
    return Origin(trial=None, params=defaults, note="No trial has the defaults' configuration yet: enqueue it.")


def _defaults(space: SearchSpace) -> Params | None:
    try:
        return space.default_params() if space.has_default else None
    except SpaceError:
        return None


def equal(columns: StudyColumns, params: Params) -> Ints:
    """The trials that have exactly these parameters."""
    found = np.ones(columns.n, dtype=np.bool_)
    for name, column in columns.params.items():
        found &= _same(column, params[name]) if name in params else ~_present(column)
    return np.flatnonzero(found & np.array([set(params) <= set(columns.params)]))


def one_apart(columns: StudyColumns, origin: Origin) -> dict[str, Ints]:
    """By parameter of the baseline, the trials that differ from it in that one alone."""
    space = columns.definition.search_space
    count = np.zeros(columns.n, dtype=np.int64)
    which = np.full(columns.n, -1)
    names = list(columns.params)
    for place, name in enumerate(names):
        column = columns.params[name]
        there = _present(column)
        if name in origin.params:
            differs = there & ~_same(column, origin.params[name])
            which[differs] = place
        else:  # active only in the other trial
            parameter = space.parameters.get(name)
            left = np.zeros(columns.n, dtype=np.bool_) if parameter is None else _same(column, parameter.center)
            differs = there & ~left
            count += differs  # counts twice: never the one that was changed
        count += differs
    return {name: np.flatnonzero((count == 1) & (which == place)) for place, name in enumerate(names)}


def _present(column: ParamColumn) -> Bools:
    found: Bools = ~np.isnan(column.numbers) | (column.codes >= 0)
    return found


def _same(column: ParamColumn, value: Any) -> Bools:
    if isinstance(value, int | float) and not isinstance(value, bool):
        same: Bools = column.numbers == float(value)
        return same
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    equal_code: Bools = column.codes == (column.labels.index(text) if text in column.labels else -2)
    return equal_code


def _baseline(columns: StudyColumns, origin: Origin) -> dict[str, Any]:
    trial = origin.trial or 0
    return {
        "trial": trial,
        "params": dict(origin.params),
        "value": _value(columns, trial),
        "state": STATES[columns.state[trial]],
    }


def _value(columns: StudyColumns, number: int) -> float | None:
    return float(columns.value[number]) if columns.kind[number] == KINDS.index(ValueKind.FINITE.value) else None


def _parameter(columns: StudyColumns, origin: Origin, name: str, trials: Ints) -> dict[str, Any]:
    space = columns.definition.search_space
    parameter, column = space.parameters[name], columns.params.get(name)
    kept = trials[-MAX_POINTS:]
    points = [_point(columns, column, number) for number in kept.tolist()] if column is not None else []
    points.sort(key=lambda point: (isinstance(point["x"], str), point["x"]))
    tried = [origin.params[name], *(point["x"] for point in points)]
    return {
        "name": name,
        "type": "number" if parameter.scale.numeric else "category",
        "log": bool(getattr(parameter.scale, "log", False)),
        "x": origin.params[name],
        "points": points,
        "of": int(trials.size),
        "suggested": suggestions(space, origin.params, name, tried),
    }


def _point(columns: StudyColumns, column: ParamColumn, number: int) -> dict[str, Any]:
    code = int(column.codes[number])
    return {
        "trial": number,
        "x": column.labels[code] if code >= 0 else float(column.numbers[number]),
        "value": _value(columns, number),
        "state": STATES[columns.state[number]],
    }


def suggestions(space: SearchSpace, params: Params, name: str, tried: Sequence[Any]) -> list[dict[str, Any]]:
    """At most four configurations, legal in the space, that differ from `params` in `name` alone and were not tried;
    sorted by their place on the parameter's scale."""
    parameter = space.parameters[name]
    known = [place for x in tried if (place := _place(parameter, x)) is not None]
    found: list[tuple[float, dict[str, Any]]] = []
    for value in _candidates(parameter, params[name]):
        place = parameter.to_unit(value)
        apart = APART if parameter.cardinality is None else 0.5 / parameter.cardinality
        if any(abs(place - other) < apart for other in known):
            continue
        configuration = _with(space, params, name, value)
        if configuration is not None:
            known.append(place)
            found.append((place, {"params": configuration, "x": value}))
    return [one for _, one in sorted(found[:SUGGESTED], key=lambda item: item[0])]


def _place(parameter: BaseParameter, value: Any) -> float | None:
    try:
        return parameter.to_unit(value)
    except SpaceError:
        return None


def _candidates(parameter: BaseParameter, value: Any) -> list[Any]:
    """Values beside this one: the nearest first for listed ones, all others for unordered ones."""
    place, count = _place(parameter, value), parameter.cardinality
    if count is None or count > 40:
        center = 0.5 if place is None else place
        inside = [center + offset for offset in OFFSETS if 0 <= center + offset <= 1]
        return [parameter.from_unit(u) for u in (inside if len(inside) > 1 else [0.0, 0.25, 0.5, 0.75, 1.0])]
    own = -1 if place is None else min(count - 1, int(place * count))
    others = [k for k in range(count) if k != own]
    if parameter.scale.ordered and own >= 0:
        others.sort(key=lambda k: (abs(k - own), k))
    return [parameter.from_unit((k + 0.5) / count) for k in others]


def _with(space: SearchSpace, params: Params, name: str, value: Any) -> dict[str, Any] | None:
    """The configuration with one value changed: what falls inactive is dropped, what becomes active takes its default.
    None where the space forbids it."""
    changed = {**params, name: value}
    for _ in range(len(space.parameters)):
        active = space.active(changed)
        then = {k: changed[k] if k in changed else space.parameters[k].center for k in active}
        if then == changed:
            break
        changed = then
    try:
        return space.validate_params(changed)
    except SpaceError:
        return None
