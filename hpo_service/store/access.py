"""Tokens, stored as SHA-256 of their secret, and results remembered under idempotency keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, insert, select, update

from hpo_service.errors import NotFound
from hpo_service.store import idempotency
from hpo_service.store.database import Database
from hpo_service.store.rows import Remember, TokenRow
from hpo_service.store.tables import tokens
from hpo_service.store.tx import Tx, clean, to_datetime, to_datetime_or_none

PREFIX = "hpo_"
USED_EVERY_US = 60 * 1_000_000
"""`used_at` is written at most once a minute."""


def create_token(
    db: Database,
    *,
    name: str,
    role: str,
    project: str = "*",
    may_submit_code: bool = False,
    ttl: timedelta | None = None,
) -> tuple[TokenRow, str]:
    """A new token and its secret, which is shown this once. `ttl` None: it does not expire."""
    secret = PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")

    def work(tx: Tx) -> TokenRow:
        row = {
            "id": "t" + base64.b32encode(secrets.token_bytes(10)).decode().lower(),
            "name": clean(name),
            "role": role,
            "project": project,
            "may_submit_code": may_submit_code,
            "secret_sha256": _digest(secret),
            "created_at": tx.now,
            "expires_at": None if ttl is None else tx.now + ttl // timedelta(microseconds=1),
        }
        tx.execute(insert(tokens).values(row))
        return _token(tx.all(select(tokens).where(tokens.c.id == row["id"]))[0])

    return db.run_write("access.create_token", work), secret


def find_token(db: Database, secret: str) -> TokenRow | None:
    """The token with this secret; None for an unknown, expired or revoked one."""
    digest = _digest(secret)
    with db.read() as tx:
        row = tx.first(select(tokens).where(tokens.c.secret_sha256 == digest))
        now = tx.now
    if row is None or not hmac.compare_digest(row.secret_sha256, digest):
        return None
    if row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now):
        return None
    if row.used_at is None or row.used_at < now - USED_EVERY_US:
        db.run_write("access.use_token", lambda tx: _use(tx, row.id))
    return _token(row)


def list_tokens(db: Database) -> list[TokenRow]:
    """Every token, oldest first, revoked and expired ones too."""
    with db.read() as tx:
        return [_token(row) for row in tx.all(select(tokens).order_by(tokens.c.created_at, tokens.c.id))]


def revoke_token(db: Database, token_id: str) -> TokenRow:
    """Revoke the token with this id for good. Raises NotFound."""

    def work(tx: Tx) -> TokenRow:
        mine = tokens.c.id == token_id
        tx.execute(update(tokens).where(mine, tokens.c.revoked_at.is_(None)).values(revoked_at=tx.now))
        row = tx.first(select(tokens).where(mine))
        if row is None:
            raise NotFound(f"there is no token {token_id!r}", remedy="list them with `hpo token list`")
        return _token(row)

    return db.run_write("access.revoke_token", work)


def any_tokens(db: Database) -> bool:
    """Whether some token is valid now."""
    with db.read() as tx:
        alive = (tokens.c.expires_at.is_(None)) | (tokens.c.expires_at > tx.now)
        statement = select(tokens.c.id).where(tokens.c.revoked_at.is_(None), alive).limit(1)
        return tx.first(statement) is not None


def remembered(db: Database, remember: Remember) -> dict[str, Any] | None:
    """What an earlier request with this idempotency key did; None where there was none in the last 24 hours.
    Raises Conflict when the key was used for another request."""
    with db.read() as tx:
        return idempotency.look(tx, remember)


def keep_result(db: Database, remember: Remember, result: Mapping[str, Any]) -> dict[str, Any]:
    """Remember what a request did whose verb takes no key itself; the first result that was kept under the key."""

    def work(tx: Tx) -> dict[str, Any]:
        earlier = idempotency.claim(tx, remember)
        if earlier is not None:
            return earlier
        idempotency.keep(tx, remember, result)
        return dict(result)

    return db.run_write("access.keep_result", work)


def _use(tx: Tx, token_id: str) -> None:
    tx.execute(update(tokens).where(tokens.c.id == token_id).values(used_at=tx.now))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _token(r: Row[Any]) -> TokenRow:
    return TokenRow(
        id=r.id,
        name=r.name,
        role=r.role,
        project=r.project,
        may_submit_code=bool(r.may_submit_code),
        created_at=to_datetime(r.created_at),
        expires_at=to_datetime_or_none(r.expires_at),
        revoked_at=to_datetime_or_none(r.revoked_at),
        used_at=to_datetime_or_none(r.used_at),
    )
