"""The brackets of a study and how trials moved up in them: counts of all trials, and some trials of each rung.

Counts are exact. Which trials are shown, and how: `_picked`. What a promoted trial had come to when it was compared is
read from its reports, for a bounded number of trials (`ROWS`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo_service.store import looking
from hpo_service.store.database import Database
from hpo_service.views.columns import STATES, Bools, Floats, Ints, StudyColumns
from hpo_service.views.ladders import Ladder, has_rungs, has_thresholds, ladders, without_rungs
from hpo_service.views.rung_values import at_levels
from hpo_service.views.rung_words import Rung, reason
from hpo_service.views.sampling import best_first
from hpo_service.views.standings import RUNNING, WAITING, Standing, standing

MAX_BRACKETS = 24
MAX_SHOWN = 60
SHOWN = 2_400
"""Trials of all rungs together that are shown, one for each of its rungs."""
ROWS = 40_000
"""Reports that are read, about."""
Table = Callable[[Sequence[int]], Sequence[Sequence[Any]]]
_COUNTED = ("running", "waiting", "paused", "stopped", "failed", "finished")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reads:
    """What is asked of the store: stored reasons, and reports as `store.looking.values` gives them."""

    reasons: Callable[[Sequence[int]], Mapping[int, str]]
    values: Table
    count: Callable[[int], int]


def reads_of(db: Database, study_id: str) -> Reads:
    """Reads of a study in the database."""
    return Reads(
        reasons=lambda numbers: looking.reasons(db, study_id, numbers),
        values=lambda numbers: looking.values(db, study_id, numbers),
        count=lambda number: looking.report_count(db, study_id, number),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rows:
    """One rung: who entered it (indexes into the standing), and which of them are shown."""

    ladder: Ladder
    rung: int
    entered: Ints
    promoted: Bools  # of `entered`
    shown: Ints


def brackets(columns: StudyColumns, reads: Reads) -> dict[str, Any]:
    """The brackets as they stand, those that are to come, and what of it is shown."""
    definition = columns.definition
    found: dict[str, Any] = {
        "metric": definition.objective.metric,
        "direction": definition.objective.direction,
        "brackets": [],
        "planned": [],
        "shown": 0,
        "of": 0,
        "note": "",
    }
    if not has_rungs(definition):
        found["note"] = without_rungs(definition)
        return found
    whole = standing(columns, _levels_of(columns), reads.reasons)
    begun, coming = _ladders(columns, whole)
    shown = _shown(whole, [ladder.bracket for ladder in begun], _best_bracket(columns))
    rungs = _rungs(columns, whole, [begun[index] for index in shown])
    found["brackets"] = _filled(columns, whole, rungs, reads)
    found["planned"] = [_planned(ladder) for ladder in coming]
    found["shown"], found["of"] = len(shown), len(begun)
    return found


def _levels_of(columns: StudyColumns) -> Callable[[int], Sequence[float]]:
    """The levels of any bracket; they hang on its index alone."""
    begun, coming = ladders(columns.definition.model_copy(update={"budget": type(columns.definition.budget)()}), [],
                            judged=False)  # fmt: skip
    rounds = [*begun, *coming]
    return lambda bracket: rounds[bracket % len(rounds)].levels


def _ladders(columns: StudyColumns, whole: Standing) -> tuple[list[Ladder], list[Ladder]]:
    entered = np.bincount(whole.bracket)
    newest = whole.bracket == entered.size - 1
    lost = (whole.state == STATES.index("stopped")) & ~np.isnan(whole.value)
    judged = bool(np.any(newest & ((whole.last > 0) | lost)))
    return ladders(columns.definition, entered.tolist(), judged=judged)


def _best_bracket(columns: StudyColumns) -> int:
    """Where the best trial stands: the best value among those at the highest resource, of those that keep all
    constraints."""
    ranks = np.flatnonzero(columns.counts & (columns.bracket >= 0))
    if not ranks.size:
        return -1
    top = ranks[columns.resource[ranks] == columns.resource[ranks].max()]
    value = columns.sort_value[top]
    best = np.argmax(value) if columns.definition.objective.maximize else np.argmin(value)
    return int(columns.bracket[top[best]])


def _shown(whole: Standing, begun: Sequence[int], best: int) -> list[int]:
    """The best trial's bracket, those that are under way, and the newest, up to `MAX_BRACKETS`."""
    under_way = set(whole.bracket[(whole.state == RUNNING) | (whole.state == WAITING)].tolist())
    order = sorted(begun, key=lambda index: (index != best, index not in under_way, -index))
    return sorted(order[:MAX_BRACKETS])


