"""Checkpoints on disk: write aside, fsync, rename, checksum; never overwrite; verify when reading.

A checkpoint lies at `<storage root>/checkpoints/<study>/<trial>/<fence>-<step>.pt`. Which checkpoint an attempt
goes on from is the session's choice; how long they are kept beyond an attempt is the controller's. Neither is here.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import re
import sys
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from workers.contract import AttemptKey, CheckpointRef
from workers.errors import CheckpointError, InvalidOrderError, StorageError

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PIECE_BYTES = 1 << 20
_ZIP_MAGIC = b"PK\x03\x04"  # torch.save writes a zip file; a plain pickle never starts like one


@dataclass(frozen=True, slots=True)
class Staged:
    """A checkpoint that is safely on disk under a temporary name; `commit` gives it its final one."""

    temporary: Path
    root: Path
    key: AttemptKey
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Request:
    """A checkpoint to be stored: of trial and fence `key`, under `root`, at `step` and `resource`."""

    root: str | Path
    key: AttemptKey
    state: Any
    step: int
    resource: float


class _HashingFile:
    """The least that torch.save and pickle need of a file. What they write in many small pieces is hashed and handed on
    in few large ones; `close_up` hands on the last."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._gathered = bytearray()
        self.sha = hashlib.sha256()
        self.size = 0

    def write(self, data: Any) -> int:
        self.size += len(data)
        self._gathered += data
        if len(self._gathered) >= _PIECE_BYTES:
            self._hand_on()
        return len(data)

    def flush(self) -> None:
        """Nothing: torch flushes after every record."""

    def close_up(self) -> None:
        self._hand_on()
        self._raw.flush()

    def _hand_on(self) -> None:
        self.sha.update(self._gathered)
        self._raw.write(self._gathered)
        self._gathered = bytearray()


def folder(root: str | Path, key: AttemptKey) -> Path:
    """Where the checkpoints of a trial lie."""
    if not _SAFE.fullmatch(key.study_id):
        raise InvalidOrderError(
            f"a study id must match [A-Za-z0-9._-]+ to name a folder, but got {key.study_id!r}; use another id"
        )
    return Path(root) / "checkpoints" / key.study_id / str(key.trial)


def stage(root: str | Path, key: AttemptKey, state: Any) -> Staged:
    """Serialise `state` and put it on disk under a temporary name.

    Raises:
        StorageError: the disk refused. What pickle or torch says about the state itself passes through.
    """
    made: set[Path] = set()
    written = _written(root, key, state, made)
    for error in (*map(_directory_synced, made), _synced(written)):
        if error is not None:
            raise error
    return written[0]


def commit(staged: Staged, *, step: int, resource: float) -> CheckpointRef:
    """Give a staged checkpoint its final name; an existing file is never replaced, a suffix is counted up instead."""
    ref = _named(staged, step=step, resource=resource)
    error = _directory_synced(staged.temporary.parent)
    if error is not None:
        raise error
    return ref


def discard(staged: Staged) -> None:
    """Forget a staged checkpoint."""
    _remove(staged.temporary)


def save(root: str | Path, key: AttemptKey, state: Any, *, step: int, resource: float) -> CheckpointRef:
    """`stage` and `commit` in one."""
    return commit(stage(root, key, state), step=step, resource=resource)


def save_many(
    requests: Sequence[Request], each: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]] = map
) -> list[CheckpointRef | Exception]:
    """`save` for many trials at once: all are written, then all are synced, then all are named. For each request, in
    order, what is stored or why it is not.

    `each` calls a function for every item, and may do so at the same time (the map of a thread pool): a journalling
    file system then syncs many files at once. Sixteen small checkpoints take a third of the time.
    """
    made: set[Path] = set()
    found: list[Any] = [_tried(_written, one.root, one.key, one.state, made) for one in requests]
    written = [i for i, one in enumerate(found) if not isinstance(one, Exception)]
    for i, error in zip(written, list(each(_synced, [found[i] for i in written])), strict=True):
        found[i] = error or _tried(_named, found[i][0], step=requests[i].step, resource=requests[i].resource)
    named = {i: folder(requests[i].root, requests[i].key) for i in written if isinstance(found[i], CheckpointRef)}
    places = [*made, *set(named.values())]
    errors = dict(zip(places, each(_directory_synced, places), strict=True))
    worst = next((errors[place] for place in made if errors[place]), None)
    for i, place in named.items():
        found[i] = errors[place] or worst or found[i]
    return found


