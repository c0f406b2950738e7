"""Opening attempts: the rows of `attempts`, and what a work order needs to know. Decides nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, select

from hpo_service.store.mapping import checkpoint_row, limit, unlimited
from hpo_service.store.rows import CheckpointRow, OpenAttempt, Placement
from hpo_service.store.tables import attempts, blobs, checkpoints, trials
from hpo_service.store.tx import Tx

_COLUMNS = (
    "study_id", "trial", "fence", "state", "launch", "lane", "width", "method", "client_id", "lease_s",
    "lease_expires_at", "from_resource", "target", "horizon", "resource", "opened_at",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """An attempt to be opened."""

    trial: int
    fence: int
    params: Mapping[str, Any]
    target: float
    horizon: float
    parent: int | None = None
    parent_resource: float | None = None


def open_all(
    tx: Tx, study_id: str, openings: Sequence[Opening], placements: Mapping[int, Placement]
) -> tuple[OpenAttempt, ...]:
    """Write one open attempt per opening; returns them in the same order. The trials' rows exist already."""
    known = _known_checkpoints(tx, study_id, openings)
    opened = tuple(_opened(study_id, o, placements.get(o.trial, Placement()), known) for o in openings)
    rows = []
    for attempt in opened:
        placement = placements.get(attempt.trial, Placement())
        expires = None if placement.lease_s is None else tx.now + int(placement.lease_s * 1e6)
        rows.append(
            (
                study_id,
                attempt.trial,
                attempt.fence,
                "open",
                attempt.launch,
                attempt.lane,
                attempt.width,
                attempt.method,
                placement.client_id,
                placement.lease_s,
                expires,
                attempt.from_resource,
                limit(attempt.target),
                limit(attempt.horizon),
                attempt.from_resource,
                tx.now,
            )
        )
    tx.insert(attempts, _COLUMNS, rows)
    return opened


def load_open(
    tx: Tx, study_id: str, *, keys: Iterable[tuple[int, int]] | None = None, client_id: str | None = None
) -> tuple[OpenAttempt, ...]:
    """The study's open attempts by trial number, those with the given (trial, fence) or of one client."""
    a, t = attempts.c, trials.c
    statement = (
        select(attempts, t.params, t.parent, t.parent_resource, t.horizon.label("trial_horizon"))
        .join(trials, (t.study_id == a.study_id) & (t.number == a.trial))
        .where(a.study_id == study_id, a.state == "open")
        .order_by(a.trial)
    )
    if client_id is not None:
        statement = statement.where(a.client_id == client_id)
    rows = tx.all(statement)
    if keys is not None:
        wanted = set(keys)
        rows = [row for row in rows if (row.trial, row.fence) in wanted]
    known = _known_checkpoints(tx, study_id, [_opening(row) for row in rows])
    return tuple(_opened(study_id, _opening(row), _placement(row), known) for row in rows)


def checkpoints_of(tx: Tx, study_id: str, numbers: Iterable[int]) -> dict[int, list[CheckpointRow]]:
    """The stored checkpoints of the trials, newest first."""
    found: dict[int, list[CheckpointRow]] = {}
    c = checkpoints.c
    statement = (
        select(checkpoints, blobs.c.size_bytes)
        .join(blobs, blobs.c.digest == c.digest)
        .where(c.study_id == study_id, tx.among(c.trial, numbers))
        .order_by(c.trial, c.fence.desc(), c.step.desc())
    )
    for row in tx.all(statement):
        found.setdefault(row.trial, []).append(checkpoint_row(row))
    return found


def _known_checkpoints(tx: Tx, study_id: str, openings: Sequence[Opening]) -> dict[int, list[CheckpointRow]]:
    numbers = {o.trial for o in openings if o.fence > 1}
    numbers |= {o.parent for o in openings if o.parent is not None}
    return checkpoints_of(tx, study_id, numbers) if numbers else {}


def _opened(
    study_id: str, opening: Opening, placement: Placement, known: Mapping[int, Sequence[CheckpointRow]]
) -> OpenAttempt:
    usable = _usable(opening, known)
    return OpenAttempt(
        study_id=study_id,
        trial=opening.trial,
        fence=opening.fence,
        params=opening.params,
        from_resource=usable[0].resource if usable else 0.0,
        target=opening.target,
        horizon=opening.horizon,
        launch=placement.launch,
        lane=placement.lane,
        width=placement.width,
        method=placement.method,
        checkpoints=usable,
        parent=opening.parent,
    )


def _usable(opening: Opening, known: Mapping[int, Sequence[CheckpointRow]]) -> tuple[CheckpointRow, ...]:
    """The trial's own checkpoints of earlier attempts; where it has none, its parent's up to the agreed level."""
    own = tuple(c for c in known.get(opening.trial, ()) if c.fence < opening.fence)
    if own or opening.parent is None:
        return own
    level = unlimited(opening.parent_resource)
    return tuple(c for c in known.get(opening.parent, ()) if c.resource <= level)


def _opening(row: Row[Any]) -> Opening:
    return Opening(
        trial=row.trial,
        fence=row.fence,
        params=json.loads(row.params),
        target=unlimited(row.target),
        horizon=unlimited(row.trial_horizon),
        parent=row.parent,
        parent_resource=row.parent_resource,
    )


def _placement(row: Row[Any]) -> Placement:
    return Placement(launch=row.launch, lane=row.lane, width=row.width, method=row.method)
