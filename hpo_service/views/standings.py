"""Who stands on which rung, read off the trials' columns. Pure.

A trial's row says where it was placed last and how far it came. That leaves three things to infer, as the schedulers
know them: a trial that was promoted and waits for a slot, one that ended by itself and was carried up without being
placed, and one that was cancelled on its way. A fold of the log would know them too, but takes seconds for a large
study; a test holds both to be the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hpo_service.core.tables import TOLERANCE
from hpo_service.views.columns import STATES, Bools, Floats, Ints, StudyColumns
from hpo_service.views.ladders import evolving, synchronous

Reasons = Callable[[Sequence[int]], Mapping[int, str]]
"""The stored reasons of some trials."""
MAX_CUT = 5_000
"""So many trials that stopped before their target are looked up, to tell losers from cancelled ones."""
_JUDGED = re.compile(r"rank \d+ of \d+ at resource ([0-9.e+\-]+):")
RUNNING, WAITING, PAUSED, FINISHED, STOPPED, FAILED = (
    STATES.index(name) for name in ("running", "waiting", "paused", "finished", "stopped", "failed")
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """One entry per trial that stands in a bracket, by number.

    `first` is the rung that it entered the bracket at, `last` the highest one that it entered; `pending` says that it
    was promoted there and waits for a slot; `value` is what it came to there, NaN while it has not come to rest, and
    for those that failed or were cancelled.
    """

    number: Ints
    bracket: Ints
    first: Ints
    placed: Ints  # the rung that it was last placed at; lower than `last` where it was carried up
    last: Ints
    pending: Bools
    state: Ints
    value: Floats


def standing(columns: StudyColumns, tops: Callable[[int], Sequence[float]], reasons: Reasons) -> Standing:
    """Where every trial stands. `tops` gives the levels of a bracket."""
    number = np.flatnonzero((columns.bracket >= 0) & (columns.rung >= 0))
    bracket, placed = columns.bracket[number], columns.rung[number]
    state = columns.state[number].astype(np.int64)
    late = (bracket > 0) & evolving(columns.definition)  # entered where it stays
    short = columns.resource[number] < columns.target[number] * (1 - TOLERANCE)
    pending = np.zeros(number.size, dtype=np.bool_)
    last, cancelled = placed.copy(), short & (state == STOPPED)
    if columns.definition.algorithm.name != "median":  # there nobody is carried up
        ended = short & (state == FINISHED) & ~late
        last[ended] = [len(tops(int(b))) - 1 for b in bracket[ended]]
    if synchronous(columns.definition) and number.size:
        _find_losers(number, bracket, last, cancelled, tops, reasons)
        _carry(bracket, last, pending, state, short, cancelled, tops)
    elif evolving(columns.definition) and number.size:
        climbing = np.flatnonzero(~late)
        low, up, out = last[climbing], pending[climbing], cancelled[climbing]
        _find_losers(number[climbing], bracket[climbing], low, out, tops, reasons)
        _carry(bracket[climbing], low, up, state[climbing], short[climbing], out, tops)
        last[climbing], pending[climbing], cancelled[climbing] = low, up, out
    at_rest = ~pending & ~cancelled & (state != RUNNING) & (state != WAITING)
    return Standing(
        number=number,
        bracket=bracket,
        first=np.where(late, placed, 0),
        placed=placed,
        last=last,
        pending=pending,
        state=state,
        value=np.where(at_rest, columns.sort_value[number], np.nan),
    )


def _find_losers(
    number: Ints,
    bracket: Ints,
    last: Ints,
    cancelled: Bools,
    tops: Callable[[int], Sequence[float]],
    reasons: Reasons,
) -> None:
    """Of those that stopped before their target, the ones that had ended by themselves and lost a comparison later."""
    doubtful = np.flatnonzero(cancelled)[-MAX_CUT:]
    if not doubtful.size:
        return
    told = reasons(number[doubtful].tolist())
    for i in doubtful.tolist():
        judged = _JUDGED.match(told.get(int(number[i]), ""))
        if judged is None:
            continue
        levels, level = tops(int(bracket[i])), float(judged[1])
        nearest = min(range(len(levels)), key=lambda k: abs(levels[k] - level))
        last[i] = max(int(last[i]), nearest)
        cancelled[i] = False


def _carry(
    bracket: Ints,
    last: Ints,
    pending: Bools,
    state: Ints,
    short: Bools,
    cancelled: Bools,
    tops: Callable[[int], Sequence[float]],
) -> None:
    """Paused trials of rungs that were judged: they are promoted, and wait; or had ended by themselves, and go up."""
    brackets = int(bracket.max()) + 1
    newest = np.full(brackets, -1)  # the highest rung that somebody entered
    np.maximum.at(newest, bracket, last)
    lost = (state == STOPPED) & ~cancelled
    after = last + 1
    np.maximum.at(newest, bracket[lost], after[lost])  # who lost was judged, so there is a rung above
    heights = np.array([len(tops(b)) for b in range(brackets)])
    np.minimum(newest, heights - 1, out=newest)
    paused = (state == PAUSED) & (last < newest[bracket])
    up = paused & short
    last[up] = newest[bracket[up]]
    waits = paused & ~short
    last[waits] += 1
    pending[waits] = True
