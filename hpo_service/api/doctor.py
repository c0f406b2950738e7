"""Checks of the server's own installation: database, controller, storage, artifacts, tokens, workers, packages."""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from hpo_service.api.schemas import Check
from hpo_service.api.state import Shared
from hpo_service.errors import HpoError
from hpo_service.store import access, heads, workers

LEAST_FREE_BYTES = 1 << 30
PACKAGES = {"ray": "server", "optuna": "server", "pyarrow": "server", "torch": "worker", "sklearn": "worker"}


def readiness(shared: Shared) -> list[Check]:
    """What must hold before the server is ready. Raises Unavailable where the database does not answer."""
    return [_database(shared), _controller(shared)]


def checks(shared: Shared) -> list[Check]:
    """Every check; one that breaks is reported as failed."""
    found = [
        _guarded(name, check, shared)
        for name, check in (
            ("database", _database),
            ("controller", _controller),
            ("storage", _storage),
            ("artifacts", _artifacts),
            ("tokens", _tokens),
            ("workers", _workers),
        )
    ]
    return [*found, *_packages()]


def _guarded(name: str, check: Callable[[Shared], Check], shared: Shared) -> Check:
    try:
        return check(shared)
    except (HpoError, OSError) as error:
        return Check(name=name, ok=False, detail=str(error), remedy=getattr(error, "remedy", "") or "see the detail")


def _database(shared: Shared) -> Check:
    kind = shared.db.dialect
    if heads.schema_is_current(shared.db):
        return Check(name="database", ok=True, detail=f"{kind} answers and its schema is current", remedy="")
    return Check(
        name="database", ok=False, detail=f"the {kind} schema is of another version", remedy="restart the server"
    )


def _controller(shared: Shared) -> Check:
    if shared.controller_alive is not None and not shared.controller_alive():
        detail = "the controller process is down and being restarted"
        return Check(name="controller", ok=False, detail=detail, remedy="see the server's log")
    leadership = heads.leadership(shared.db)
    if leadership.without and shared.controller_alive is None:
        detail = f"no controller leads {leadership.without} of {leadership.studies} studies"
        return Check(name="controller", ok=False, detail=detail, remedy="start one with hpo controller")
    detail = f"{leadership.studies - leadership.without} of {leadership.studies} studies are led"
    return Check(name="controller", ok=True, detail=detail, remedy="")


def _storage(shared: Shared) -> Check:
    root = shared.settings.resolved_storage
    try:
        _write_and_read(root)
    except OSError as error:
        remedy = "make the folder writable, or set HPO_STORAGE"
        return Check(name="storage", ok=False, detail=f"{root}: {error.strerror or error}", remedy=remedy)
    free = shutil.disk_usage(root).free
    detail = f"{root} can be written and read, {free / 1e9:.1f} GB are free"
    if free < LEAST_FREE_BYTES:
        return Check(name="storage", ok=False, detail=detail, remedy="free space, or set HPO_STORAGE to another disk")
    return Check(name="storage", ok=True, detail=detail, remedy="")


def _artifacts(shared: Shared) -> Check:
    shared.artifacts.probe()
    return Check(name="artifacts", ok=True, detail=f"{shared.artifacts.root} can be written and read", remedy="")


def _write_and_read(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=root, prefix=".doctor-") as file:
        file.write(b"doctor")
        file.flush()
        os.fsync(file.fileno())
        if Path(file.name).read_bytes() != b"doctor":
            raise OSError("what was written reads back differently")


def _tokens(shared: Shared) -> Check:
    if shared.settings.is_loopback:
        detail = f"the server listens on {shared.settings.host} only, where no token is needed"
        return Check(name="tokens", ok=True, detail=detail, remedy="")
    some = access.any_tokens(shared.db)
    detail = "every request needs a bearer token" if some else "no valid token exists, so that nobody can call"
    return Check(name="tokens", ok=some, detail=detail, remedy="" if some else "make one with hpo token create")


def _workers(shared: Shared) -> Check:
    rows = workers.workers(shared.db)
    devices = sorted({row.device for row in rows if row.device})
    detail = f"{len(rows)} warm workers" + (f" on {', '.join(devices)}" if devices else "")
    return Check(name="workers", ok=True, detail=detail, remedy="")


def _packages() -> Iterator[Check]:
    for package, extra in PACKAGES.items():
        there = importlib.util.find_spec(package) is not None  # finds, does not import
        needed = extra == "server"
        yield Check(
            name=f"package {package}",
            ok=there or not needed,
            detail="installed" if there else f"not installed here; part of hpo-service[{extra}]",
            remedy="" if there or not needed else f"pip install 'hpo-service[{extra}]'",
        )
