"""Which trials are shown where all of them would be too many, and the sentence that says so. Pure."""

from __future__ import annotations

import numpy as np

from hpo_service.views.columns import Bools, Ints, StudyColumns

CONTEXT_SHARE = 5
"""Where a filter selects, one shown trial in so many is of the others, so that they can be compared."""


def choose(columns: StudyColumns, mask: Bools, limit: int) -> tuple[Ints, str]:
    """At most `limit` trial numbers, ascending, and how they were chosen.

    All of them where they fit. Else half are the best of those that match, the newest tenth, and for the rest an even
    spread over the numbers; where a filter selects, a fifth of the room goes to an even spread of the others.
    """
    n = columns.n
    if n <= limit:
        return np.arange(n), "all trials"
    matching = np.flatnonzero(mask)
    if matching.size == n:
        return _prefer(columns, matching, limit), _sentence(limit, "trials")
    others = np.flatnonzero(~mask)
    room = min(others.size, max(limit // CONTEXT_SHARE, limit - matching.size))
    context = others[_spread(others.size, room)]
    kept = _prefer(columns, matching, limit - room)
    if kept.size == matching.size:
        words = f"all that match, and an even spread of {context.size:,} others"
    else:
        words = f"{_sentence(kept.size, 'that match')}; and an even spread of {context.size:,} others"
    return np.sort(np.concatenate([kept, context])), words


def _sentence(limit: int, whose: str) -> str:
    return f"the best {limit // 2:,} {whose}, the newest {limit // 10:,}, and an even spread of the rest"


def _prefer(columns: StudyColumns, numbers: Ints, limit: int) -> Ints:
    if numbers.size <= limit:
        return numbers
    best = best_first(columns, numbers)[: limit // 2]
    chosen = np.zeros(columns.n, dtype=np.bool_)
    chosen[best] = True
    chosen[numbers[numbers.size - limit // 10 :]] = True
    rest = numbers[~chosen[numbers]]
    room = limit - int(np.count_nonzero(chosen))
    chosen[rest[_spread(rest.size, room)]] = True
    found: Ints = np.flatnonzero(chosen)
    return found


def best_first(columns: StudyColumns, numbers: Ints) -> Ints:
    """Those of the numbers that rank, best value first, ties by number; what breaks constraints last, the least broken
    first."""
    value = columns.sort_value[numbers]
    there = ~np.isnan(value)
    kept, value = numbers[there], value[there]
    value = -value if columns.definition.objective.maximize else value
    if columns.definition.constraints:
        violation = columns.violation[kept]  # NaN sorts last
        order = np.lexsort((np.where(violation == 0, value, 0.0), violation))
    else:
        order = np.argsort(value, kind="stable")
    found: Ints = kept[order]
    return found


def _spread(size: int, room: int) -> Ints:
    """`room` indexes spread evenly over `size`."""
    if room >= size:
        return np.arange(size)
    if room <= 0:
        return np.arange(0)
    found: Ints = (2 * np.arange(room) + 1) * size // (2 * room)
    return found
