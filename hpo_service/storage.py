"""Files under the storage root: paths confined to it, and their removal. Their records live in the store."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path

from hpo_service.errors import NotFound

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