def load(root: str | Path, ref: CheckpointRef, *, weights_only: bool) -> Any:
    """Read a checkpoint onto the CPU after verifying its digest.

    `weights_only` accepts tensors and plain containers only (recipes); without it any pickle is loaded
    (a user's own state, which a user's own function wrote).

    Raises:
        CheckpointError: missing, damaged (digest mismatch) or not decodable.
    """
    path = Path(root) / ref.path
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"checkpoint {ref.path} cannot be read: {error}") from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != ref.digest:
        raise CheckpointError(
            f"checkpoint {ref.path} is damaged: its SHA-256 must be {ref.digest[:12]}…, but it is {digest[:12]}…"
        )
    try:
        return _decode(data, weights_only=weights_only)
    except Exception as error:  # any class of a user's pickle may fail in any way
        raise CheckpointError(f"checkpoint {ref.path} cannot be decoded: {error!r}") from error


def remove(root: str | Path, ref: CheckpointRef) -> None:
    """Delete a checkpoint; a missing one is no error."""
    _remove(Path(root) / ref.path)


def probe(root: str | Path) -> None:
    """Write, read back and delete a small file: what preflight asks of the storage root.

    Raises:
        StorageError: with the path and what the operating system said.
    """
    directory = Path(root) / "checkpoints"
    path = directory / f".probe-{uuid.uuid4().hex}"
    token = uuid.uuid4().bytes
    try:
        made: set[Path] = set()
        _make_directory(directory, made)
        for parent in made:
            _sync_directory(parent)
        path.write_bytes(token)
        read = path.read_bytes()
        path.unlink()
    except OSError as error:
        raise StorageError(_disk_message("written and read", directory, error)) from error
    if read != token:
        raise StorageError(f"storage {directory} returned other bytes than were written; use another HPO_STORAGE")


def _written(root: str | Path, key: AttemptKey, state: Any, made: set[Path]) -> tuple[Staged, IO[bytes]]:
    """The state in a file of a temporary name, still open and not yet synced; `made` gains the folders that are to be
    synced because a new one lies in them."""
    directory = folder(root, key)
    temporary = directory / f".{key.fence}-{uuid.uuid4().hex}.part"
    try:
        _make_directory(directory, made)
        raw = temporary.open("xb")
    except OSError as error:
        raise StorageError(_disk_message("written", directory, error)) from error
    try:
        hashing = _HashingFile(raw)
        _dump(state, hashing)
        hashing.close_up()
    except BaseException as error:
        with contextlib.suppress(OSError):
            raw.close()
        _remove(temporary)
        if isinstance(error, OSError):
            raise StorageError(_disk_message("written", temporary, error)) from error
        raise
    return Staged(temporary, Path(root), key, hashing.sha.hexdigest(), hashing.size), raw


def _named(staged: Staged, *, step: int, resource: float) -> CheckpointRef:
    """Give a staged checkpoint its final name, and leave it to the caller to sync the folder."""
    directory = staged.temporary.parent
    final = directory / f"{staged.key.fence}-{step}.pt"
    repeat = 0
    while final.exists():
        repeat += 1
        final = directory / f"{staged.key.fence}-{step}-{repeat}.pt"
    try:
        staged.temporary.rename(final)
    except OSError as error:
        raise StorageError(_disk_message("renamed", final, error)) from error
    return CheckpointRef(
        path=final.relative_to(staged.root).as_posix(),
        digest=staged.digest,
        resource=resource,
        step=step,
        size_bytes=staged.size_bytes,
    )


def _tried(action: Callable[..., Any], *args: Any, **named: Any) -> Any:
    try:
        return action(*args, **named)
    except Exception as error:  # the disk, or whatever serialising a state may raise: of this request alone
        return error


def _synced(written: tuple[Staged, IO[bytes]]) -> StorageError | None:
    staged, raw = written
    try:
        with raw:
            os.fsync(raw.fileno())
    except OSError as error:
        _remove(staged.temporary)
        return StorageError(_disk_message("written", staged.temporary, error))
    return None


def _directory_synced(directory: Path) -> StorageError | None:
    try:
        _sync_directory(directory)
    except OSError as error:
        return StorageError(_disk_message("renamed", directory, error))
    return None


def _dump(state: Any, target: _HashingFile) -> None:
    torch = sys.modules.get("torch")  # without torch loaded there can be no tensor in the state
    if torch is None:
        pickle.dump(state, target, protocol=pickle.HIGHEST_PROTOCOL)
    else:
        torch.save(state, target)


def _decode(data: bytes, *, weights_only: bool) -> Any:
    if not data.startswith(_ZIP_MAGIC):
        if weights_only:
            raise pickle.UnpicklingError("only a torch file can be loaded with weights_only")
        return pickle.loads(data)
    import torch  # lazy: heavy, and a function that uses no torch never needs it

    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=weights_only)


def _make_directory(directory: Path, made: set[Path]) -> None:
    if directory.is_dir():
        return
    _make_directory(directory.parent, made)
    directory.mkdir(exist_ok=True)
    made.add(directory.parent)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def _disk_message(verb: str, path: Path, error: OSError) -> str:
    return (
        f"storage must be writable and readable by every worker, but {path} could not be {verb}: {error}; "
        "point HPO_STORAGE at a folder that every node can write"
    )
