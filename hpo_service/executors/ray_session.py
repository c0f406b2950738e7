"""The connection to Ray: starting a local cluster with a token of its own, or joining one; nodes; leaving.

Ray is imported lazily: the API process and the command line must work where it is not installed. `Session.open` must be
called on a thread that lives as long as the session, for Ray dies with the thread that started it: the main one.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_service.errors import Unavailable
from hpo_service.executors.base import Capacity
from hpo_service.executors.ray_actor import by_value, packages_root
from hpo_service.settings import Settings
from workers.contract import CONTRACT_VERSION

NAMESPACE = "hpo"
OBJECT_STORE_BYTES = 128 * 2**20
"""Messages are small, and data is read by the workers themselves."""
_CHECK_S = 60.0
_KNOCK_S = 5.0
_LONGEST_TEMP_DIR = 40  # a session's socket paths must stay under 107 characters


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A living node and what it has in all."""

    node_id: str
    name: str
    cpu: float
    gpu: float


class Session:
    """A live connection to Ray. `owned`: this process made it, and `close` ends it."""

    def __init__(self, ray: Any, *, owned: bool, local: bool) -> None:
        self.ray = ray
        self.owned = owned
        self.local = local

    @classmethod
    def open(cls, settings: Settings, storage_root: Path) -> Session:
        """Use the Ray that this process already has, join `ray_address`, or start a local one.

        Raises:
            Unavailable: Ray is not installed or cannot be reached, or its nodes lack our packages or the storage.
        """
        prepare_token(local=not settings.ray_address)
        ray = import_ray()
        ray._private.auto_init_hook.enable_auto_connect = False  # or a late call would start another cluster
        if ray.is_initialized():
            return cls(ray, owned=False, local=False)
        if settings.ray_address:
            _join(ray, settings.ray_address)
            check_nodes(ray, storage_root)
            return cls(ray, owned=True, local=False)
        _start_local(ray, settings.ray_cpus)
        return cls(ray, owned=True, local=True)

    def nodes(self) -> list[Node]:
        """Every living node; asks the cluster, about a millisecond."""
        return [
            Node(
                node_id=node["NodeID"],
                name=node["NodeManagerHostname"],
                cpu=float(node["Resources"].get("CPU", 0.0)),
                gpu=float(node["Resources"].get("GPU", 0.0)),
            )
            for node in self.ray.nodes()
            if node["Alive"]
        ]

    def close(self) -> None:
        """End the connection, and the cluster where it is ours."""
        if not self.owned or not self.ray.is_initialized():
            return
        folder = self.ray._private.worker.global_worker.node.get_session_dir_path() if self.local else ""
        self.ray.shutdown()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def capacity_of(nodes: Sequence[Node]) -> Capacity:
    """Totals and per-node maxima; all zero without nodes."""
    return Capacity(
        cpu=sum(node.cpu for node in nodes),
        gpu=sum(node.gpu for node in nodes),
        node_cpu=max((node.cpu for node in nodes), default=0.0),
        node_gpu=max((node.gpu for node in nodes), default=0.0),
    )


def import_ray() -> Any:
    """The ray module; raises `Unavailable` with the remedy where it is missing."""
    try:
        import ray  # lazy: an API host needs no Ray
    except ModuleNotFoundError as error:
        raise Unavailable(
            "the controller runs trials on Ray, but Ray is not installed here",
            remedy="pip install 'hpo-service[server]'",
        ) from error
    return ray


def prepare_token(*, local: bool) -> None:
    """Give the local cluster a token of its own, where nobody set one.

    A new local cluster demands tokens by Ray's own default, and its processes inherit the environment. RAY_AUTH_MODE
    stays as it is: Ray reads it when it is imported, which may have happened. To join a cluster, the token is what the
    operator set (RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token).
    """
    if local and not any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")):
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def temp_dir() -> Path:
    """A short folder of this user for Ray's sessions."""
    name = f"hpo-ray-{os.getuid() if hasattr(os, 'getuid') else 0}"
    preferred = Path(tempfile.gettempdir()) / name
    return preferred if len(str(preferred)) <= _LONGEST_TEMP_DIR else Path("/tmp") / name


def _start_local(ray: Any, cpus: int) -> None:
    folder = temp_dir()
    remove_dead_sessions(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray announces future defaults that do not concern us
        ray.init(
            num_cpus=cpus or None,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            namespace=NAMESPACE,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=str(folder),
        )


def _join(ray: Any, address: str) -> None:
    try:
        _knock(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", namespace=NAMESPACE)
    except Exception as error:
        raise Unavailable(
            f"HPO_RAY_ADDRESS must name a Ray cluster that can be joined, but {address!r} gave: {error}",
            remedy="check that the cluster is up, that this machine is one of its nodes and runs its Ray version, and "
            "that RAY_AUTH_MODE and RAY_AUTH_TOKEN here are those of the cluster",
        ) from error


def _knock(address: str) -> None:
    """Raises where nobody listens: Ray itself tries for minutes."""
    if "://" in address:
        raise ValueError("the address must be host:port, or auto; Ray's client protocol cannot stream results")
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_KNOCK_S).close()


def check_nodes(ray: Any, storage_root: Path) -> None:
    """Import our packages on every node that can train, and look for the storage there.

    Raises:
        Unavailable: a node lacks our packages, has others, does not see the storage, or does not answer.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    check = ray.remote(num_cpus=0, max_retries=0)(by_value()[1])
    storage_root.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=storage_root, prefix="seen-by-all-", suffix=".tmp") as probe:
        asked = [
            (
                node["NodeManagerHostname"],
                check.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                    packages_root(), probe.name
                ),
            )
            for node in ray.nodes()
            if node["Alive"] and (node["Resources"].get("CPU") or node["Resources"].get("GPU"))
        ]
        for name, reference in asked:
            _check_answer(ray, name, reference, storage_root)


def _check_answer(ray: Any, name: str, reference: Any, storage_root: Path) -> None:
    remedy = "install hpo-service[worker], of this version, on every node of the cluster"
    try:
        version, seen = ray.get(reference, timeout=_CHECK_S)
    except Exception as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise Unavailable(f"node {name} cannot train: {why}", remedy=remedy) from error
    if version != CONTRACT_VERSION:
        raise Unavailable(f"node {name} speaks contract {version}, but this side {CONTRACT_VERSION}", remedy=remedy)
    if not seen:
        raise Unavailable(
            f"every node must read the checkpoints in HPO_STORAGE, but node {name} does not see {storage_root}",
            remedy="mount the same shared folder at this path on every node",
        )


def remove_dead_sessions(folder: Path) -> None:
    """Remove what killed controllers left: sessions whose starter has ended; a session's name ends in its pid."""
    for session in folder.glob("session_*_*"):
        pid = session.name.rpartition("_")[2]
        if not session.is_symlink() and pid.isdigit() and not _is_alive(int(pid)):
            shutil.rmtree(session, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def require_main_thread() -> None:
    """Raises RuntimeError on any thread but the main one."""
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "Ray must be started on the main thread, for it dies with the thread that started it, but this is "
            f"{threading.current_thread().name!r}; make the RayExecutor on the main thread"
        )
