"""The server keeps a controller running, and takes it along when it ends. The controller here is a stand-in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpo_service import server
from hpo_service.server import Supervisor, child_environment
from hpo_service.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
STAND_IN = """
import os, pathlib, signal, sys, time
def end(*_):
    pathlib.Path(sys.argv[1], f"ended-{os.getpid()}").touch()
    os._exit(0)
signal.signal(signal.SIGTERM, end)
fds = pathlib.Path("/proc/self/fd")
open_files = [os.readlink(fd) for fd in fds.iterdir() if os.path.lexists(fd)]
file = pathlib.Path(sys.argv[1], f"started-{os.getpid()}")
file.with_suffix(".new").write_text("\\n".join(open_files))
file.with_suffix(".new").rename(file)
sys.stdin.buffer.read()
pathlib.Path(sys.argv[1], f"orphaned-{os.getpid()}").touch()
"""


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until it holds, at most 30 s."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def started(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("started-")) for path in folder.glob("started-*") if path.suffix == ""]


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(server, "BACKOFF_S", (0.01, 0.1))
    found = Supervisor(Settings(data=tmp_path), (sys.executable, "-c", STAND_IN, str(tmp_path)))
    found.start()
    yield found
    found.stop()


def test_a_controller_that_dies_is_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    wait_for(lambda: len(started(tmp_path)) == 1)
    (first,) = started(tmp_path)
    assert supervisor.alive()
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: len(started(tmp_path)) == 2)
    assert supervisor.pid != first
    supervisor.stop()
    assert not supervisor.alive()
    assert (tmp_path / f"ended-{supervisor.pid}").exists()
    assert len(started(tmp_path)) == 2


def test_the_child_notices_that_its_parent_was_killed_and_holds_no_lock(tmp_path: Path) -> None:
    code = f"""
import sys, threading
from hpo_service.server import Supervisor
from hpo_service.settings import Settings
from hpo_service.store.filelock import lock_sqlite
lock = lock_sqlite(sys.argv[1] + "/hpo.db")
supervisor = Supervisor(Settings(), (sys.executable, "-c", {STAND_IN!r}, sys.argv[1]))
supervisor.start()
threading.Event().wait()
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        wait_for(lambda: started(tmp_path))
    finally:
        parent.kill()
        parent.wait()
    (child,) = started(tmp_path)
    wait_for((tmp_path / f"orphaned-{child}").exists)
    assert "hpo.db.lock" not in (tmp_path / f"started-{child}").read_text()


def test_the_child_gets_the_settings_in_force_but_not_the_token(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, lease_s=3.5, token="secret", gpu_hour_dollars=1.25)
    found = child_environment(settings, {"PATH": "/bin", "HPO_TOKEN": "secret", "HPO_LEASE_S": "9"})
    assert "HPO_TOKEN" not in found
    assert "secret" not in found.values()
    assert (found["PATH"], found["HPO_SUPERVISED"]) == ("/bin", "1")
    again = load_settings(found)
    assert (again.lease_s, again.gpu_hour_dollars, again.data) == (3.5, 1.25, tmp_path)
    assert again.resolved_database_url == settings.resolved_database_url
