"""Trials of a study in bulk, as columns rather than rows, and which of them moved since. Writes nothing.

What is read here is held by `views.columns`; one trial, or a page of them, comes from `reading`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from hpo_service.core.events import (
    AttemptsEnded,
    AttemptsReopened,
    Decided,
    DefinitionChanged,
    Reported,
    TrialsEnqueued,
    TrialsImported,
)
from hpo_service.store.database import Database
from hpo_service.store.tables import events, reports, studies, trials
from hpo_service.store.tx import Tx

CHUNK = 20_000
FEW_EVENTS = 4_000
"""So many events are looked through for the trials that moved; after more, reading all trials afresh is no slower."""
FIELDS = (
    "number", "state", "origin", "bracket", "rung", "target", "resource", "value_kind", "value", "sort_value",
    "seconds", "cost_microdollars", "created_at", "started_at", "ended_at", "attempts", "losses", "retry_of",
    "params", "metrics", "violation", "parent_resource",
)  # fmt: skip
_SELECTED = [trials.c[name] for name in FIELDS]


@dataclass(frozen=True, kw_only=True, slots=True)
class Moves:
    """What moved since a sequence number. `trials` is None where too much moved to tell."""

    seq: int
    trials: frozenset[int] | None
    definition: bool  # whether it was changed


def trial_columns(db: Database, study_id: str) -> Iterator[Sequence[Sequence[Any]]]:
    """All trials by number, in chunks of columns in the order of `FIELDS`; times in microseconds, `params` and
    `metrics` as JSON text."""
    c, after = trials.c, -1
    while True:
        statement = select(*_SELECTED).where(c.study_id == study_id, c.number > after).order_by(c.number).limit(CHUNK)
        with db.read() as tx:
            rows = tx.all(statement)
        if rows:
            yield list(zip(*rows, strict=True))
            after = rows[-1].number
        if len(rows) < CHUNK:
            return


def trial_columns_of(db: Database, study_id: str, numbers: Sequence[int]) -> Sequence[Sequence[Any]]:
    """The same columns of some trials, by number; empty columns where there are none."""
    with db.read() as tx:
        statement = select(*_SELECTED).where(trials.c.study_id == study_id, tx.among(trials.c.number, numbers))
        rows = tx.all(statement.order_by(trials.c.number))
    return list(zip(*rows, strict=True)) if rows else [[] for _ in FIELDS]


def head(db: Database, study_id: str) -> int:
    """The log's last sequence number; 0 for an unknown study."""
    with db.read() as tx:
        return int(tx.execute(select(studies.c.last_seq).where(studies.c.id == study_id)).scalar() or 0)


def moves(db: Database, study_id: str, after_seq: int) -> Moves:
    """Which trials moved after `after_seq`, by the log. Tags and notes of trials are no events and not told."""
    e = events.c
    with db.read() as tx:
        newest = int(tx.execute(select(studies.c.last_seq).where(studies.c.id == study_id)).scalar() or 0)
        if newest <= after_seq:
            return Moves(seq=after_seq, trials=frozenset(), definition=False)
        statement = (
            select(e.seq, e.kind, e.payload)
            .where(e.study_id == study_id, e.seq > after_seq, e.seq <= newest)
            .order_by(e.seq)
            .limit(FEW_EVENTS + 1)
        )
        rows = tx.all(statement)
        if len(rows) > FEW_EVENTS:
            return Moves(seq=newest, trials=None, definition=True)
        found: set[int] = set()
        for row in rows:
            found.update(_numbers(row))
        if any(row.kind == Reported.kind for row in rows):
            found |= _reported(tx, study_id, after_seq, newest)
    changed = any(row.kind == DefinitionChanged.kind for row in rows)
    return Moves(seq=newest, trials=frozenset(found), definition=changed)


def _numbers(row: Row[Any]) -> Iterator[int]:
    """Trials that an event's payload names. Read as JSON, for only the numbers are wanted."""
    if row.kind == Decided.kind:
        yield from (p["trial"] for p in json.loads(row.payload)["proposals"])
    elif row.kind == AttemptsEnded.kind:
        yield from (a[0] for a in json.loads(row.payload)["attempts"])
    elif row.kind == AttemptsReopened.kind:
        yield from (a["trial"] for a in json.loads(row.payload)["attempts"])
    elif row.kind in (TrialsEnqueued.kind, TrialsImported.kind):
        yield from (t["trial"] for t in json.loads(row.payload)["trials"])


def _reported(tx: Tx, study_id: str, after_seq: int, until_seq: int) -> set[int]:
    r = reports.c
    statement = select(r.trial).distinct().where(r.study_id == study_id, r.seq > after_seq, r.seq <= until_seq)
    return {row.trial for row in tx.all(statement)}
