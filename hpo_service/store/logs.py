"""What attempts print: appended in pieces, at most 1 MiB per attempt, read on from where a reader stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from hpo_service.errors import NotFound
from hpo_service.store.database import Database
from hpo_service.store.tables import attempts, log_chunks, trials
from hpo_service.store.tx import Tx, clean

LIMIT_BYTES = 1 << 20
CUT = "\n[the log is cut here: an attempt keeps at most 1 MiB]\n"
READ_CHARS = 1 << 20


def append_logs(db: Database, texts: Sequence[tuple[str, int, int, str]]) -> None:
    """Append (study_id, trial, fence, text) in order. What passes an attempt's limit is dropped with a note; texts of
    unknown attempts are dropped."""
    joined: dict[tuple[str, int, int], list[str]] = {}
    for study_id, trial, fence, text in texts:
        joined.setdefault((study_id, trial, fence), []).append(text)
    pieces = {key: clean("".join(parts)) for key, parts in joined.items()}

    def work(tx: Tx) -> None:
        sizes = _sizes(tx, pieces)
        chunks: list[tuple[Any, ...]] = []
        updates: list[tuple[Any, ...]] = []
        for key, text in pieces.items():
            size = sizes.get(key)
            if size is None or not text or size[0] > LIMIT_BYTES:
                continue
            used, chars = size
            kept, length = _fitting(text, LIMIT_BYTES - used)
            chunks.append((*key, chars, kept))
            updates.append((used + length, chars + len(kept), *key))
        tx.insert(log_chunks, ("study_id", "trial", "fence", "start", "content"), chunks)
        tx.update(attempts, ("study_id", "trial", "fence"), ("log_bytes", "log_chars"), updates)

    if pieces:
        db.run_write("logs.append", work)


def read_log(db: Database, study_id: str, trial: int, *, fence: int | None = None, after: int = 0) -> tuple[str, int]:
    """The log of an attempt (the newest where `fence` is None) from character `after` on, at most a million
    characters, and the position to go on from. Raises NotFound for an unknown trial."""
    c = log_chunks.c
    with db.read() as tx:
        newest = tx.first(select(trials.c.fence).where(trials.c.study_id == study_id, trials.c.number == trial))
        if newest is None:
            raise NotFound(f"study {study_id} has no trial {trial}", remedy="list them with `hpo trials`")
        of = (c.study_id == study_id, c.trial == trial, c.fence == (newest.fence if fence is None else fence))
        first = tx.first(select(c.start).where(*of, c.start <= after).order_by(c.start.desc()).limit(1))
        start = first.start if first is not None else 0
        rows = tx.all(select(c.start, c.content).where(*of, c.start >= start).order_by(c.start))
    if not rows:
        return "", after
    text = "".join(row.content for row in rows)[max(after - rows[0].start, 0) :][:READ_CHARS]
    return text, max(after, rows[0].start) + len(text)


def _sizes(
    tx: Tx, keys: Sequence[Any] | dict[tuple[str, int, int], str]
) -> dict[tuple[str, int, int], tuple[int, int]]:
    """Bytes and characters that each attempt has stored, its row locked."""
    by_study: dict[str, set[int]] = {}
    for study_id, trial, _ in keys:
        by_study.setdefault(study_id, set()).add(trial)
    found: dict[tuple[str, int, int], tuple[int, int]] = {}
    a = attempts.c
    for study_id in sorted(by_study):
        statement = select(a.trial, a.fence, a.log_bytes, a.log_chars).where(
            a.study_id == study_id, tx.among(a.trial, by_study[study_id])
        )
        for row in tx.all(statement.order_by(a.trial, a.fence).with_for_update()):
            found[(study_id, row.trial, row.fence)] = (row.log_bytes, row.log_chars)
    return found


def _fitting(text: str, room: int) -> tuple[str, int]:
    """The text cut to `room` bytes, with the note where something is missing; and how many bytes count as used: one
    more than there was room for says that the log is cut."""
    raw = text.encode()
    if len(raw) <= room:
        return text, len(raw)
    return raw[:room].decode(errors="ignore") + CUT, room + 1
