"""Checkpoints as rows, and the content-addressed blobs that they refer to, with their reference counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select, update

from hpo_service.store.rows import CheckpointItem
from hpo_service.store.tables import blobs, checkpoints
from hpo_service.store.tx import Tx, clean

KEPT_PER_ATTEMPT = 2
"""A worker keeps the newest two files of an attempt; older rows would name files that are gone."""
CHECKPOINT_MEDIA_TYPE = "application/x-hpo-checkpoint"
_CHECKPOINT = ("study_id", "trial", "fence", "step", "resource", "path", "digest", "at")
_BLOB = ("digest", "size_bytes", "media_type", "path", "references", "created_at")
_COUNT_UP = (
    'ON CONFLICT (digest) DO UPDATE SET "references" = blobs."references" + excluded."references", path = excluded.path'
)


@dataclass(frozen=True, slots=True)
class NewCheckpoint:
    """A checkpoint to be stored, of attempt (trial, fence)."""

    study_id: str
    trial: int
    fence: int
    item: CheckpointItem


def stored(tx: Tx, study_id: str, numbers: Iterable[int]) -> dict[tuple[int, int], dict[int, str]]:
    """The digests of the trials' checkpoints: by (trial, fence), then by step."""
    c = checkpoints.c
    statement = select(c.trial, c.fence, c.step, c.digest).where(c.study_id == study_id, tx.among(c.trial, numbers))
    found: dict[tuple[int, int], dict[int, str]] = {}
    for row in tx.all(statement):
        found.setdefault((row.trial, row.fence), {})[row.step] = row.digest
    return found


def add(tx: Tx, new: Sequence[NewCheckpoint]) -> None:
    """Insert checkpoints that are not stored yet, and count up their blobs."""
    merged: dict[str, list[object]] = {}
    for one in new:
        item = one.item
        row = merged.setdefault(
            item.digest, [item.digest, item.size_bytes, CHECKPOINT_MEDIA_TYPE, clean(item.path), 0, tx.now]
        )
        row[3], row[4] = clean(item.path), int(str(row[4])) + 1
    tx.insert(blobs, _BLOB, [tuple(row) for row in merged.values()], conflict=_COUNT_UP)
    rows = [
        (
            o.study_id,
            o.trial,
            o.fence,
            o.item.step,
            o.item.resource,
            clean(o.item.path),
            o.item.digest,
            tx.now,
        )
        for o in new
    ]
    tx.insert(checkpoints, _CHECKPOINT, rows)


def remove(tx: Tx, study_id: str, old: Sequence[tuple[int, int, int, str]]) -> None:
    """Remove checkpoints given as (trial, fence, step, digest), and count down their blobs."""
    c = checkpoints.c
    for trial, fence, step, _ in old:
        tx.execute(
            delete(checkpoints).where(c.study_id == study_id, c.trial == trial, c.fence == fence, c.step == step)
        )
    release(tx, Counter(digest for *_, digest in old))


def remove_range(tx: Tx, study_id: str, first: int, until: int) -> None:
    """Remove the checkpoints of the trials `first` … `until - 1`, and count down their blobs."""
    c = checkpoints.c
    mine = (c.study_id == study_id, c.trial >= first, c.trial < until)
    counted = Counter(row.digest for row in tx.all(select(c.digest).where(*mine)))
    tx.execute(delete(checkpoints).where(*mine))
    release(tx, counted)


def release(tx: Tx, counted: Mapping[str, int]) -> None:
    """Count blobs down; the unused ones go, the others name a copy that is still there."""
    if not counted:
        return
    references = blobs.c["references"]
    found = tx.all(select(blobs.c.digest, references.label("n")).where(tx.among(blobs.c.digest, counted)))
    tx.update(blobs, ("digest",), ("references",), [(row.n - counted[row.digest], row.digest) for row in found])
    tx.execute(delete(blobs).where(tx.among(blobs.c.digest, counted), references <= 0))
    copy = select(checkpoints.c.path).where(checkpoints.c.digest == blobs.c.digest).limit(1).scalar_subquery()
    tx.execute(update(blobs).where(tx.among(blobs.c.digest, counted)).values(path=copy))
