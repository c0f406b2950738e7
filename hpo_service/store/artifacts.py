"""Artifacts as rows: files that trials kept. Where their bytes lie, and how they got there, is not known here.

They are kept as long as their study and go with it; no other rule removes one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, and_, or_, select

from hpo_service.errors import NotFound
from hpo_service.store import cursors, eventlog
from hpo_service.store.database import Database
from hpo_service.store.rows import Collected
from hpo_service.store.tables import artifacts, attempts, studies, trials
from hpo_service.store.tx import Tx, clean, to_datetime

_COLUMNS = ("id", "study_id", "trial", "fence", "name", "location", "digest", "size_bytes", "media_type", "at")
_SORT = "artifacts"


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactItem:
    """A file that is safely stored: `location` is relative to the artifacts' root, `digest` the SHA-256."""

    id: str
    study_id: str
    trial: int
    fence: int
    name: str
    location: str
    digest: str
    size_bytes: int
    media_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactRow:
    """An artifact as it is stored."""

    id: str
    study_id: str
    trial: int
    fence: int
    name: str
    location: str
    digest: str
    size_bytes: int
    media_type: str
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ArtifactPage:
    rows: Sequence[ArtifactRow]
    next_cursor: str | None


def add_artifacts(db: Database, items: Sequence[ArtifactItem]) -> list[Collected]:
    """Store the items; what became of each, in their order: stored, repeated (the id is known), fenced or unknown.

    Like a report, one comes from the trial's newest attempt or is refused; that attempt may be over by then.
    """
    if not items:
        return []

    def work(tx: Tx) -> list[Collected]:
        alive = eventlog.lock_studies(tx, {item.study_id for item in items})
        known = {
            row.id for row in tx.all(select(artifacts.c.id).where(tx.among(artifacts.c.id, [i.id for i in items])))
        }
        newest = _fences(tx, items)
        results, rows = [], []
        for item in items:
            result = _judged(item, newest if item.study_id in alive else {}, known)
            results.append(result)
            if result.status == "stored":
                known.add(item.id)
                rows.append((
                    item.id, item.study_id, item.trial, item.fence, clean(item.name), item.location, item.digest,
                    item.size_bytes, clean(item.media_type), tx.now,
                ))  # fmt: skip
        tx.insert(artifacts, _COLUMNS, rows)
        return results

    return db.run_write("artifacts.add", work)


def require_newest(db: Database, study_id: str, trial: int, fence: int) -> Collected:
    """What would become of an artifact of this attempt, before its bytes are taken."""
    probe = ArtifactItem(
        id="", study_id=study_id, trial=trial, fence=fence, name="", location="", digest="", size_bytes=0, media_type=""
    )
    with db.read() as tx:
        return _judged(probe, _fences(tx, [probe]), set())


def list_artifacts(
    db: Database, study_id: str, trial: int, *, cursor: str | None = None, limit: int = 100
) -> ArtifactPage:
    """A page of a trial's artifacts, of all its attempts, in the order in which they were stored.

    Raises NotFound for an unknown trial.
    """
    a = artifacts.c
    with db.read() as tx:
        if tx.first(select(trials.c.fence).where(trials.c.study_id == study_id, trials.c.number == trial)) is None:
            raise NotFound(f"study {study_id} has no trial {trial}", remedy="list them with `hpo trials`")
        statement = select(artifacts).where(a.study_id == study_id, a.trial == trial)
        if cursor is not None:
            at, last = cursors.unpack(cursor, _SORT, (int, str))
            statement = statement.where(or_(a.at > at, and_(a.at == at, a.id > last)))
        found = tx.all(statement.order_by(a.at, a.id).limit(limit + 1))
    page, more = found[:limit], len(found) > limit
    return ArtifactPage(
        rows=[_row(row) for row in page],
        next_cursor=cursors.pack(_SORT, (page[-1].at, page[-1].id)) if more else None,
    )


def get_artifact(db: Database, study_id: str, trial: int, artifact_id: str) -> ArtifactRow:
    """One artifact of a trial. Raises NotFound."""
    a = artifacts.c
    with db.read() as tx:
        row = tx.first(select(artifacts).where(a.id == artifact_id, a.study_id == study_id, a.trial == trial))
    if row is None:
        raise NotFound(
            f"trial {trial} of study {study_id} has no artifact {artifact_id[:100]!r}",
            remedy="list them: hpo artifacts",
        )
    return _row(row)


def deleted_studies(db: Database, among: Sequence[str]) -> list[str]:
    """Those of the ids that a study had which was deleted. An id that was never given is not among them."""
    s = studies.c
    with db.read() as tx:
        found = tx.all(select(s.id).where(tx.among(s.id, among), s.deleted_at.is_not(None)).order_by(s.id))
    return [row.id for row in found]


def _fences(tx: Tx, items: Sequence[ArtifactItem]) -> dict[tuple[str, int], int]:
    """The newest attempt's fence of the items' trials; trials that were never attempted are left out."""
    found: dict[tuple[str, int], int] = {}
    t = attempts.c
    for study_id in {item.study_id for item in items}:
        numbers = {item.trial for item in items if item.study_id == study_id}
        statement = select(t.trial, t.fence).where(t.study_id == study_id, tx.among(t.trial, numbers))
        for row in tx.all(statement):
            found[(study_id, row.trial)] = max(row.fence, found.get((study_id, row.trial), 0))
    return found


def _judged(item: ArtifactItem, newest: dict[tuple[str, int], int], known: set[str]) -> Collected:
    if item.id in known:
        return Collected(status="repeated")
    fence = newest.get((item.study_id, item.trial))
    if fence is None or item.fence > fence:
        return Collected(status="unknown", message=f"there is no attempt {item.fence} of trial {item.trial}")
    if item.fence < fence:
        return Collected(
            status="fenced", message=f"attempt {item.fence} of trial {item.trial} was given up: {fence} is newer"
        )
    return Collected(status="stored")


def _row(row: Row[Any]) -> ArtifactRow:
    return ArtifactRow(**{name: getattr(row, name) for name in _COLUMNS[:-1]}, at=to_datetime(row.at))
