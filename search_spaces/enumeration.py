"""Walking through all combinations of a space, and counting them.

Here: the odometer over active parameters and the count by independent groups. Not here: which values a
parameter offers (`parameters`), which combinations are allowed (`rules`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from search_spaces.errors import SpaceError
from search_spaces.parameters import BaseParameter
from search_spaces.rules import Rules

_ABSENT: Any = object()
_END: Any = object()


def walk(parameters: Mapping[str, BaseParameter], rules: Rules, points: int) -> Iterator[dict[str, Any]]:
    """Every allowed combination of active parameters once, parents first, the last name fastest.

    `points` values are taken of continuous parameters. Iterative: a chain of 1,000 conditions is fine.
    """
    for values, allowed in _visit(parameters, rules, points):
        if allowed:
            yield dict(values)


def _visit(parameters: Mapping[str, BaseParameter], rules: Rules, points: int) -> Iterator[tuple[dict[str, Any], bool]]:
    """All combinations, allowed or not; the mapping is reused between them."""
    order = rules.order
    options = {
        name: [(value, parameters[name].scale.coordinate(value)) for value in parameters[name].grid(points)]
        for name in order
    }
    values: dict[str, Any] = {}
    coordinates: dict[str, float] = {}
    wheels: list[Iterator[Any]] = []
    while True:
        if len(wheels) < len(order):
            name = order[len(wheels)]
            wheels.append(iter(options[name] if rules.holds(name, coordinates) else [_ABSENT]))
        else:
            yield values, rules.broken(coordinates) is None
        while (turned := next(wheels[-1], _END)) is _END:
            wheels.pop()
            name = order[len(wheels)]
            values.pop(name, None)
            coordinates.pop(name, None)
            if not wheels:
                return
        if turned is not _ABSENT:
            name = order[len(wheels) - 1]
            values[name], coordinates[name] = turned


def count_combinations(parameters: Mapping[str, BaseParameter], rules: Rules, points: int, *, limit: int) -> int:
    """How many combinations `walk` yields: groups that nothing ties are counted apart and multiplied."""
    total = 1
    for group in rules.components():
        sizes = [_size(parameters[name], points) for name in group]
        if len(group) == 1 and not any(clause.names <= group for clause in rules.clauses):
            total *= sizes[0]
            continue
        if max(sizes) > limit:
            raise _too_many(group, math.prod(sizes), limit)
        count = 0
        for visited, (_, allowed) in enumerate(_visit(parameters, rules.restricted(group), points)):
            if visited >= limit:
                raise _too_many(group, math.prod(sizes), limit)
            count += allowed
        total *= count
    return total


def _size(parameter: BaseParameter, points: int) -> int:
    if parameter.cardinality is not None:
        return parameter.cardinality
    if points < 1:
        raise SpaceError("points must be >= 1", value=points)
    return points


def _too_many(group: set[str], product: int, limit: int) -> SpaceError:
    return SpaceError(
        f"at most {limit} combinations of parameters tied by conditions or forbid can be counted",
        got=f"up to {product} of {', '.join(sorted(group)[:8])}",
        path="space",
        remedy="use fewer values",
    )
