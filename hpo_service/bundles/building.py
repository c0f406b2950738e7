"""Builds bundles: the same files give the same bytes, wherever and whenever.

Files are stored, not compressed: what a compressor makes of them depends on its version, and the digest would, too.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path

from hpo_service.bundles.archive import CODE, MARKER, MARKER_TEXT, Bundle, Limits, fact, largest, words
from hpo_service.bundles.collecting import collect
from hpo_service.errors import InvalidInput, TooLarge

TIME = (1980, 1, 1, 0, 0, 0)
"""The time of every file: the earliest that a zip archive knows."""
MODE = 0o100644


def from_folder(
    folder: Path,
    *,
    limits: Limits | None = None,
    leave_out: Collection[Path] = (),
    more: Mapping[str, bytes] | None = None,
) -> Bundle:
    """The bundle of a folder, and of what is put beside its files; see `collecting` for what is left out.

    Raises InvalidInput for a folder that cannot be bundled, TooLarge naming the largest files for one over the limits.
    """
    limits = limits or Limits()
    found = collect(folder, leave_out=leave_out)
    sizes = [(name, path.stat().st_size) for name, path in found]
    _require_small(sizes, limits, f"the folder {str(folder)!r}")
    return from_files({**{name: _read(name, path) for name, path in found}, **(more or {})}, limits=limits)


def from_files(files: Mapping[str, bytes], *, limits: Limits | None = None) -> Bundle:
    """The bundle of these files: name → content. Raises InvalidInput where there are none, TooLarge over the limits."""
    limits = limits or Limits()
    if not files:
        raise InvalidInput("a bundle holds at least one file", remedy="name the folder of your code")
    _require_small([(name, len(data)) for name, data in files.items()], limits, "the bundle")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, MARKER, MARKER_TEXT)
        for name in sorted(files):
            _add(archive, f"{CODE}/{name}", files[name])
    data = buffer.getvalue()
    return Bundle(
        archive=data,
        digest=hashlib.sha256(data).hexdigest(),
        manifest={name: fact(files[name]) for name in sorted(files)},
    )


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name, TIME)
    info.create_system = 3  # Unix, whatever builds it
    info.external_attr = MODE << 16
    archive.writestr(info, data)


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"a bundle holds files that can be read, but {name!r} cannot ({error.strerror})",
            remedy="correct it, or put it into .gitignore",
        ) from None


def _require_small(sizes: list[tuple[str, int]], limits: Limits, what: str) -> None:
    total = sum(size for _, size in sizes)
    most = min(limits.archive_bytes, limits.unpacked_bytes)
    remedy = (
        "leave out what training does not need, in .gitignore, and let workers read large data from a shared folder; "
        "HPO_MAX_BUNDLE_BYTES sets the limit, here and on the server"
    )
    if total > most:
        raise TooLarge(
            f"a bundle of code has at most {words(most)}, but {what} has {words(total)}, the most in {largest(sizes)}",
            remedy=remedy,
        )
    if len(sizes) > limits.files:
        folders: dict[str, int] = {}
        for name, _ in sizes:
            folders[name.partition("/")[0]] = folders.get(name.partition("/")[0], 0) + 1
        most_in = max(folders, key=lambda one: (folders[one], one))
        raise TooLarge(
            f"a bundle of code has at most {limits.files} files, but {what} has {len(sizes)}, "
            f"{folders[most_in]} of them in {most_in!r}",
            remedy=remedy,
        )
