"""Which stored checkpoint of a trial is given out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpo_service.errors import NotFound
from hpo_service.storage import confined
from hpo_service.store.rows import CheckpointRow


def newest(root: Path, rows: Sequence[CheckpointRow]) -> tuple[CheckpointRow, Path]:
    """The newest checkpoint whose file is there with its recorded size. Raises NotFound where none is."""
    for row in rows:
        path = confined(root, row.path)
        if path.is_file() and path.stat().st_size == row.size_bytes:
            return row, path
    raise NotFound(
        "the trial has no stored checkpoint",
        remedy="see its attempts; checkpoints of stopped trials and ended studies are removed in time",
    )
