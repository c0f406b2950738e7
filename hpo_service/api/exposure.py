"""Whether the service may be reached at its address without tokens. Light: it is asked before the API is loaded."""

from __future__ import annotations

from hpo_service.errors import Conflict
from hpo_service.settings import Settings
from hpo_service.store import access
from hpo_service.store.database import Database


def require_tokens(settings: Settings, db: Database) -> None:
    """Raises Conflict where the address is not loopback and no token exists: who reaches the port could run code."""
    if not settings.is_loopback and not access.any_tokens(db):
        raise Conflict(
            f"the address {settings.host} is not loopback, so every request needs a token, but there is none",
            remedy="make one with hpo token create NAME --role admin, or listen on 127.0.0.1",
        )
