"""Files that trials kept, and lines of their logs: listed, saved, searched and, for trials that you train, kept."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from hpo_service.client.asking import AskedTrial
from hpo_service.client.core import Core, Handle, decode
from hpo_service.client.operations import list_page
from hpo_service.client.paging import Fetch
from hpo_service.client.protocol import Exchange, Program, Request, Save, address, query, send
from hpo_service.client.results import Page, Result
from hpo_service.client.study_operations import StudyBase, TrialBase
from hpo_service.errors import HpoError, InvalidInput

_PIECE = 1 << 20


class ArtifactInfo(Result):
    """A file that a trial kept, as it was listed."""

    id: str
    trial: int
    fence: int = 0
    name: str
    size_bytes: int
    media_type: str = ""
    digest: str = ""
    at: datetime | None = None
    preview: bool = False


class FoundLine(Result):
    """A line of a trial's log that holds what was searched for; `line` counts from 1."""

    trial: int
    fence: int
    line: int
    text: str


class ArtifactBase(Handle):
    """One artifact: what is known of it."""

    def __init__(self, core: Core, run: Callable[[Program[Any]], Any], study_id: str, info: ArtifactInfo) -> None:
        super().__init__(core, run)
        self.study_id, self.info = study_id, info

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of trial {self.info.trial}, {self.size_bytes} bytes>"

    @property
    def id(self) -> str:
        return self.info.id

    @property
    def name(self) -> str:
        """What the trial called it."""
        return self.info.name

    @property
    def size_bytes(self) -> int:
        return self.info.size_bytes

    @property
    def file_name(self) -> str:
        """A file name made of the last part of its name: never a path, never empty, never hidden."""
        last = re.split(r"[/\\]", self.name)[-1]
        return re.sub(r"[\x00-\x1f<>:\"|?*]", "_", last).strip(" .") or self.id


def save(artifact: ArtifactBase, path: str | Path | BinaryIO) -> Program[Path | None]:
    """Saves the file as a path (in a folder: under its own name) or to a binary file object; where it was saved.

    A path appears whole or not at all, and its SHA-256 is checked.
    """
    target: str | Path | BinaryIO = path
    if isinstance(path, str | Path):
        target = Path(path) / artifact.file_name if Path(path).is_dir() else Path(path)
    place = address("studies", artifact.study_id, "trials", artifact.info.trial, "artifacts", artifact.id)
    yield from send(Save.to(Request(method="GET", path=place), target), artifact._core.policy)
    if not isinstance(target, Path):
        return None
    if artifact.info.digest and _digest(target) != artifact.info.digest:
        target.unlink(missing_ok=True)
        raise HpoError(f"the artifact {artifact.name!r} came with other bytes than were kept", remedy="try again")
    return target


def keep(trial: AskedTrial, path: str | Path, name: str | None = None) -> Program[ArtifactInfo]:
    """Keeps a file with a trial that you asked for, under `name` or its own. Raises `FenceRefused` when a newer attempt
    exists, `TooLarge` above the server's limit."""
    source = Path(path)
    if not source.is_file():
        raise InvalidInput(f"an artifact is a file, but got {str(source)!r}", remedy="write it first; zip a folder")
    request = Request(
        method="POST",
        path=address("studies", trial.study_id, "trials", trial.number, "artifacts"),
        query=query(fence=trial.fence, name=source.name if name is None else name),
        body=source,
        headers={"Accept": "application/json", "Content-Type": "application/octet-stream"},
    )
    reply = yield from send(Exchange(request), trial._core.policy)
    return ArtifactInfo.parse(decode(reply.body))


def artifact_pages(trial: TrialBase) -> Fetch:
    """How pages of a trial's artifacts are fetched."""
    place = address("studies", trial.study_id, "trials", trial.number, "artifacts")
    return lambda cursor, size: list_page(trial, place, cursor=cursor, limit=size)


def found_pages(study: StudyBase, text: str, trial: int | None, fence: int | None) -> Fetch:
    """How pages of lines that hold `text` are fetched."""

    def fetch(cursor: str | None, size: int) -> Program[Page]:
        place = address("studies", study.id, "logs")
        return list_page(study, place, cursor=cursor, limit=size, search=text, trial=trial, fence=fence)

    return fetch


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
