"""A real `hpo serve` in a process of its own, to be talked to and killed. Ends only processes that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

import hpo_service as hpo

READY_S = 90.0
POLL_S = 0.1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def children(pid: int) -> list[int]:
    """The direct children of a process, by /proc."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    return []


def command_line(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


@dataclass
class Server:
    """`hpo serve` over the database and storage in `data`."""

    data: Path
    database_url: str = ""
    port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        path = self.data / "server.log"
        return path.read_text(errors="replace")[-6000:] if path.exists() else ""

    def start(self, *, ready: bool = True) -> Server:
        self.data.mkdir(parents=True, exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("HPO_")} | self.environment
        if self.database_url:
            environment["HPO_DATABASE_URL"] = self.database_url
        command = [sys.executable, "-m", "hpo_service.cli", "serve", "--port", str(self.port), "--data", str(self.data)]
        with (self.data / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
            )
        if ready:
            self.wait_ready()
        return self

    def wait_ready(self, path: str = "/readyz") -> None:
        """Until the API answers and a controller leads."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, f"the server ended:\n{self.log}"
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(self.url + path, timeout=5).status_code == 200:
                    return
            time.sleep(POLL_S)
        raise AssertionError(f"the server was not ready within {READY_S:g} s:\n{self.log}")

    def client(self) -> hpo.Client:
        return hpo.Client(self.url)

    def controller_pid(self) -> int | None:
        """The supervised controller's process id, None while there is none."""
        assert self.process is not None
        found = [pid for pid in children(self.process.pid) if "hpo_service.controller" in command_line(pid)]
        return found[0] if found else None

    def worker_pids(self) -> list[int]:
        """Process ids of the warm workers, as `GET /workers` tells."""
        rows = httpx.get(f"{self.url}/api/v1/workers", timeout=10).json()["items"]
        return [int(row["detail"]["pid"]) for row in rows if row["state"] != "gone" and "pid" in row["detail"]]

    def kill(self) -> None:
        """kill -9 of the API process; its controller must die with it."""
        assert self.process is not None
        controller = self.controller_pid()
        self.process.kill()
        self.process.wait(timeout=30)
        if controller is not None:
            wait_gone(controller)

    def stop(self) -> int:
        """A polite end; the exit status."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(timeout=10)
        return int(self.process.returncode)


@contextlib.contextmanager
def showing(data: Path) -> Iterator[Server]:
    """A server over `data` that answers and decides nothing: for what is stored, and for clients that train."""
    server = Server(data, arguments=("--no-controller",))
    try:
        server.start(ready=False)
        server.wait_ready("/healthz")
        yield server
    finally:
        server.stop()


def kill_9(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_gone(pid: int, timeout_s: float = 15.0) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not Path(f"/proc/{pid}").exists() or "\nState:\tZ" in _status(pid):
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} outlived its parent: {command_line(pid)}")


def _status(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/status").read_text()
    return "\nState:\tZ"
