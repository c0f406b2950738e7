"""What a bundle is: its layout, its limits, its manifest. Reads and writes nothing.

A bundle is a zip archive with a marker file and one folder, `own-code`, in which the user's files lie as they lay at
home. Both are there for Ray, which puts the folder that it unpacks on PYTHONPATH before a worker starts: with the files
one level down, a `random.py` or `workers.py` among them is seen by nobody before our own packages are loaded; and Ray
strips a folder that is alone in its archive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MARKER = "hpo-bundle"
MARKER_TEXT = b"hpo-service bundle of code, format 1\n"
CODE = "own-code"
"""The folder of the user's files. No module can have this name, so nothing is imported from above it."""
MIB = 1 << 20
NAMED = 5
"""How many of the largest files an error names."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large a bundle may be: the archive, what it unpacks to, how many files, and how much smaller than its
    content an archive may be where that is more than `always_bytes`."""

    archive_bytes: int = 50 * MIB
    unpacked_bytes: int = 200 * MIB
    files: int = 10_000
    name_bytes: int = 1024
    ratio: float = 100.0
    always_bytes: int = 10 * MIB


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFact:
    """A file of a bundle: the SHA-256 of its bytes, and how many they are."""

    sha256: str
    size: int


Manifest = Mapping[str, FileFact]
"""Names as the user knows them (`pkg/train.py`), in sorted order."""


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A built bundle: the archive's bytes, their SHA-256, and what is in it."""

    archive: bytes
    digest: str
    manifest: Manifest

    @property
    def size(self) -> int:
        """Bytes of the archive."""
        return len(self.archive)


def fact(data: bytes) -> FileFact:
    """The fact of a file with this content."""
    return FileFact(sha256=hashlib.sha256(data).hexdigest(), size=len(data))


def words(size: float) -> str:
    """A number of bytes for people: 12 bytes, 3.4 KiB, 50 MiB."""
    if size < 1024:
        return f"{size:.0f} bytes"
    for unit in ("KiB", "MiB"):
        size /= 1024
        if size < 1024:
            return f"{size:.3g} {unit}"
    return f"{size / 1024:.3g} GiB"


def largest(files: Iterable[tuple[str, int]]) -> str:
    """The largest of the files (name, bytes), for an error: `data.csv (40 MiB), …`."""
    found = sorted(files, key=lambda one: (-one[1], one[0]))[:NAMED]
    return ", ".join(f"{name} ({words(size)})" for name, size in found)


def modules(names: Iterable[str]) -> Sequence[str]:
    """Top-level modules and packages among the files of a bundle, sorted."""
    found = set()
    for name in names:
        first, slash, rest = name.partition("/")
        if slash and rest.endswith(".py"):
            found.add(first)
        elif not slash and first.endswith(".py"):
            found.add(first.removesuffix(".py"))
    return sorted(found)
