"""One real `hpo serve` with a real Ray for all acceptance tests that do not kill it, and the real `hpo` beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import hpo_service as hpo
from tests.acceptance.processes import Server

ROOT = Path(__file__).parents[2]
USER_CODE = Path(__file__).parent / "user_code"
COMMAND_S = 90.0


@dataclass(frozen=True)
class Hpo:
    """The command `hpo`, run as a process of its own against the server."""

    server: Server
    folder: Path

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HPO_")}
        environment = {**kept, "HPO_URL": self.server.url, "HPO_DATA": str(self.server.data), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-m", "hpo_service.cli", *map(str, arguments)],
            env=environment,
            cwd=self.folder,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run to the end; asserts the exit status."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=COMMAND_S)
        finally:
            process.kill()
        assert process.returncode == status, f"hpo {arguments} ended with {process.returncode}:\n{out}\n{err}"
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def __call__(self, *arguments: str | Path) -> str:
        """What it printed."""
        return self.run(*arguments).stdout

    def json(self, *arguments: str | Path) -> Any:
        return json.loads(self("--json", *arguments))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {
        "HPO_RAY_CPUS": "2",
        "HPO_CPU_HOUR_DOLLARS": "36",  # a cent per second, so that budgets of dollars end within a test
        "PYTHONPATH": f"{ROOT}{os.pathsep}{USER_CODE}",
    }
    found = Server(tmp_path_factory.mktemp("acceptance"), environment=environment)
    try:
        yield found.start()
    finally:
        status = found.stop()
    assert status == 0, found.log
    log = (found.data / "server.log").read_text(errors="replace")
    assert "Fatal Python error" not in log, found.log
    assert "Traceback" not in log, found.log


@pytest.fixture
def command(server: Server, tmp_path: Path) -> Hpo:
    return Hpo(server, tmp_path)


@pytest.fixture(scope="session")
def client(server: Server) -> Iterator[hpo.Client]:
    with server.client() as found:
        yield found


@pytest.fixture(scope="session")
def rest(server: Server) -> Iterator[httpx.Client]:
    """Plain HTTP below /api/v1."""
    with httpx.Client(base_url=f"{server.url}/api/v1", timeout=30) as found:
        yield found


@pytest.fixture
def until() -> Callable[..., Any]:
    """`until(f)`: what `f` gives as soon as it is true of anything; fails after a time."""

    def wait(look: Callable[[], Any], timeout_s: float = 60.0) -> Any:
        deadline = time.monotonic() + timeout_s
        while not (found := look()):
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
            time.sleep(0.05)
        return found

    return wait
