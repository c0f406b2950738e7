"""Reading a study's archive: its members, each bounded, and all of them together. Believes nothing that is told of them
and knows nothing of what they mean.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from struct import error as struct_error
from typing import IO, Any
from zlib import error as zlib_error

from hpo_service.bundles.directory import ENTRY_BYTES, end_of
from hpo_service.errors import FieldProblem, HpoError, InvalidInput

MOST_MEMBERS = 64
MOST_DOCUMENT_BYTES = 4 << 20
MOST_LINE_BYTES = 64 << 20
MOST_BYTES = 64 << 30  # of all members together
_BROKEN = (
    zipfile.BadZipFile, zlib_error, struct_error, EOFError, OSError, NotImplementedError, ValueError, RecursionError,
)  # fmt: skip
_PLAIN = rb'(?:"(?:[^"\\]|\\.)*+"|[-+.0-9A-Za-z]++)'
_ROW = re.compile(rb"\s*+\[\s*+(?:" + _PLAIN + rb"(?:\s*+,\s*+" + _PLAIN + rb"){0,99}+)?+\s*+\]\s*+", re.DOTALL)
"""An array of plain values: brackets within brackets take thirty times the memory that they have bytes."""


class Unpacked:
    """The members of an archive."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._left = MOST_BYTES

    def read(self, name: str, most: int) -> bytes:
        """All of a member."""
        with self._open(name) as member, _understood():
            data = member.read(most + 1)
        if len(data) > most:
            raise refused(f"{name} has at most {most} bytes", None)
        self._take(len(data))
        return data

    def document(self, name: str) -> dict[str, Any]:
        """A member that is one JSON object."""
        data = self.read(name, MOST_DOCUMENT_BYTES)
        with _understood():
            found = json.loads(data)
        if not isinstance(found, dict):
            raise refused(f"{name} is a JSON object", type(found).__name__)
        return found

    def lines(self, name: str) -> Iterator[list[Any]]:
        """A member's lines, each a JSON array of plain values."""
        with self._open(name) as member:
            while row := self._row(name, member):
                yield row[0]

    def _row(self, name: str, member: IO[bytes]) -> tuple[list[Any]] | None:
        with _understood():
            line = member.readline(MOST_LINE_BYTES + 1)
            if not line:
                return None
            if len(line) > MOST_LINE_BYTES:
                raise refused(f"a line of {name} has at most {MOST_LINE_BYTES} bytes", None)
            self._take(len(line))
            if not _ROW.fullmatch(line):
                raise refused(f"a line of {name} is a JSON array of plain values", repr(line[:80]))
            return (json.loads(line),)

    def pairs(self, name: str) -> Iterator[tuple[str, str]]:
        """A member's lines, each of two texts."""
        for row in self.lines(name):
            if len(row) != 2 or not all(isinstance(one, str) for one in row):
                raise refused(f"a line of {name} holds a digest and a text", repr(row)[:80])
            yield row[0], row[1]

    def _open(self, name: str) -> IO[bytes]:
        try:
            with _understood():
                return self._archive.open(name)
        except (KeyError, RuntimeError) as error:  # not there; encrypted
            raise refused(f"an archive holds {name}", str(error)) from None

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise refused(f"an archive unpacks to at most {MOST_BYTES} bytes", None)


@contextmanager
def unpacked(file: IO[bytes]) -> Iterator[Unpacked]:
    """The archive in `file`. Raises InvalidInput for what is none, also when that shows while it is read."""
    end = end_of(file)
    if end is not None and end.directory_bytes > MOST_MEMBERS * ENTRY_BYTES:
        raise refused(f"an archive has at most {MOST_MEMBERS} members", f"a directory of {end.directory_bytes} bytes")
    with _understood():
        archive = zipfile.ZipFile(file)
    with archive:
        yield Unpacked(archive)


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except _BROKEN as error:
        raise refused("an archive is a zip file as `hpo archive` writes it", str(error)[:200]) from None


def refused(rule: str, value: str | None) -> HpoError:
    """The error of an archive that is none."""
    problem = FieldProblem(path="body", rule=rule, value=value, remedy="archive the study again with `hpo archive`")
    return InvalidInput.of(problem)
