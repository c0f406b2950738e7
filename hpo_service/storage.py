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
