"""The real service for a benchmark: `hpo serve` in a process of its own on loopback, with SQLite and a local Ray."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from benchmarks import children
from benchmarks.harness import ROOT

START_S = 120.0
STOP_S = 30.0
LOG = "server.log"
SERVER, CONTROLLER, WORKERS, RAY = PARTS = ("server", "controller", "workers", "Ray")
_servers: dict[str, subprocess.Popen[bytes]] = {}  # by address


@contextlib.contextmanager
def running(data: Path, *, cpus: int = 2, controller: bool = True, database_url: str = "") -> Iterator[str]:
    """A server with its storage in `data`, and its database, unless that is elsewhere; gives its address once a
    controller leads, or, without one, once it answers."""
    with starting(data, cpus=cpus, controller=controller, database_url=database_url) as (url, _):
        wait_until_ready(url + ("/readyz" if controller else "/healthz"), _servers[url], data / LOG)
        yield url


@contextlib.contextmanager
def starting(
    data: Path, *, cpus: int = 2, controller: bool = True, database_url: str = ""
) -> Iterator[tuple[str, float]]:
    """A server that was just started: its address, and when that was on the monotonic clock."""
    data.mkdir(parents=True, exist_ok=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = children.environment(HPO_RAY_CPUS=str(cpus), HPO_LOG_LEVEL="warning", HPO_DATABASE_URL=database_url)
    command = [sys.executable, "-m", "hpo_service.cli", "serve", "--port", str(port), "--data", str(data)]
    command += [] if controller else ["--no-controller"]
    began = time.monotonic()
    with (data / LOG).open("ab") as output:
        server = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    _servers[url] = server
    try:
        yield url, began
    finally:
        del _servers[url]
        _stop(server)


def wait_for_workers(url: str, count: int) -> None:
    """Until that many workers are up and idle: one that still imports would take time from whatever is measured."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        found = httpx.get(f"{url}/api/v1/workers", timeout=10).raise_for_status().json()["items"]
        if sum(worker["state"] == "idle" for worker in found) >= count:
            return
        time.sleep(0.2)
    raise RuntimeError(f"{count} workers should have come up, but there are {found}")


def cpu_seconds(url: str) -> float:
    """CPU time that the server at `url`, its controller, its Ray and its workers have used so far, all together."""
    return tree_cpu_seconds(_servers[url].pid)


def tree_cpu_seconds(root: int) -> float:
    """CPU time so far of a process and all of its living descendants."""
    parents, used = _processes()
    return sum(seconds for pid, seconds in used.items() if _descends(pid, root, parents))


def own_cpu_seconds(url: str) -> float:
    """CPU time of the process that answers requests alone."""
    return _processes()[1][_servers[url].pid]


def cpu_split(url: str) -> dict[str, float]:
    """CPU seconds so far of the process that answers requests, the controller, the workers, and Ray's own processes."""
    root = _servers[url].pid
    parents, used = _processes()
    split = dict.fromkeys(PARTS, 0.0)
    for pid, seconds in used.items():
        if _descends(pid, root, parents):
            split[SERVER if pid == root else part_of(_command(pid))] += seconds
    return split


def part_of(command: str) -> str:
    """Whose a child of the server is, by its command line: Ray names the processes of its actors `ray::CLASS`."""
    if "hpo_service.controller" in command:
        return CONTROLLER
    return WORKERS if command.startswith("ray::") else RAY


def _command(pid: int) -> str:
    """The command line; empty where the process is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _processes() -> tuple[dict[int, int], dict[int, float]]:
    """Parent and CPU seconds of every process."""
    parents, used = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            pid = int(stat.parent.name)
            parents[pid] = int(fields[1])
            used[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return parents, used


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid != root and pid in parents:
        pid = parents[pid]
    return pid == root


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=2).status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the server did not become ready (status {server.poll()}); it said:\n{log.read_text()[-3000:]}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
