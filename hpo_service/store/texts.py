"""Texts that environments name by their SHA-256, such as the diff on top of a git commit: each is stored once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select

from hpo_service.store.database import Database
from hpo_service.store.tables import texts
from hpo_service.store.tx import Tx, clean

MOST_CHARACTERS = 1 << 20
"""Of a longer text the beginning is kept."""
_DIGEST_LENGTH = 64


def without(environment: Mapping[str, Any]) -> Mapping[str, Any]:
    """The environment as it is stored: its texts lie beside it."""
    return {name: value for name, value in environment.items() if name != "texts"}


def keep(tx: Tx, environments: Iterable[Mapping[str, Any]]) -> None:
    """Store the texts that came with these environments."""
    found: dict[str, str] = {}
    for environment in environments:
        given = environment.get("texts")
        if isinstance(given, Mapping):
            found |= {d: t for d, t in given.items() if isinstance(t, str) and _is_digest(d)}
    rows = [(digest, clean(text[:MOST_CHARACTERS]), tx.now) for digest, text in found.items()]
    tx.insert(texts, ("digest", "content", "created_at"), rows, conflict="ON CONFLICT DO NOTHING")


def read(db: Database, digests: Iterable[str]) -> dict[str, str]:
    """Those of the texts that are stored, by digest."""
    wanted = sorted(set(digests))
    if not wanted:
        return {}
    with db.read() as tx:
        rows = tx.all(select(texts.c.digest, texts.c.content).where(tx.among(texts.c.digest, wanted)))
    return {row.digest: row.content for row in rows}


def _is_digest(word: Any) -> bool:
    return isinstance(word, str) and len(word) == _DIGEST_LENGTH and set(word) <= set("0123456789abcdef")
