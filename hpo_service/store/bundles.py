"""Bundles of code that were uploaded: what is in them, for which project, and when they go. Their archives lie in the
storage folder, one per digest; who uploads the same again is told so.

A bundle is kept while a study of its project names it, and for the declared retention after it was last used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Row, and_, delete, exists, not_, select, update

from hpo_service.errors import NotFound
from hpo_service.store.database import Database
from hpo_service.store.tables import bundles, studies
from hpo_service.store.tx import Tx, clean, dump, to_datetime

_COLUMNS = ("digest", "size_bytes", "files", "project", "created_by", "created_at", "used_at")
_AGAIN = "ON CONFLICT (digest, project) DO UPDATE SET used_at = excluded.used_at"
Files = Mapping[str, Sequence[str | int]]
"""Name → [SHA-256, size in bytes]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BundleRow:
    """A bundle as one project knows it."""

    digest: str
    size_bytes: int
    files: Files
    project: str
    created_by: str
    created_at: datetime
    used_at: datetime


def put_bundle(db: Database, *, digest: str, size_bytes: int, files: Files, project: str, created_by: str) -> BundleRow:
    """Know this bundle in the project from now on; the first one who brought it stays its maker."""
    text = dump({clean(name): list(one) for name, one in files.items()})

    def work(tx: Tx) -> BundleRow:
        row = (digest, size_bytes, text, project, clean(created_by), tx.now, tx.now)
        tx.insert(bundles, _COLUMNS, [row], conflict=_AGAIN)
        return _bundle(tx.all(select(bundles).where(_is(digest, project)))[0])

    return db.run_write("bundles.put", work)


def find_bundle(db: Database, digest: str, project: str | None = None) -> BundleRow | None:
    """The bundle of that digest in the project, or in any; None where it is not known."""
    with db.read() as tx:
        statement = select(bundles).where(bundles.c.digest == digest).order_by(bundles.c.created_at)
        row = tx.first(statement if project is None else statement.where(bundles.c.project == project))
    return None if row is None else _bundle(row)


def use_bundle(db: Database, digest: str, project: str) -> None:
    """A study is about to be submitted with it: it stays for another while. Raises NotFound where it is not known."""

    def work(tx: Tx) -> None:
        if not tx.execute(update(bundles).where(_is(digest, project)).values(used_at=tx.now)).rowcount:
            raise NotFound(
                f"the project {project!r} has no bundle {digest}",
                remedy="upload the code: hpo submit --code, or client.upload_code",
            )

    db.run_write("bundles.use", work)


def let_bundles_go(db: Database, *, retention_s: float, remove: Callable[[str], None], limit: int = 100) -> list[str]:
    """Forget up to `limit` bundles that no study names and that were not used for `retention_s`; their digests.

    `remove` is told, inside the transaction, each digest that no project knows any more: its archive goes.
    """
    with db.read() as tx:
        if not _unused(tx, retention_s, 1):
            return []

    def work(tx: Tx) -> list[str]:
        found = _unused(tx, retention_s, limit)
        # Asked again where it goes: on PostgreSQL somebody may have used it since.
        still = _is_unused(tx, retention_s)
        gone = {r.digest for r in found if tx.execute(delete(bundles).where(_is(r.digest, r.project), *still)).rowcount}
        for digest in sorted(gone):
            if tx.first(select(bundles.c.digest).where(bundles.c.digest == digest)) is None:
                remove(digest)
        return sorted(gone)

    return db.run_write("bundles.let_go", work)


def _unused(tx: Tx, retention_s: float, limit: int) -> Sequence[Row[tuple[str, str]]]:
    b = bundles.c
    chosen = select(b.digest, b.project).where(*_is_unused(tx, retention_s))
    return tx.all(chosen.order_by(b.digest, b.project).limit(limit))


def _is_unused(tx: Tx, retention_s: float) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    b, s = bundles.c, studies.c
    named = exists().where(and_(s.project == b.project, s.definition.contains(b.digest)))
    return b.used_at < tx.now - int(retention_s * 1e6), not_(named)


def _is(digest: str, project: str) -> ColumnElement[bool]:
    return and_(bundles.c.digest == digest, bundles.c.project == project)


def _bundle(row: Row[tuple[str, int, str, str, str, int, int]]) -> BundleRow:
    return BundleRow(
        digest=row.digest,
        size_bytes=row.size_bytes,
        files=json.loads(row.files),
        project=row.project,
        created_by=row.created_by,
        created_at=to_datetime(row.created_at),
        used_at=to_datetime(row.used_at),
    )