def _rungs(columns: StudyColumns, whole: Standing, chosen: Sequence[Ladder]) -> list[_Rows]:
    room = max(2, min(MAX_SHOWN, SHOWN // max(1, sum(len(ladder.levels) for ladder in chosen))))
    maximize = columns.definition.objective.maximize
    order = np.argsort(whole.bracket, kind="stable")
    ends = np.searchsorted(whole.bracket[order], [(ladder.bracket, ladder.bracket + 1) for ladder in chosen])
    final = columns.sort_value[whole.number]
    goodness = np.where(np.isnan(final), -np.inf, final if maximize else -final)
    if columns.definition.constraints:
        places = np.full(columns.n, np.inf)
        best = best_first(columns, columns.number)
        places[best] = np.arange(best.size)
        goodness = -places[whole.number]
    found = []
    for ladder, (first, until) in zip(chosen, ends.tolist(), strict=True):
        members = order[first:until]
        for rung in range(len(ladder.levels)):
            entered = members[(whole.first[members] <= rung) & (whole.last[members] >= rung)]
            promoted = whole.last[entered] > rung
            found.append(
                _Rows(
                    ladder=ladder,
                    rung=rung,
                    entered=entered,
                    promoted=promoted,
                    shown=_picked(entered, promoted, whole.last, goodness, room),
                )
            )
    return found


def _picked(entered: Ints, promoted: Bools, last: Ints, goodness: Floats, room: int) -> Ints:
    """At most `room` of a rung: two thirds for the promoted, the rest for the others (more where either are few). Of
    each, half are the best as they stand now, the others an even spread."""
    up, others = entered[promoted], entered[~promoted]
    most = max(room - others.size, 2 * room // 3)
    up = _best_and_spread(up, last, goodness, most)
    others = _best_and_spread(others, last, goodness, room - up.size)
    return np.sort(np.concatenate([up, others]))


def _best_and_spread(rows: Ints, last: Ints, goodness: Floats, room: int) -> Ints:
    if rows.size <= room:
        return rows
    order = rows[np.lexsort((rows, -goodness[rows], -last[rows]))]
    best, rest = order[: room - room // 2], np.sort(order[room - room // 2 :])
    spread = (2 * np.arange(room // 2) + 1) * rest.size // (2 * max(1, room // 2))
    return np.concatenate([best, rest[spread]])


def _filled(columns: StudyColumns, whole: Standing, rungs: Sequence[_Rows], reads: Reads) -> list[dict[str, Any]]:
    levels = sorted({level for rung in rungs for level in rung.ladder.levels})
    numbers, exact = _wanted(whole, rungs, reads)
    known, values = at_levels(reads.values(numbers), levels, columns.definition.objective)
    shown = sorted({int(whole.number[i]) for rung in rungs for i in rung.shown.tolist()})
    stored = reads.reasons(shown)
    found: dict[int, dict[str, Any]] = {}
    for index, rows in enumerate(rungs):
        ladder = rows.ladder
        own = values[:, levels.index(ladder.levels[rows.rung])] if known.size else np.zeros(0)
        at_rung = _values_at(whole, rows, known, own)
        one = found.setdefault(ladder.bracket, {"bracket": ladder.bracket, "label": ladder.label, "rungs": []})
        one["rungs"].append(_rung(columns, whole, rows, at_rung, exact=index in exact, stored=stored))
    return list(found.values())


def _wanted(whole: Standing, rungs: Sequence[_Rows], reads: Reads) -> tuple[list[int], frozenset[int]]:
    """The promoted trials whose reports are read: all those of small rungs, and the shown ones of the others; and the
    rungs of which all are."""
    furthest = whole.number[np.argmax(whole.last)] if whole.number.size else None
    each = max(1, reads.count(int(furthest))) if furthest is not None else 1
    room = max(20, ROWS // each)
    wanted = {int(i) for rung in rungs for i in rung.shown[np.isin(rung.shown, rung.entered[rung.promoted])].tolist()}
    exact = set()
    if len(wanted) > room:  # reports are many: fewer trials, the newest rungs first
        wanted = set(sorted(wanted, key=lambda i: (-int(whole.last[i]), i))[:room])
    for index in sorted(range(len(rungs)), key=lambda k: int(np.count_nonzero(rungs[k].promoted))):
        more = set(rungs[index].entered[rungs[index].promoted].tolist())
        if len(wanted | more) > room:
            break
        wanted |= more
        exact.add(index)
    return sorted(int(whole.number[i]) for i in wanted), frozenset(exact)


def _values_at(whole: Standing, rows: _Rows, known: Ints, own: Floats) -> Floats:
    """What each of the entered had come to at this rung, NaN where it is not known or there is none."""
    value = np.where(rows.promoted, np.nan, whole.value[rows.entered])
    if known.size:
        numbers = whole.number[rows.entered]
        place = np.minimum(np.searchsorted(known, numbers), known.size - 1)
        read = rows.promoted & (known[place] == numbers)
        value[read] = own[place[read]]
    return value


def _rung(
    columns: StudyColumns,
    whole: Standing,
    rows: _Rows,
    value: Floats,
    *,
    exact: bool,
    stored: Mapping[int, str],
) -> dict[str, Any]:
    maximize = columns.definition.objective.maximize
    sign = -1.0 if maximize else 1.0
    counts = _counts(whole, rows)
    about = Rung(
        columns.definition.algorithm,
        rows.ladder.levels,
        rows.rung,
        ranked=np.sort(sign * value[~np.isnan(value)]) if exact else None,
        of=int(rows.entered.size) - counts["running"] - counts["waiting"],
        sign=sign,
    )
    place = np.searchsorted(rows.entered, rows.shown) if _ascending(rows.entered) else None
    assert place is not None
    fates, said = [], []
    for at, index in zip(place.tolist(), rows.shown.tolist(), strict=True):
        number = int(whole.number[index])
        fate = _fate(whole, index, promoted=bool(rows.promoted[at]))
        placed_next = int(whole.placed[index]) == rows.rung + 1 and int(whole.state[index]) == RUNNING
        own = stored.get(number, "") if fate != "promoted" or placed_next else ""
        fates.append(fate)
        said.append(reason(about, fate, own, value=float(value[at]), pending=bool(whole.pending[index])))
    return {
        "rung": rows.rung,
        "resource": rows.ladder.levels[rows.rung],
        "size": rows.ladder.sizes[rows.rung],
        "entered": int(rows.entered.size),
        "promoted": int(np.count_nonzero(rows.promoted)),
        **counts,
        **_threshold(value, rows.promoted, exact=exact, maximize=maximize),
        **({} if has_thresholds(columns.definition) else {"threshold": None, "threshold_rule": ""}),
        "trials": {
            "number": whole.number[rows.shown],
            "value": value[place],
            "fate": fates,
            "reason": said,
        },
        "shown": int(rows.shown.size),
        "of": int(rows.entered.size),
    }


def _ascending(rows: Ints) -> bool:
    return bool(np.all(rows[1:] > rows[:-1]))


def _counts(whole: Standing, rows: _Rows) -> dict[str, int]:
    here = rows.entered[~rows.promoted]
    pending = whole.pending[here]
    states = np.bincount(whole.state[here][~pending], minlength=len(STATES))
    counts = {name: int(states[STATES.index(name)]) for name in _COUNTED}
    counts["waiting"] += int(np.count_nonzero(pending))
    return counts


def _fate(whole: Standing, index: int, *, promoted: bool) -> str:
    if promoted:
        return "promoted"
    return "waiting" if whole.pending[index] else STATES[int(whole.state[index])]


def _threshold(value: Floats, promoted: Bools, *, exact: bool, maximize: bool) -> dict[str, Any]:
    """The worst value that was promoted; where the promoted are too many to look at, the best that was not."""
    good, bad = (np.nanmax, np.nanmin) if maximize else (np.nanmin, np.nanmax)
    up, others = value[promoted & ~np.isnan(value)], value[~promoted & ~np.isnan(value)]
    both = value[~np.isnan(value)]
    threshold = (bad(up) if exact else good(others)) if (up if exact else others).size and promoted.any() else None
    return {
        "threshold": None if threshold is None else float(threshold),
        "threshold_rule": "worst promoted" if exact else "best not promoted",
        "best": float(good(both)) if both.size else None,
    }


def _planned(ladder: Ladder) -> dict[str, Any]:
    pairs = zip(ladder.levels, ladder.sizes, strict=True)
    return {
        "bracket": ladder.bracket,
        "label": ladder.label,
        "rungs": [{"rung": rung, "resource": level, "size": size} for rung, (level, size) in enumerate(pairs)],
    }
