"""What `hpo doctor` looks at on this machine, and what the server says of itself. Each check survives what it misses.

A check reports; it changes nothing but a file that it writes and removes again in the storage folder. Not here: how
checks are printed.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import platform
import shutil
import socket
import sys
import uuid
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpo_service.client import text
from hpo_service.client.results import Check
from hpo_service.errors import HpoError, NotFound, Unauthorized
from hpo_service.settings import Settings

if TYPE_CHECKING:
    from hpo_service.client import Client

EXTRAS = {
    "server": (
        "alembic",
        "fastapi",
        "jinja2",
        "optuna",
        "prometheus_client",
        "psycopg",
        "pyarrow",
        "ray",
        "sqlalchemy",
        "uvicorn",
    ),
    "worker": ("ray", "sklearn", "torch"),
    "gp": ("scipy", "torch"),
    "dataframe": ("pandas",),
    "bench": ("onnxruntime",),
}
PACKAGES = ("httpx", "numpy", "pydantic", "fastapi", "sqlalchemy", "optuna", "ray", "torch", "scikit-learn", "pandas")
LEAST_FREE = 1 << 30
ANSWER_WITHIN_S = 2.0


def all_checks(settings: Settings, client: Callable[[], Client]) -> list[Check]:
    """Every check, in the order in which a person would look."""
    checks: list[Callable[[], Check | Iterable[Check]]] = [
        check_python,
        check_packages,
        check_extras,
        lambda: check_settings(settings),
        lambda: check_database(settings),
        lambda: check_storage(settings),
        lambda: check_port(settings),
        check_accelerators,
        lambda: check_ray(settings),
        lambda: check_server(client),
    ]
    found: list[Check] = []
    for check in checks:
        result = _survived(check)
        found += [result] if isinstance(result, Check) else list(result)
    return found


def _survived(check: Callable[[], Check | Iterable[Check]]) -> Check | Iterable[Check]:
    try:
        return check()
    except Exception as error:  # a doctor that falls ill is of no use: say so and go on
        name = getattr(check, "__name__", "check").removeprefix("check_")
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Check(name=name.replace("<lambda>", "check"), ok=False, detail=reason, remedy="see the message")


def check_python() -> Check:
    """Python's version, the system, the CPUs."""
    ok = sys.version_info >= (3, 11)
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    return Check(name="python", ok=ok, detail=detail, remedy="" if ok else "install Python 3.11 or newer")


def check_packages() -> Check:
    """The versions of the packages that matter."""
    return Check(
        name="packages", ok=True, detail=", ".join(f"{name} {_version(name)}" for name in PACKAGES if _version(name))
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def check_extras() -> list[Check]:
    """Which extras are whole. None is needed by the SDK and the command line, so a missing one is no fault."""
    found = []
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if importlib.util.find_spec(module) is None]
        detail = "installed" if not missing else f"not installed (lacks {', '.join(missing)})"
        remedy = f"where it is wanted: pip install 'hpo-service[{extra}]'" if missing else ""
        found.append(Check(name=f"extra {extra}", ok=True, detail=detail, remedy=remedy))
    return found


def check_settings(settings: Settings) -> Check:
    """The settings that were changed from their defaults."""
    changed = {
        name: "…" if name == "token" else getattr(settings, name)
        for name, field in type(settings).model_fields.items()
        if getattr(settings, name) != field.default
    }
    detail = " ".join(f"HPO_{name.upper()}={value}" for name, value in changed.items()) or "all defaults"
    return Check(name="settings", ok=True, detail=_without_password(detail))


def _without_password(detail: str) -> str:
    import re

    return re.sub(r"(://[^:/@\s]*):[^@\s]*@", r"\1:…@", detail)


def check_database(settings: Settings) -> Check:
    """Whether the database can be opened and its schema is ours. A new SQLite file is made by the first `hpo serve`."""
    url = settings.resolved_database_url
    shown = _without_password(url)
    if importlib.util.find_spec("sqlalchemy") is None:
        return Check(name="database", ok=True, detail="not looked at: the extra server is not installed")
    path = Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None
    if path is not None and not path.exists():
        return Check(name="database", ok=True, detail=f"{shown} will be made by the first `hpo serve`")
    store = importlib.import_module("hpo_service.store.database")
    try:
        store.open_database(url, create=False).close()
    except HpoError as error:
        return Check(
            name="database", ok=False, detail=f"{shown}: {error.message}", remedy=error.remedy or "check the URL"
        )
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        remedy = "is it running, and are user, password and name right?"
        return Check(name="database", ok=False, detail=f"{shown}: {reason}", remedy=remedy)
    return Check(name="database", ok=True, detail=f"{shown} opens; its schema is current")


