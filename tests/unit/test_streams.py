"""Streams of tests side by side: what is printed, and the exit status."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import streams

RULED = "print('==== starts ===='); print('a.py .'); print('==== FAILURES ===='); print('why')"


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


@pytest.mark.parametrize(("statuses", "status"), [((0, 0), 0), ((0, 3), 3), ((2, 3), 2)])
def test_both_run_and_the_first_that_failed_tells(
    statuses: tuple[int, int], status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    commands = {f"s{n}": python(f"{RULED}; exit({code})") for n, code in enumerate(statuses)}
    assert streams.side_by_side(commands) == status
    out = capfd.readouterr().out
    for name in commands:
        assert f"{name:9} a.py ." in out
        assert f"\n{name}:\n==== FAILURES ====\nwhy\n" in out


def test_they_run_at_once(tmp_path: Path) -> None:
    """Each waits for the other."""
    wait = "import pathlib, time\nwhile not pathlib.Path({other!r}).exists(): time.sleep(.01)"
    make = "open({own!r}, 'w').close()\n"
    paths = [str(tmp_path / name) for name in "ab"]
    commands = {own: python(make.format(own=own) + wait.format(other=other)) for own, other in (paths, reversed(paths))}
    assert streams.side_by_side(commands) == 0


def test_one_that_was_killed_did_not_pass(capfd: pytest.CaptureFixture[str]) -> None:
    killed = python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert streams.side_by_side({"fine": python(""), "killed": killed}) != 0


def test_what_holds_the_pipe_open_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LAST_LINES_S", 0.1)
    child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(5)'])"
    assert streams.side_by_side({"one": python(child)}) == 0


def test_each_stream_has_its_files() -> None:
    paths = streams.with_processes()
    assert all((streams.ROOT / path).exists() for path in paths)
    assert {"tests/acceptance", "tests/browser", "tests/integration/test_ray_executor.py"} <= set(paths)
    assert "tests/integration/test_fused_studies.py" not in paths
