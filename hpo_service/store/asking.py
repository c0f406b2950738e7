"""What external workers told and what those who ask hold, of one study, in one transaction: many clients at once.

Not here: what telling means (its caller turns it into items), how expired trials are adopted (`external`), and what is
started (`committing`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from hpo_service.core.events import Decided, Event
from hpo_service.core.states import StudyState, TrialState
from hpo_service.errors import Conflict, FenceRefused, HpoError, NotFound
from hpo_service.store import collecting, eventlog, logreading, opening
from hpo_service.store.committing import commit_locked
from hpo_service.store.database import Database
from hpo_service.store.mapping import attempt_row, load_metrics, study_row, trial_row
from hpo_service.store.rows import (
    AttemptRow,
    Collected,
    CollectItem,
    Committed,
    EndedItem,
    OpenAttempt,
    Placement,
    ReportRecord,
    StudyRow,
    TrialRow,
)
from hpo_service.store.turns import Read
from hpo_service.store.tx import Tx, to_datetime

_KNOWN = (
    "SELECT a.*, r.resource AS told_resource, r.metrics AS told_metrics, r.at AS told_at FROM attempts AS a "
    "LEFT JOIN reports AS r ON r.study_id = a.study_id AND r.trial = a.trial AND r.fence = a.fence "
    "AND r.step = a.last_step WHERE a.study_id = ? AND a.trial {among}"
)
"""Attempts with their newest report."""
SEAT = 0x48504F
"""Tells our advisory locks from those of other programs in the same database."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A told attempt as it stands: `last` is its newest report, `next_step` the first step that the trial has not."""

    attempt: AttemptRow
    last: ReportRecord | None
    next_step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Telling:
    """Something told about the attempt (trial, fence). `items` says what it means to what is known, at a moment; it may
    raise an HpoError, which is its client's alone."""

    trial: int
    fence: int
    items: Callable[[StudyRow, Known, datetime], Sequence[CollectItem]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Joined:
    """What a transaction is to store, and whose open attempts it is to look up. `tellings` are of different trials."""

    tellings: Sequence[Telling] = ()
    clients: Collection[str] = ()
    after_seq: int | None = None
    """Of the study's log `choose` knows what is up to here; None: it does not say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """What became of something told: `error` refuses it, `results` are those of its items."""

    error: HpoError | None = None
    results: Sequence[Collected] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Gathered:
    """A study once everything told was stored. `held`: the open attempts of those who ask, by client. `adopters`: the
    clients for whom trials of silent ones, or interrupted ones, may wait."""

    study: StudyRow
    now: datetime
    heard: Sequence[Heard] = ()
    held: Mapping[str, list[OpenAttempt]] = field(default_factory=dict)
    adopters: frozenset[str] = frozenset()
    missed: Sequence[Event] = ()
    """What others wrote into the log after `Joined.after_seq`, as far as it was looked up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Looked:
    """What was looked up before anything is written: of the told trials and their attempts, and who holds what."""

    known: Sequence[Any] = ()
    works: Sequence[Any] = ()
    open: Sequence[Any] = ()
    missed: Sequence[Event] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """What is decided inside the transaction that stores what was told."""

    event: Decided
    placements: Mapping[int, Placement]


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What one transaction did: `committed` None where nothing was decided. `told`: the told trials, by number;
    `appended`: what it wrote into the log."""

    gathered: Gathered
    appended: Sequence[Event]
    committed: Committed | None
    told: Mapping[int, TrialRow]


def gather(db: Database, study_id: str, joined: Joined) -> Gathered:
    """Store what was told, each item alone accepted or refused, and look up what the clients hold; what this writes
    into the log is among `missed`. Raises NotFound."""

    def work(tx: Tx) -> Gathered:
        eventlog.append_once(tx)
        gathered = _gathered(tx, db, eventlog.lock_study(tx, study_id), joined)
        return dataclasses.replace(gathered, missed=(*gathered.missed, *tx.appended))

    if joined.tellings:
        return db.run_write("asking.gather", work)
    with db.read() as tx:
        rows = tx.text("SELECT * FROM studies WHERE id = ? AND deleted_at IS NULL", study_id)
        if not rows:
            raise NotFound(f"there is no study {study_id!r}", remedy="list the studies with `hpo studies`")
        return _gathered(tx, db, rows[0], joined)


def serve(
    db: Database,
    study_id: str,
    *,
    join: Callable[[], Joined],
    choose: Callable[[Gathered, Sequence[Event]], Chosen | None],
) -> Round:
    """`gather`, and in the same transaction what `choose` decides from it and from the events that were appended: for
    algorithms that take no time over it. None where that is not to be decided here. `join` is asked once the study's
    row is held, each time that the transaction is tried. Raises NotFound."""

    def work(tx: Tx) -> Round:
        eventlog.append_once(tx)
        row = eventlog.lock_study(tx, study_id)
        joined = join()
        gathered = _gathered(tx, db, row, joined)
        chosen = choose(gathered, tuple(tx.appended))
        committed = None
        if chosen is not None:
            committed = commit_locked(tx, row, chosen.event, chosen.placements, epoch=row.epoch)
        tx.settle()  # in one turn with what is read
        told = _told(tx, study_id, [t.trial for t in joined.tellings])
        return Round(gathered=gathered, committed=committed, told=told, appended=tuple(tx.appended))

    return db.run_write("asking.serve", work)


@contextlib.contextmanager
def seat(db: Database, study_id: str) -> Iterator[None]:
    """Held by one process at a time while it decides on the study: others would decide for nothing. Reports do not wait
    for it. On SQLite there is one process."""
    if db.is_sqlite:
        yield
        return
    with db.read() as tx:
        tx.text("SELECT pg_advisory_xact_lock(?, hashtext(?))", SEAT, study_id)
        yield


def told_trials(db: Database, study_id: str, numbers: Sequence[int]) -> dict[int, TrialRow]:
    """The trials of these numbers as they stand, by number."""
    if not numbers:
        return {}
    with db.read() as tx:
        return _told(tx, study_id, numbers)


def _told(tx: Tx, study_id: str, numbers: Sequence[int]) -> dict[int, TrialRow]:
    if not numbers:
        return {}
    sql = f"SELECT * FROM trials WHERE study_id = ? AND number {tx.in_list}"
    return {row.number: trial_row(row) for row in tx.text(sql, study_id, tx.listed(numbers))}


def require_external(study: StudyRow) -> None:
    """Raises Conflict where the study trains on our own workers."""
    if not study.external:
        raise Conflict(
            f"study {study.id} trains on the service's own workers",
            remedy="set trainer: {external: true} to train yourself",
        )


def _gathered(tx: Tx, db: Database, row: Any, joined: Joined) -> Gathered:
    """Store what was told of the study of this row, which is locked where anything was, and see how it stands then."""
    looked = _look(tx, db, row, joined)
    heard, changed = _hear(tx, study_row(row), joined.tellings, looked)
    study = study_row(tx.locked.get(row.id, row))
    held: dict[str, list[OpenAttempt]] = {client: [] for client in joined.clients}
    adopters: frozenset[str] = frozenset()
    if joined.clients and study.external:
        mine, silent = _open(tx, looked, joined.clients, changed)
        owners = {(r.trial, r.fence): r.client_id for r in mine}
        for attempt in opening.load_open(tx, study.id, keys=owners) if owners else ():
            held[owners[attempt.trial, attempt.fence]].append(attempt)
        if study.state is StudyState.RUNNING:
            waits = study.counts[TrialState.WAITING.value] > 0 and _interrupted(tx, study.id)
            adopters = frozenset(c for c in joined.clients if waits or any(r.client_id != c for r in silent))
    return Gathered(
        study=study, now=to_datetime(tx.now), heard=heard, held=held, adopters=adopters, missed=looked.missed
    )  # fmt: skip


def _look(tx: Tx, db: Database, row: Any, joined: Joined) -> _Looked:
    """All of it in one turn."""
    tellings, after, missed = joined.tellings, joined.after_seq, None
    if after is not None and after < row.last_seq:
        missed = db.recent.between(row.id, after, row.last_seq)
    gap = after is not None and missed is None and 0 < row.last_seq - after <= logreading.PAGE
    numbers = [telling.trial for telling in tellings]
    reads: list[Read] = []
    if tellings:
        reads += [
            (_KNOWN.format(among=tx.in_list), (row.id, tx.listed(numbers))),
            collecting.works_of(tx, row.id, numbers),
        ]
    if joined.clients:
        reads.append(_opened(tx, row.id, joined.clients))
    if gap:
        assert after is not None
        reads += logreading.reads_between(row, after, row.last_seq)
    found = iter(tx.texts(*reads) if reads else ())
    known, works = (next(found), next(found)) if tellings else ((), ())
    opened = next(found) if joined.clients else ()
    if gap:
        missed = logreading.between(row, next(found), next(found))
    return _Looked(known=known, works=works, open=opened, missed=missed or ())


def _hear(
    tx: Tx, study: StudyRow, tellings: Sequence[Telling], looked: _Looked
) -> tuple[Sequence[Heard], Mapping[tuple[int, int], bool]]:
    """What became of what was told; and of the attempts (trial, fence) that it changed, whether they are over."""
    if not tellings:
        return (), {}
    known = _known(tx, study.id, tellings, looked.known)
    now = to_datetime(tx.now)
    errors: list[HpoError | None] = []
    items: list[CollectItem] = []
    bounds: list[tuple[int, int]] = []
    for telling in tellings:
        error, mine = _items(study, telling, known, now)
        errors.append(error)
        bounds.append((len(items), len(items) + len(mine)))
        items += mine
    results = collecting.collect_locked(tx, items, looked.works)
    changed: dict[tuple[int, int], bool] = {}
    for item, result in zip(items, results, strict=True):
        if result.status == "stored":
            key = (item.trial, item.fence)
            changed[key] = changed.get(key, False) or isinstance(item, EndedItem)
    return [
        Heard(error=error, results=results[start:stop])
        for error, (start, stop) in zip(errors, bounds, strict=True)
    ], changed  # fmt: skip


def _items(
    study: StudyRow, telling: Telling, known: Mapping[int, Mapping[int, Known]], now: datetime
) -> tuple[HpoError | None, Sequence[CollectItem]]:
    of_trial = known.get(telling.trial, {})
    newest = max(of_trial, default=0)
    try:
        require_external(study)
        if telling.fence not in of_trial:
            raise NotFound(
                f"trial {telling.trial} has no attempt {telling.fence}", remedy=f"its newest attempt is {newest}"
            )
        if telling.fence < newest:
            raise FenceRefused(
                f"trial {telling.trial} has the newer attempt {newest}, but this is about {telling.fence}",
                remedy="give the trial up: another worker has it",
            )
        return None, telling.items(study, of_trial[telling.fence], now)
    except HpoError as error:
        return error, ()


def _known(
    tx: Tx, study_id: str, tellings: Sequence[Telling], rows: Sequence[Any]
) -> dict[int, dict[int, Known]]:  # fmt: skip
    """By trial and fence, the attempts of the told trials; what their reports say only for those that are told of."""
    told = {telling.trial: telling.fence for telling in tellings}
    found: dict[int, dict[int, Known]] = {}
    for row in rows:
        last = _last(row) if told[row.trial] == row.fence else None
        step = 0 if last is None else last.step + 1
        if last is None and row.fence > 1:
            step = _next_step(tx, row)
        found.setdefault(row.trial, {})[row.fence] = Known(attempt=attempt_row(row), last=last, next_step=step)
    return found


def _last(row: Any) -> ReportRecord | None:
    if row.told_at is None:
        return None
    metrics = load_metrics(row.told_metrics)
    key = {"study_id": row.study_id, "trial": row.trial, "fence": row.fence, "step": row.last_step}
    return ReportRecord(**key, resource=row.told_resource, metrics=metrics, at=to_datetime(row.told_at))


def _next_step(tx: Tx, row: Row[Any]) -> int:
    sql = "SELECT max(step) AS newest FROM reports WHERE study_id = ? AND trial = ?"
    newest = tx.text(sql, row.study_id, row.trial)[0].newest
    return 0 if newest is None else int(newest) + 1


def _opened(tx: Tx, study_id: str, clients: Collection[str]) -> Read:
    """Reads the clients' open attempts, and those whose lease has expired, whosever they are."""
    mine = "IN (SELECT value FROM json_each(?))" if tx.sqlite else "= ANY(?::text[])"
    sql = (
        "SELECT trial, fence, client_id, lease_expires_at FROM attempts "
        f"WHERE study_id = ? AND state = 'open' AND (client_id {mine} OR lease_expires_at <= ?)"
    )
    return sql, (study_id, json.dumps(list(clients)) if tx.sqlite else list(clients), tx.now)


def _open(
    tx: Tx, looked: _Looked, clients: Collection[str], changed: Mapping[tuple[int, int], bool]
) -> tuple[list[Any], list[Any]]:
    """Of what was open those that still are: the clients', and those whose lease has expired. What was reported of one
    has prolonged its lease."""
    rows = [r for r in looked.open if (r.trial, r.fence) not in changed or not changed[r.trial, r.fence]]
    silent = [
        r for r in rows
        if r.lease_expires_at is not None and r.lease_expires_at <= tx.now and (r.trial, r.fence) not in changed
    ]  # fmt: skip
    return [r for r in rows if r.client_id in clients], silent


def _interrupted(tx: Tx, study_id: str) -> bool:
    sql = "SELECT number FROM trials WHERE study_id = ? AND state = 'waiting' AND fence > 0 LIMIT 1"
    return bool(tx.text(sql, study_id))
