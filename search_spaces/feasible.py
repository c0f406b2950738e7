"""Whether `forbid` leaves anything: exactly where the combinations can be counted, else by drawing.

Here: that one question. Not here: the meaning of clauses (`rules`), their evaluation (`tables`).
Only the parameters that `forbid` mentions, and their parents, matter. If they are discrete with at most
100,000 combinations, all are looked at; else 10,000 draws with a fixed seed are. A first 64 draws settle
nearly every good space, and tell which clauses forbid most: those come first, so that bad ones end soon.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from search_spaces.errors import SpaceError
from search_spaces.grids import DiscreteScale
from search_spaces.parameters import BaseParameter
from search_spaces.rules import Clause, Rules
from search_spaces.scales import FloatArray
from search_spaces.tables import Table

MAX_EXACT = 100_000
DRAWS = 10_000
FIRST_DRAWS = 64
FIRST_CLAUSES = 8

Rows = npt.NDArray[np.int64]
Source = Callable[[str, Rows], FloatArray]


def check_feasible(parameters: Mapping[str, BaseParameter], rules: Rules) -> None:
    """Raise SpaceError if `forbid` leaves nothing."""
    if not rules.clauses:
        return
    narrow = rules.restricted(rules.ancestry(name for clause in rules.clauses for name in clause.names))
    draws = _drawing(parameters, narrow)
    clauses = _by_reach(narrow, draws)
    if clauses is None:
        return
    count = combinations(parameters, narrow)
    if count is not None and count <= MAX_EXACT:
        if not _anything_left(narrow, clauses, count, _counting(parameters, narrow)):
            raise _nothing(f"all {count} combinations forbidden")
    elif not _anything_left(narrow, clauses, DRAWS, draws):
        raise _nothing(f"none of {DRAWS} draws allowed")


def _nothing(got: str) -> SpaceError:
    return SpaceError("forbid must leave something", got=got, path="forbid", remedy="remove or narrow a clause")


def combinations(parameters: Mapping[str, BaseParameter], rules: Rules) -> int | None:
    """The product of the numbers of values; None if one is continuous."""
    counts = [parameters[name].cardinality for name in rules.order]
    known = [count for count in counts if count is not None]
    return math.prod(known) if len(known) == len(counts) else None


def _by_reach(rules: Rules, draws: Source) -> list[Clause] | None:
    """The clauses, those that forbid most of the first draws first; None if a draw is allowed."""
    rows = np.arange(FIRST_DRAWS)
    table = Table(rules, FIRST_DRAWS, lambda name: draws(name, rows))
    hits = [table.hit(clause) for clause in rules.clauses]
    if not np.logical_or.reduce(hits).all():
        return None
    reach = [int(hit.sum()) for hit in hits]
    return [rules.clauses[k] for k in sorted(range(len(reach)), key=lambda k: -reach[k])]


def _anything_left(rules: Rules, clauses: Sequence[Clause], count: int, source: Source) -> bool:
    """Whether a row of `count` passes every clause; after each batch of clauses only survivors go on."""
    rows = np.arange(count)
    start, size = 0, FIRST_CLAUSES
    while start < len(clauses) and rows.size:
        left = _survivors(rules, clauses[start : start + size], rows, source)
        rows = rows[left]
        start, size = start + size, size * 4
    return bool(rows.size)


def _survivors(rules: Rules, clauses: Sequence[Clause], rows: Rows, source: Source) -> npt.NDArray[np.bool_]:
    return Table(rules, rows.size, lambda name: source(name, rows)).allowed(clauses)


def _drawing(parameters: Mapping[str, BaseParameter], rules: Rules) -> Source:
    """Draws by row number: each parameter has a stream of its own, so that only what is asked for is drawn."""
    place = {name: k for k, name in enumerate(rules.order)}

    def source(name: str, rows: Rows) -> FloatArray:
        u = np.random.default_rng([0, place[name]]).random(int(rows[-1]) + 1)
        return parameters[name].scale.coordinates(u[rows])

    return source


def _counting(parameters: Mapping[str, BaseParameter], rules: Rules) -> Source:
    """All combinations by row number, the first parameter fastest."""
    strides: dict[str, int] = {}
    stride = 1
    for name in rules.order:
        strides[name] = stride
        stride *= parameters[name].cardinality or 1

    def source(name: str, rows: Rows) -> FloatArray:
        scale = parameters[name].scale
        if not isinstance(scale, DiscreteScale):
            raise SpaceError("only discrete parameters can be counted", value=name)
        return scale.coordinates_at((rows // strides[name] % scale.count).astype(np.float64))

    return source
