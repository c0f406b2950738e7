"""The artifacts' root as the server sees it: a folder, or an object store that fsspec knows. Their records live in the
store; what workers write there, and how, is `workers.artifacts`.

An artifact lies at `<study>/<trial>/<id>` below the root; nothing else is ever opened.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from hpo_service.errors import NotFound, Unavailable

logger = logging.getLogger(__name__)
_LOCATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[0-9]+/[0-9a-f]{32}")
_STUDY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PIECE = 1 << 20


class ArtifactFiles:
    """Files below `root`, an absolute folder or a URL. Every location is `<study>/<trial>/<id>`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._by_url = "://" in root

    def put(self, location: str, file: IO[bytes]) -> None:
        """Write a file; it is whole and on the disk when this returns, and not to be seen before.

        Raises Unavailable where the root cannot be written.
        """
        with self._guarded("written"):
            if self._by_url:
                filesystem, path = self._found(location)
                with filesystem.transaction, filesystem.open(path, "wb") as target:
                    shutil.copyfileobj(file, target, PIECE)
            else:
                _put_in_folder(Path(self.root, _checked(location)), file)

    @contextlib.contextmanager
    def opened(self, location: str) -> Iterator[IO[bytes]]:
        """The file, to be read. Raises NotFound where it is gone, Unavailable where the root does not answer."""
        with self._guarded("read"):
            file = self._open(location)
        with contextlib.closing(file):
            yield file

    def remove(self, locations: Iterable[str]) -> None:
        """Remove files; what is gone already or cannot go is only logged."""
        for location in locations:
            self._tried(location, functools.partial(self._remove_file, location))

    def remove_study(self, study_id: str) -> None:
        """Remove everything of a study, whether or not the store knows of it; what cannot go is only logged."""
        if _STUDY.fullmatch(study_id):
            self._tried(study_id, lambda: self._remove_tree(study_id))

    def studies(self) -> list[str]:
        """The studies that have files. Raises Unavailable where the root does not answer."""
        with self._guarded("read"):
            if not self._by_url:
                names = os.listdir(self.root) if os.path.isdir(self.root) else []
            else:
                filesystem, base = self._filesystem()
                there = filesystem.ls(base, detail=False) if filesystem.exists(base) else []
                names = [str(path).rstrip("/").rpartition("/")[2] for path in there]
        return sorted(name for name in names if _STUDY.fullmatch(name))

    def probe(self) -> None:
        """Write, read and remove a small file. Raises Unavailable naming what the root said."""
        location, token = f"doctor/0/{uuid.uuid4().hex}", uuid.uuid4().bytes
        self.put(location, io.BytesIO(token))
        with self.opened(location) as file:
            read = file.read()
        self._remove_file(location)
        if read != token:
            raise Unavailable(f"the artifacts' root {self.root} returned other bytes than were written", remedy=_REMEDY)

    def _open(self, location: str) -> IO[bytes]:
        if not self._by_url:
            return Path(self.root, _checked(location)).open("rb")
        filesystem, path = self._found(location)
        file: IO[bytes] = filesystem.open(path, "rb")
        return file

    def _remove_file(self, location: str) -> None:
        if self._by_url:
            filesystem, name = self._found(location)
            filesystem.rm_file(name)
            return
        path = Path(self.root, _checked(location))
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()
            path.parent.parent.rmdir()

    def _remove_tree(self, study_id: str) -> None:
        if not self._by_url:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(Path(self.root, study_id))
            return
        filesystem, base = self._filesystem()
        with contextlib.suppress(FileNotFoundError):
            filesystem.rm(f"{base}/{study_id}", recursive=True)

    def _tried(self, what: str, action: Callable[[], None]) -> None:
        try:
            with self._guarded("removed"):
                action()
        except (NotFound, Unavailable) as error:
            logger.warning("artifacts %s were not removed: %s", what, error)

    def _found(self, location: str) -> tuple[Any, str]:
        filesystem, base = self._filesystem()
        return filesystem, f"{base}/{_checked(location)}"

    def _filesystem(self) -> tuple[Any, str]:
        import fsspec  # lazy: only where artifacts go to an object store

        filesystem, base = fsspec.core.url_to_fs(self.root)
        return filesystem, str(base).rstrip("/")

    @contextlib.contextmanager
    def _guarded(self, verb: str) -> Iterator[None]:
        try:
            yield
        except (NotFound, Unavailable):
            raise
        except FileNotFoundError:
            raise NotFound("the artifact's file is gone", remedy="see hpo doctor") from None
        except Exception as error:  # every kind of store has its own errors
            raise Unavailable(f"the artifacts' root {self.root} cannot be {verb}: {error}", remedy=_REMEDY) from error


_REMEDY = "see HPO_ARTIFACTS and hpo doctor"


def location_of(study_id: str, trial: int, artifact_id: str) -> str:
    """Where an artifact lies."""
    return _checked(f"{study_id}/{trial}/{artifact_id}")


def _checked(location: str) -> str:
    if not _LOCATION.fullmatch(location) or ".." in location:
        raise NotFound(f"the artifact {location[:200]!r} is not in the artifacts' root", remedy="see hpo doctor")
    return location


def _put_in_folder(final: Path, file: IO[bytes]) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = final.with_name(f".{final.name}.{uuid.uuid4().hex}.part")
    try:
        with aside.open("xb") as target:
            shutil.copyfileobj(file, target, PIECE)
            target.flush()
            os.fsync(target.fileno())
        aside.rename(final)
        for folder in (final.parent, final.parent.parent):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
    finally:
        aside.unlink(missing_ok=True)
