"""Idempotency keys: what a request with a key did, for 24 hours, so that repeating it does nothing more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, delete, select, update

from hpo_service.errors import Conflict
from hpo_service.store.rows import Remember
from hpo_service.store.tables import remembered as table
from hpo_service.store.tx import Tx, dump

LIFETIME_US = 24 * 3600 * 1_000_000
_COLUMNS = ("scope", "key", "request_digest", "result", "created_at", "expires_at")


def claim(tx: Tx, remember: Remember | None) -> dict[str, Any] | None:
    """Take the key for this transaction. None: it is ours, do the work. Else what the earlier request did.

    Raises Conflict when the key was used for another request.
    """
    if remember is None:
        return None
    tx.execute(delete(table).where(table.c.expires_at <= tx.now))
    row = (remember.scope, remember.key, remember.request_digest, None, tx.now, tx.now + LIFETIME_US)
    before = _find(tx, remember)
    if before is None:
        tx.insert(table, _COLUMNS, [row], conflict="ON CONFLICT DO NOTHING")
        before = _find(tx, remember)
        if before is None or before.result is None:
            return None
    return _result(before, remember)


def keep(tx: Tx, remember: Remember | None, result: Mapping[str, Any]) -> None:
    """Write what the request did beside its claimed key."""
    if remember is None:
        return
    found = (table.c.scope == remember.scope, table.c.key == remember.key)
    tx.execute(update(table).where(*found).values(result=dump(dict(result))))


def look(tx: Tx, remember: Remember) -> dict[str, Any] | None:
    """What an earlier request with this key did; None where there was none. Raises Conflict like `claim`."""
    row = _find(tx, remember)
    if row is None or row.expires_at <= tx.now:
        return None
    return _result(row, remember)


def _find(tx: Tx, remember: Remember) -> Row[Any] | None:
    return tx.first(select(table).where(table.c.scope == remember.scope, table.c.key == remember.key))


def _result(row: Row[Any], remember: Remember) -> dict[str, Any]:
    if row.request_digest != remember.request_digest:
        raise Conflict(
            f"an Idempotency-Key names one request, but {remember.key!r} was used for another one",
            remedy="send a fresh key with a new request",
        )
    result: dict[str, Any] = json.loads(row.result or "{}")
    return result
