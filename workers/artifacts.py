"""Artifacts on disk or in an object store: files that a trainable wants kept, under names that nobody chose.

An artifact lies at `<artifacts' root>/<study>/<trial>/<id>`; the id is random, and the trainable's own name for it is
never a path. The root is a folder, or a URL that fsspec understands. What is kept how long is the server's choice.
"""

from __future__ import annotations

import contextlib
import hashlib
import mimetypes
import os
import shutil
import tempfile
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from workers.contract import ArtifactStored, WorkOrder
from workers.errors import ArtifactError, StorageError

MOST_PER_ATTEMPT = 1000
MOST_NAME = 255
_PIECE = 1 << 20
_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
_OTHER = "application/octet-stream"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of every member: the same folder gives the same bytes


def store(order: WorkOrder, path: str | os.PathLike[str], name: str | None = None) -> ArtifactStored:
    """Copy the file at `path` into the artifacts' root; a folder becomes one zip archive. Safe on disk when it returns.

    Raises:
        ArtifactError: no such file, a name that cannot be shown, or more bytes than an artifact may have.
        StorageError: the root cannot be written.
    """
    source = Path(path)
    label = checked_name(source.resolve().name + (".zip" if source.is_dir() else "") if name is None else name)
    with _content(source, order.artifact_most_bytes) as file:
        start = file.read(16)
        file.seek(0)
        artifact_id = uuid.uuid4().hex
        location = f"{order.key.study_id}/{order.key.trial}/{artifact_id}"
        digest, size = _put(_root(order), location, file, order.artifact_most_bytes)
    return ArtifactStored(
        key=order.key,
        artifact_id=artifact_id,
        name=label,
        location=location,
        digest=digest,
        size_bytes=size,
        media_type=media_type(label, start),
    )


def media_type(name: str, start: bytes) -> str:
    """What the file is said to be: images by their first bytes, anything else by its name."""
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            return kind
    guessed = mimetypes.guess_type(name)[0] or _OTHER
    return _OTHER if guessed in _MAGIC.values() else guessed


def checked_name(name: str) -> str:
    """`name`, where it can be shown and told apart. Raises ArtifactError."""
    if not isinstance(name, str) or not 0 < len(name) <= MOST_NAME or not name.isprintable() or not name.strip(" ./\\"):
        raise ArtifactError(
            f"an artifact's name has 1 to {MOST_NAME} printable characters, but got {name!r}; "
            "pass another: trial.artifact(path, name=…)"
        )
    return name


@contextlib.contextmanager
def _content(source: Path, most_bytes: int) -> Iterator[IO[bytes]]:
    try:
        if source.is_dir():
            with tempfile.TemporaryFile() as packed:
                _pack(source, packed, most_bytes)
                packed.seek(0)
                yield packed
            return
        if not source.is_file():
            what = "is not a file" if source.exists() else "does not exist"
            raise ArtifactError(
                f"an artifact must be a file or a folder, but {str(source)!r} {what}; write it first, "
                f"and mind the working directory: {os.getcwd()}"
            )
        with source.open("rb") as file:
            yield file
    except OSError as error:
        raise ArtifactError(f"an artifact must be readable, but {str(source)!r} is not: {error}") from error


def _pack(folder: Path, target: IO[bytes], most_bytes: int) -> None:
    """Every file below the folder, in order of their names; links to folders are not followed."""
    size = 0
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for place, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                path = Path(place, name)
                if not path.is_file():  # sockets, pipes, links to nothing
                    continue
                size += path.stat().st_size
                _check_size(size, most_bytes)
                member = zipfile.ZipInfo(path.relative_to(folder).as_posix(), date_time=_EPOCH)
                member.compress_type = zipfile.ZIP_DEFLATED
                with path.open("rb") as file, archive.open(member, "w", force_zip64=True) as inside:
                    shutil.copyfileobj(file, inside, _PIECE)


def _check_size(size: int, most_bytes: int) -> None:
    if size > most_bytes:
        raise ArtifactError(
            f"an artifact has at most {most_bytes} bytes, but this one has {size} or more; "
            "store less, or raise HPO_ARTIFACT_MAX_BYTES on the server"
        )


def _root(order: WorkOrder) -> str:
    return order.artifacts_root or str(Path(order.storage_root) / "artifacts")


def _put(root: str, location: str, file: IO[bytes], most_bytes: int) -> tuple[str, int]:
    """The SHA-256 and the size of what was written."""
    digest = hashlib.sha256()
    put = _put_in_folder if "://" not in root else _put_by_url
    size = put(root, location, _pieces(file, digest, most_bytes))
    return digest.hexdigest(), size


def _pieces(file: IO[bytes], digest: Any, most_bytes: int) -> Iterator[bytes]:
    size = 0
    while piece := file.read(_PIECE):
        size += len(piece)
        _check_size(size, most_bytes)
        digest.update(piece)
        yield piece


def _put_in_folder(root: str, location: str, pieces: Iterator[bytes]) -> int:
    final = Path(root, location)
    aside = final.with_name(f".{final.name}.part")
    try:
        made = _make(final.parent)
        with aside.open("xb") as target:
            size = sum(target.write(piece) for piece in pieces)
            target.flush()
            os.fsync(target.fileno())
        aside.rename(final)
        for folder in (final.parent, *made):
            _sync(folder)
    except OSError as error:
        raise _refused(root, error) from error
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
    return size


def _make(folder: Path) -> list[Path]:
    """Make the folder; those in which a new one lies."""
    made = []
    missing = folder
    while not missing.is_dir():
        made.append(missing.parent)
        missing = missing.parent
    folder.mkdir(parents=True, exist_ok=True)
    return made


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put_by_url(root: str, location: str, pieces: Iterator[bytes]) -> int:
    """An object store shows a file when it is closed: whole, or not at all."""
    try:
        import fsspec  # lazy: only where artifacts go to an object store
    except ModuleNotFoundError as error:
        raise StorageError(
            "artifacts at a URL need fsspec on every worker; pip install 'hpo-service[worker]'"
        ) from error
    try:
        filesystem, base = fsspec.core.url_to_fs(root)
        with filesystem.transaction, filesystem.open(f"{base.rstrip('/')}/{location}", "wb") as target:
            return sum(target.write(piece) for piece in pieces)
    except (ArtifactError, StorageError):
        raise
    except Exception as error:  # every kind of store has its own errors
        raise _refused(root, error) from error


def _refused(root: str, error: Exception) -> StorageError:
    return StorageError(
        f"the artifacts' root must be writable by every worker, but {root} is not: {error}; see HPO_ARTIFACTS"
    )
