"""The same study again: its log asked anew, the whole of it in a file, and where two of them differ."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from hpo_service.client.core import Handle, decode
from hpo_service.client.protocol import Exchange, Program, Request, Save, Sleep, address, query, send
from hpo_service.client.results import Result
from hpo_service.client.study_operations import StudyBase
from hpo_service.errors import InvalidInput

POLL_S = 1.0
SUFFIX = ".hpo"


class ReplayDifference(Result):
    """A decision that would be another one now."""

    decision: int
    seq: int
    stored: tuple[Mapping[str, Any], ...] = ()
    now: tuple[Mapping[str, Any], ...] = ()
    cause: str = ""


class Replay(Result):
    """Whether the algorithm decides alike over the same log. `by_hand` are decisions of users, not asked again."""

    same: bool
    algorithm: str
    version: int
    events: int
    decisions: int
    by_hand: int = 0
    proposals: int = 0
    differing: int = 0
    differences: tuple[ReplayDifference, ...] = ()


class Difference(Result):
    """A place at which two things differ; null where one has nothing there."""

    path: str
    values: tuple[Any, Any]


class FileDifference(Result):
    """A file of code that differs, as a unified diff."""

    name: str
    diff: str


class Comparison(Result):
    """Where two trials or studies differ, by subject: definition or configuration, seeds, code, data, environment."""

    a: str
    b: str
    same: bool
    sections: Mapping[str, tuple[Difference, ...]] = {}
    files: tuple[FileDifference, ...] = ()
    notes: tuple[str, ...] = ()


def replay(study: StudyBase, *, timeout_s: float | None = None) -> Program[Replay]:
    """Has the server fold the study's log again, as far as it goes now, and ask the algorithm at every decision. Waits;
    raises TimeoutError."""
    ends = None if timeout_s is None else time.monotonic() + timeout_s
    place = address("studies", study.id, "replay")
    found = yield from study._core.get(place)
    while True:
        if not found.get("computing"):
            return Replay.parse(found)
        if ends is not None and time.monotonic() > ends:
            raise TimeoutError(f"the log was replayed up to event {found.get('events')} of {found.get('of')}")
        yield Sleep(POLL_S)
        found = yield from study._core.get(place, query(of=found.get("of")))


def digest(study: StudyBase) -> Program[str]:
    """SHA-256 of all that belongs to the study, the same wherever its archive is restored. Raises `Conflict` while
    something of it is under way."""
    found = yield from study._core.get(address("studies", study.id, "digest"))
    return str(found["digest"])


def archive(study: StudyBase, path: str | Path | BinaryIO) -> Program[None]:
    """Writes the whole study (definition, events, trials, reports, logs, environments, code) to a path, whole or not at
    all, or to a binary file object. `Client.restore` makes it anew elsewhere."""
    asked = Request(method="GET", path=address("studies", study.id, "archive"))
    yield from send(Save.to(asked, path), study._core.policy)


def restore(client: Handle, path: str | Path) -> Program[Any]:
    """The answer of the server that took an archive in."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InvalidInput(f"an archive is a file that can be read, but {error}") from None
    headers = {"Content-Type": "application/octet-stream"}
    asked = Request(method="POST", path=address("studies", "restore"), body=data, headers=headers, timeout_s=3600.0)
    reply = yield from send(Exchange(asked), client._core.policy)
    return decode(reply.body)


def diff(client: Handle, a: str, b: str) -> Program[Comparison]:
    """Where two studies (`"STUDY"`) or two trials (`"STUDY/17"`) differ: parameters, code (as a diff), data,
    environment."""
    return Comparison.parse((yield from client._core.get(address("diff"), query(a=a, b=b))))
