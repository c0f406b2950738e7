"""Checks an uploaded archive before anything of it is unpacked, each danger with an error of its own.

An archive's directory and its contents are two tellings of the same; the directory is read first, and sizes that it
tells are not believed while a file is read. Nothing is written.
"""

from __future__ import annotations

import hashlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable
from typing import BinaryIO

from hpo_service.bundles.archive import CODE, MARKER, FileFact, Limits, Manifest, largest, words
from hpo_service.bundles.directory import ENTRY_BYTES, end_of
from hpo_service.errors import FieldProblem, InvalidInput

CHUNK = 1 << 20
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1 | 0x40
_UNSEEN = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, OSError, ValueError, NotImplementedError)


def check(file: BinaryIO, *, limits: Limits | None = None) -> Manifest:
    """What is in the archive, all of it read and proven.

    Raises InvalidInput for what is no archive or is damaged, encrypted, dangerous or too large to unpack.
    """
    limits = limits or Limits()
    _require_small_directory(file, limits)
    try:
        archive = zipfile.ZipFile(file)
    except _UNSEEN as error:
        raise _bad("a bundle is a zip archive", str(error), "build it with hpo submit --code") from None
    with archive:
        entries = archive.infolist()
        _require_few(entries, limits)
        for entry in entries:
            _require_plain(entry, limits)
        _require_distinct(entries)
        _require_small(entries, limits)
        _require_layout(entries)
        found = {}
        left = limits.unpacked_bytes
        for entry in entries:
            if not entry.is_dir():
                one = _proven(archive, entry, left)
                left -= one.size
                found[entry.filename] = one
    own = {name.removeprefix(f"{CODE}/"): one for name, one in found.items() if name != MARKER}
    return dict(sorted(own.items()))


def _bad(rule: str, value: str | None, remedy: str) -> InvalidInput:
    problem = FieldProblem(path="", rule=rule, value=value, remedy=remedy)
    return InvalidInput.of(problem)


def _require_small_directory(file: BinaryIO, limits: Limits) -> None:
    end = end_of(file)
    if end is None:
        return
    if end.zip64:
        raise _bad("archives have the plain end of less than 4 GiB and 65,536 files", "ZIP64", "pack fewer files")
    if end.directory_bytes > (limits.files + 2) * ENTRY_BYTES:
        told = words(end.directory_bytes)
        raise _bad(f"a directory lists at most {limits.files} files", told, "leave out what is not needed")


def _require_few(entries: list[zipfile.ZipInfo], limits: Limits) -> None:
    if len(entries) > limits.files + 2:  # the marker, and the folder itself
        raise _bad(
            f"an archive has at most {limits.files} files", f"{len(entries)}", "leave out what is not needed to train"
        )


def _require_plain(entry: zipfile.ZipInfo, limits: Limits) -> None:
    """A file or a folder whose name stays where it belongs, that is neither a link nor encrypted."""
    name = entry.orig_filename
    shown = name[:200]
    if "\\" in name or entry.filename != name:
        raise _bad("names have no backslash and no NUL", shown, "write folders with a slash: pkg/train.py")
    if len(name.encode("utf-8", "surrogatepass")) > limits.name_bytes or any(ord(one) < 32 for one in name):
        raise _bad(f"names have at most {limits.name_bytes} bytes and no control characters", shown, "rename the file")
    if name.startswith("/") or (len(name) > 1 and name[1] == ":"):
        raise _bad("names are relative, without a drive", shown, "build the archive from inside the folder")
    parts = name.removesuffix("/").split("/")
    if ".." in parts:
        raise _bad("names do not lead out of the archive", shown, "remove '..' from the name")
    if not all(parts) or "." in parts:
        raise _bad("names are plain paths, without empty parts and '.'", shown, "write it like pkg/train.py")
    if entry.flag_bits & _ENCRYPTED:
        raise _bad("files are not encrypted", shown, "build the archive without a password")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind == stat.S_IFLNK:
        raise _bad("an archive holds no links", shown, "put the file itself there")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or ((kind == stat.S_IFDIR) != entry.is_dir() and kind != 0):
        raise _bad("an archive holds files and folders only", shown, "remove pipes, sockets and devices")
    if entry.compress_type not in METHODS:
        raise _bad("files are stored or deflated", shown, "build the archive with zip's usual method")


def _require_distinct(entries: list[zipfile.ZipInfo]) -> None:
    """No name twice, in no spelling of it; no file where another name needs a folder."""
    seen: dict[str, str] = {}
    files: set[str] = set()
    for entry in entries:
        name = entry.filename.removesuffix("/")
        other = seen.setdefault(name.casefold(), name)
        if other != name or (not entry.is_dir() and name in files) or (entry.is_dir() and name in files):
            raise _bad("a name stands once, capitals or not", f"{name!r} and {other!r}"[:200], "rename one of them")
        if not entry.is_dir():
            files.add(name)
    folded = {name.casefold() for name in files}
    for entry in entries:
        parts = entry.filename.removesuffix("/").casefold().split("/")
        for size in range(1, len(parts) + (1 if entry.is_dir() else 0)):
            above = "/".join(parts[:size])
            if above in folded:
                raise _bad("a name is a file or a folder, not both", above[:200], "rename one of them")


def _require_small(entries: list[zipfile.ZipInfo], limits: Limits) -> None:
    total, packed = sum(e.file_size for e in entries), sum(e.compress_size for e in entries)
    if total > limits.unpacked_bytes:
        most = largest((e.filename, e.file_size) for e in entries)
        raise _bad(
            f"an archive unpacks to at most {words(limits.unpacked_bytes)}",
            f"{words(total)}, the most in {most}",
            "leave out what is not needed to train",
        )
    if total > limits.always_bytes and total > limits.ratio * max(1, packed):
        raise _bad(
            f"an archive unpacks to at most {limits.ratio:g} times its size",
            f"{words(total)} from {words(packed)}",
            "leave out files that are nearly empty, or store them uncompressed",
        )


def _require_layout(entries: Iterable[zipfile.ZipInfo]) -> None:
    names = [e.filename for e in entries]
    if MARKER not in names:
        raise _bad(
            f"a bundle holds the file {MARKER!r} beside the folder {CODE!r}",
            None,
            "build it with hpo submit --code, or add the file",
        )
    for name in names:
        if name not in (MARKER, f"{CODE}/") and not name.startswith(f"{CODE}/"):
            raise _bad(f"the files of a bundle lie in {CODE}/", name[:200], f"move it to {CODE}/{name[:100]}")
    if not any(name.startswith(f"{CODE}/") and not name.endswith("/") for name in names):
        raise _bad(f"a bundle holds at least one file in {CODE}/", None, "put your code there")


def _proven(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, left: int) -> FileFact:
    """The file read to its end: its checksum is right, and it is as long as the directory says."""
    digest, size = hashlib.sha256(), 0
    try:
        with archive.open(entry) as file:
            while piece := file.read(CHUNK):
                size += len(piece)
                if size > entry.file_size or size > left:
                    raise zipfile.BadZipFile("longer than its directory says")
                digest.update(piece)
    except (RuntimeError, *_UNSEEN) as error:
        raise _bad(
            "every file is whole and matches its checksum",
            f"{entry.filename[:100]!r}: {error}"[:300],
            "build the archive anew",
        ) from None
    if size != entry.file_size:
        raise _bad(
            "every file is as long as the archive's directory says",
            f"{entry.filename[:100]!r}: {size} bytes instead of {entry.file_size}",
            "build the archive anew",
        )
    return FileFact(sha256=digest.hexdigest(), size=size)
