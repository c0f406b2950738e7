"""Searching what trials printed: line by line, in the order of trials and attempts, a bounded piece of work at a time.

No index helps to find a part of a word, and pieces of a log end anywhere, so logs are read and looked through. One
answer looks through at most `WORK_CHARS` and says where it stopped; asking on from there finds the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, or_, select, tuple_

from hpo_service.store import cursors
from hpo_service.store.database import Database
from hpo_service.store.tables import attempts, log_chunks
from hpo_service.store.tx import Tx

WORK_CHARS = 8 << 20
LISTED = 500
MOST_SHOWN = 400
_WHOLE = 2**53  # of a position: every line of that attempt was looked at


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundLine:
    """A line that holds what was searched for. `line` counts from 1; `text` is cut around the place."""

    trial: int
    fence: int
    line: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundPage:
    """`next_cursor` is None once everything was looked through; it may be given with no line found yet."""

    rows: Sequence[FoundLine]
    next_cursor: str | None
    searched: int  # characters of this answer's logs


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is searched for, where: in all trials of a study, one, or one attempt."""

    study_id: str
    search: str
    trial: int | None = None
    fence: int | None = None


def search_logs(
    db: Database, wanted: Wanted, *, cursor: str | None = None, limit: int = 100, work_chars: int = WORK_CHARS
) -> FoundPage:
    """Up to `limit` lines that hold `wanted.search`, whatever the case of its letters, from the cursor on.

    Raises InvalidInput for a cursor of another search.
    """
    kind = f"logs {wanted.search!r} {wanted.trial} {wanted.fence}"
    at: tuple[int, int, int] = (-1, -1, _WHOLE)
    if cursor is not None:
        trial, fence, line = cursors.unpack(cursor, kind, (int, int, int))
        at = (trial, fence, line)
    needle, found, searched = wanted.search.lower(), [], 0
    with db.read() as tx:
        for attempt, text in _texts(tx, wanted, at):
            begun = (attempt.trial, attempt.fence) == at[:2]
            searched += len(text)
            for line in _lines(text, needle, after=at[2] if begun else 0):
                found.append(FoundLine(trial=attempt.trial, fence=attempt.fence, line=line[0], text=line[1]))
                if len(found) == limit:
                    position = (attempt.trial, attempt.fence, line[0])
                    return FoundPage(rows=found, next_cursor=cursors.pack(kind, position), searched=searched)
            if searched >= work_chars:
                position = (attempt.trial, attempt.fence, _WHOLE)
                return FoundPage(rows=found, next_cursor=cursors.pack(kind, position), searched=searched)
    return FoundPage(rows=found, next_cursor=None, searched=searched)


def _texts(tx: Tx, wanted: Wanted, at: tuple[int, int, int]) -> Iterator[tuple[Row[Any], str]]:
    """Attempts that printed something, with all of it, from the position on; many small ones are read at once."""
    last, whole = at[:2], at[2] == _WHOLE
    while True:
        listed = _listed(tx, wanted, last, beyond=whole)
        for group in _groups(listed):
            yield from _read(tx, wanted.study_id, group)
        if len(listed) < LISTED:
            return
        last, whole = (listed[-1].trial, listed[-1].fence), True


def _listed(tx: Tx, wanted: Wanted, last: tuple[int, int], *, beyond: bool) -> Sequence[Row[Any]]:
    a = attempts.c
    place = tuple_(a.trial, a.fence)
    statement = select(a.trial, a.fence, a.log_chars).where(a.study_id == wanted.study_id, a.log_chars > 0)
    statement = statement.where(place > last if beyond else place >= last)
    if wanted.trial is not None:
        statement = statement.where(a.trial == wanted.trial)
    if wanted.fence is not None:
        statement = statement.where(a.fence == wanted.fence)
    return tx.all(statement.order_by(a.trial, a.fence).limit(LISTED))


def _groups(listed: Sequence[Row[Any]]) -> Iterator[list[Row[Any]]]:
    group: list[Row[Any]] = []
    size = 0
    for row in listed:
        if group and size + row.log_chars > 1 << 20:
            yield group
            group, size = [], 0
        group.append(row)
        size += row.log_chars
    if group:
        yield group


def _read(tx: Tx, study_id: str, group: Sequence[Row[Any]]) -> Iterator[tuple[Row[Any], str]]:
    c = log_chunks.c
    first, last = group[0], group[-1]
    place = tuple_(c.trial, c.fence)
    statement = select(c.trial, c.fence, c.content).where(
        c.study_id == study_id,
        c.trial >= first.trial,
        c.trial <= last.trial,
        place >= (first.trial, first.fence),
        or_(c.trial < last.trial, place <= (last.trial, last.fence)),
    )
    pieces: dict[tuple[int, int], list[str]] = {}
    for row in tx.all(statement.order_by(c.trial, c.fence, c.start)):
        pieces.setdefault((row.trial, row.fence), []).append(row.content)
    for attempt in group:
        yield attempt, "".join(pieces.get((attempt.trial, attempt.fence), ()))


def _lines(text: str, needle: str, *, after: int) -> Iterator[tuple[int, str]]:
    if needle not in text.lower():  # nearly always, and much quicker than line by line
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if number > after and needle in line.lower():
            yield number, _excerpt(line.rstrip("\r"), needle)


def _excerpt(line: str, needle: str) -> str:
    if len(line) <= MOST_SHOWN:
        return line
    at = max(0, line.lower().find(needle) - MOST_SHOWN // 4)
    start = min(at, len(line) - MOST_SHOWN)
    return ("…" if start else "") + line[start : start + MOST_SHOWN] + ("…" if start + MOST_SHOWN < len(line) else "")
