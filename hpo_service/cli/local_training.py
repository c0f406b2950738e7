"""Trains a trial again on this machine, from a record: what a worker does, in this process and without a server.

The one place of the command line that runs a user's code.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hpo_service.errors import HpoError, InvalidInput, NotFound, Unavailable

RECORD, CODE = "trial.json", "code.zip"
_RECORD_BYTES = 512 << 20


def read_record(path: Path) -> dict[str, Any]:
    """The record in a JSON file, or in a zip file beside its code. Raises NotFound and InvalidInput."""
    if not path.is_file():
        raise NotFound(f"there is no file {str(path)!r}", remedy="write one: hpo record STUDY/TRIAL -o trial.json")
    try:
        if path.suffix.lower() != ".zip":
            found = json.loads(path.read_bytes())
        else:
            with zipfile.ZipFile(path) as archive, archive.open(RECORD) as file:
                found = json.loads(file.read(_RECORD_BYTES))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InvalidInput(
            f"a record is what hpo record wrote, but {path} cannot be read: {error}", remedy="write it again"
        ) from None
    if not isinstance(found, dict):
        raise InvalidInput(f"a record is a JSON object, but {path} holds something else", remedy="write it again")
    return found


def from_file(path: Path) -> dict[str, Any]:
    """What training again from this file came to. Code that lies in the file is unpacked aside and used; else it is
    looked for from the current folder on. Raises HpoError."""
    record = read_record(path)
    with _code_of(path, record) as bundle:
        return train(record, bundle=bundle)


def train(record: Mapping[str, Any], *, bundle: str = "") -> dict[str, Any]:
    """What training again came to (`workers.comparison`). Raises HpoError where it cannot be trained here."""
    try:
        from workers.actor import Worker
        from workers.contract import AttemptKey, Ended, Launch, Reproduced, TrainerSpec, WorkOrder
    except ImportError as error:
        raise Unavailable(
            f"training here needs the worker's half, but {error}", remedy="pip install 'hpo-service[worker]'"
        ) from None
    resources = record.get("resources") or {}
    order = WorkOrder(
        key=AttemptKey(study_id="here", trial=-3, fence=1),
        trainer=TrainerSpec(),
        params={},
        seed=0,
        metric="",
        metrics=(),
        from_resource=0.0,
        target_resource=0.0,
        horizon=0.0,
        storage_root="",
        reproduce=record,
    )
    cpu, gpu = float(resources.get("cpu", 1.0)), float(resources.get("gpu", 0.0))
    paths = () if bundle else (os.getcwd(),)
    worker = Worker("here", cpu=cpu, gpu=gpu if _has_gpu() else 0.0, code_paths=paths, bundle=bundle)
    document: Mapping[str, Any] | None = None
    ended: Ended | None = None
    for batch in worker.run(Launch(launch_id="here", orders=(order,), cpu=cpu, gpu=gpu)):
        for message in batch:
            if isinstance(message, Reproduced):
                document = message.document
            elif isinstance(message, Ended):
                ended = message
        if ended is not None:  # nothing comes behind it; a trial that does not come back ends this process soon
            break
    worker.stop()
    if document is not None:
        return dict(document)
    assert ended is not None
    raise HpoError(f"it could not be trained again: {ended.reason}", remedy="correct that, and try once more")


def _has_gpu() -> bool:
    try:
        import torch  # lazy: seconds
    except ImportError:
        return False
    return bool(torch.cuda.is_available())


@contextlib.contextmanager
def _code_of(path: Path, record: Mapping[str, Any]) -> Iterator[str]:
    """Stand in the folder of the code that the file holds, if it holds any; the digest of its bundle."""
    digest = str((record.get("trainer") or {}).get("bundle") or "")
    data = _archive(path) if path.suffix.lower() == ".zip" else None
    if data is None:
        yield ""
        return
    if hashlib.sha256(data).hexdigest() != digest:
        raise InvalidInput(
            f"the code in {path} must be the bundle that the record names, but it is another one",
            remedy="write it again",
        )
    from hpo_service.bundles.archive import CODE as FOLDER
    from hpo_service.bundles.checking import check

    check(io.BytesIO(data))  # refuses what would lie elsewhere, links, and bombs
    before, paths = Path.cwd(), list(sys.path)
    with tempfile.TemporaryDirectory(prefix="hpo-code-") as folder:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(folder)
        try:
            os.chdir(Path(folder) / FOLDER)
            yield digest
        finally:
            os.chdir(before)
            sys.path[:] = paths


def _archive(path: Path) -> bytes | None:
    with zipfile.ZipFile(path) as outer:
        if CODE not in outer.namelist():
            return None
        with outer.open(CODE) as file:
            return file.read(_RECORD_BYTES)
