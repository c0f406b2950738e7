"""Files under the storage root: paths confined to it, and their removal. Their records live in the store."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from hpo_service.errors import NotFound, Unavailable

logger = logging.getLogger(__name__)
PREDICTIONS = "-predictions.npz"
"""How such a file's name ends, behind the attempt's fence: `workers.predictions` names them."""


def confined(root: Path, relative: str) -> Path:
    """The file `relative` under `root`. Raises NotFound where the path, links resolved, leaves the root."""
    base = root.resolve()
    path = (base / relative).resolve()
    if not path.is_relative_to(base) or path == base:
        raise NotFound(f"the checkpoint {relative!r} is not in the storage", remedy="see hpo doctor")
    return path


def remove(root: Path, paths: Iterable[str]) -> None:
    """Remove files and the folders that become empty; what is gone already or cannot go is only logged."""
    base = root.resolve()
    for relative in paths:
        try:
            path = confined(root, relative)
            path.unlink(missing_ok=True)
        except (OSError, NotFound) as error:
            logger.warning("checkpoint %s was not removed: %s", relative, error)
            continue
        with contextlib.suppress(OSError):
            for folder in path.parents:
                if folder == base:
                    break
                folder.rmdir()


def predictions_of(root: Path, study_id: str) -> list[str]:
    """The files of predictions that a confirmation's trials left beside their checkpoints; no store has them on
    record. Relative to `root`, in the order of trials and attempts."""
    base = root / "checkpoints" / study_id
    if not confined(root, f"checkpoints/{study_id}").is_dir():
        return []
    found = [path for path in base.glob(f"*/*{PREDICTIONS}") if _numbers(path) is not None]
    return [path.relative_to(root).as_posix() for path in sorted(found, key=lambda path: _numbers(path) or (0, 0))]


def trial_of(path: str) -> int:
    """The trial that such a file is of."""
    return int(Path(path).parent.name)


def _numbers(path: Path) -> tuple[int, int] | None:
    """Trial and fence."""
    parts = (path.parent.name, path.name.removesuffix(PREDICTIONS))
    return (int(parts[0]), int(parts[1])) if all(part.isdecimal() for part in parts) else None


def bundle_path(digest: str) -> str:
    """Where the archive of code with this SHA-256 lies, relative to the storage root."""
    return f"bundles/{digest[:2]}/{digest}.zip"


def store(root: Path, relative: str, source: IO[bytes]) -> None:
    """Write all of `source` to `relative` under `root`: aside, synced, then renamed, so that it is there whole or not
    at all. Raises Unavailable where the storage cannot be written."""
    path = confined(root, relative)
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        source.seek(0)
        with aside.open("wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise Unavailable(f"the storage {root} cannot be written: {error}", remedy="see hpo doctor") from error
