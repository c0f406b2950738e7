"""Removes from the storage what no rule keeps any more: checkpoints, bundles of code. The rules are the store's."""

from __future__ import annotations

from pathlib import Path

from hpo_service import storage
from hpo_service.store import bundles, retention
from hpo_service.store.database import Database


def tidy(db: Database, storage_root: Path, *, retention_days: float) -> None:
    """Remove up to some hundreds of files; to be called again. Raises what the database raises."""
    retention_s = retention_days * 86_400
    storage.remove(storage_root, retention.let_go(db, retention_s=retention_s))

    def remove(digest: str) -> None:
        storage.remove(storage_root, [storage.bundle_path(digest)])

    bundles.let_bundles_go(db, retention_s=retention_s, remove=remove)