def check_storage(settings: Settings) -> Check:
    """Whether the storage folder can be written and read back, and has room."""
    folder = settings.resolved_storage
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    probe = place / f".hpo-doctor-{uuid.uuid4().hex[:8]}"
    try:
        probe.write_bytes(b"probe")
        same = probe.read_bytes() == b"probe"
    except OSError as error:
        detail = f"{folder}: cannot be written ({error.strerror})"
        return Check(name="storage", ok=False, detail=detail, remedy="give this user the folder, or set HPO_STORAGE")
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    free = shutil.disk_usage(place).free
    ok = same and free >= LEAST_FREE
    remedy = "" if ok else f"checkpoints need room: free some, {text.byte_size(LEAST_FREE)} at least"
    return Check(name="storage", ok=ok, detail=f"{folder}: writable, {text.byte_size(free)} free", remedy=remedy)


def check_port(settings: Settings) -> Check:
    """Whether the port is free for `hpo serve`, or our own server holds it."""
    where = f"{settings.host}:{settings.port}"
    host = settings.host if settings.is_loopback else "127.0.0.1"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(ANSWER_WITHIN_S)
        taken = settings.port != 0 and probe.connect_ex((host, settings.port)) == 0
    if not taken:
        return Check(name="port", ok=True, detail=f"{where} is free")
    if _is_ours(f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"):
        return Check(name="port", ok=True, detail=f"{where} is held by an hpo-service server")
    return Check(name="port", ok=False, detail=f"{where} is taken by another program", remedy="set HPO_PORT")


def _is_ours(url: str) -> bool:
    import httpx  # loaded with the command that needs it

    try:
        answer = httpx.get(f"{url}/healthz", timeout=ANSWER_WITHIN_S, trust_env=False)
        return answer.status_code < 500 and "status" in answer.json()
    except (httpx.HTTPError, ValueError, TypeError):
        return False


def check_accelerators() -> Check:
    """What PyTorch sees on this machine."""
    if importlib.util.find_spec("torch") is None:
        return Check(name="accelerators", ok=True, detail="not looked at: torch is not installed")
    torch: Any = importlib.import_module("torch")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = ", ".join(torch.cuda.get_device_name(index) for index in range(count))
    built_for_gpu = getattr(torch.version, "cuda", None) is not None
    remedy = ""
    if not count and shutil.which("nvidia-smi"):
        remedy = "nvidia-smi is here: install a CUDA build of torch" if not built_for_gpu else "check the GPU driver"
    return Check(
        name="accelerators", ok=True, detail=f"torch {torch.__version__}: {names or 'CPU only'}", remedy=remedy
    )


def check_ray(settings: Settings) -> Check:
    """Whether Ray is there and, for an existing cluster, whether its address answers and a token is at hand."""
    if importlib.util.find_spec("ray") is None:
        return Check(name="ray", ok=True, detail="not looked at: ray is not installed")
    installed = f"ray {_version('ray')}"
    address = settings.ray_address
    if address in ("", "auto", "local"):
        meaning = "the cluster on this machine" if address == "auto" else "a local Ray is started when needed"
        return Check(
            name="ray",
            ok=True,
            detail=f"{installed}; {meaning}",
        )
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_WITHIN_S).close()
    except (OSError, ValueError) as error:
        detail = f"{installed}; HPO_RAY_ADDRESS={address} does not answer ({error})"
        return Check(name="ray", ok=False, detail=detail, remedy="start the cluster, or correct HPO_RAY_ADDRESS")
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "token" and not _has_ray_token():
        remedy = "set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token"
        return Check(
            name="ray", ok=False, detail=f"{installed}; token authentication is on, but no token is here", remedy=remedy
        )
    return Check(name="ray", ok=True, detail=f"{installed}; {address} answers")


def _has_ray_token() -> bool:
    path = os.environ.get("RAY_AUTH_TOKEN_PATH", "")
    candidates = [Path(path)] if path else [Path.home() / ".ray" / "auth_token"]
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or any(one.is_file() for one in candidates)


def check_server(client: Callable[[], Client]) -> list[Check]:
    """Whether the server answers, and its own checks. No server is no fault: this machine may be one to start it on."""
    try:
        found = client().doctor()
    except (Unauthorized, NotFound) as error:
        return [
            Check(
                name="server",
                ok=False,
                detail=f"{client().url}: {error.message}",
                remedy=error.remedy or "check HPO_URL",
            )
        ]
    except HpoError as error:
        return [
            Check(name="server", ok=True, detail=error.message, remedy="start one with `hpo serve`, or set HPO_URL")
        ]
    own = Check(name="server", ok=True, detail=f"{client().url} answers")
    return [own, *(check.model_copy(update={"name": f"server: {check.name}"}) for check in found)]
