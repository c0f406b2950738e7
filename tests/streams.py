"""`python -m tests.streams [PYTEST'S OPTION …]`: all tests, in two streams side by side.

Tests with servers, browsers and Ray wait for other processes half of the time; the others compute meanwhile. A line is
printed when a file of tests is through; what pytest says of failures, when its stream is. The exit status is 0 if both
streams passed, and else that of the first that did not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
RULED = re.compile(r"(\x1b\[[\d;]*m)*={3,} ")
LAST_LINES_S = 10.0
"""So long lines are waited for after the end: a process that a test left running may hold the pipe open."""


def main(options: Sequence[str]) -> int:
    color = ["--color=yes"] if sys.stdout.isatty() else []
    pytest = [sys.executable, "-m", "pytest", *color, *options]
    paths = with_processes()
    others = [f"--ignore={path}" for path in paths]
    return side_by_side(
        {
            "processes": [*pytest, "-o", "cache_dir=.pytest_cache/processes", *paths],
            "others": [*pytest, "-o", "cache_dir=.pytest_cache/others", *others],
        }
    )


def with_processes() -> list[str]:
    """Folders and files whose tests start processes. Integration tests called `…_studies` have simulated workers."""
    integration = sorted(path for path in (ROOT / "tests/integration").glob("test_*.py"))
    mixed = [f"tests/integration/{path.name}" for path in integration if not path.stem.endswith("_studies")]
    return ["tests/acceptance", "tests/browser", *mixed]


def side_by_side(commands: Mapping[str, Sequence[str]]) -> int:
    """Run all commands at once and print their lines behind their names; all are over when it returns or raises."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    running: dict[str, subprocess.Popen[str]] = {}
    one_prints = threading.Lock()
    try:
        for name, command in commands.items():
            running[name] = subprocess.Popen(
                command, env=environment, text=True, errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
        readers = [
            threading.Thread(target=_print, args=(name, process, one_prints), daemon=True)
            for name, process in running.items()
        ]
        for reader in readers:
            reader.start()
        statuses = [process.wait() for process in running.values()]
        for reader in readers:
            reader.join(LAST_LINES_S)
    finally:
        for process in running.values():
            if process.poll() is None:
                process.terminate()
        for process in running.values():
            process.wait()
    return next((status for status in statuses if status), 0)


def _print(name: str, process: subprocess.Popen[str], one_prints: threading.Lock) -> None:
    """Lines as they come; from the second ruled one on, where pytest tells of failures, all at the end together."""
    assert process.stdout is not None
    rules, told = 0, []
    with process.stdout as lines:
        for line in lines:
            rules += RULED.match(line) is not None
            if rules > 1:
                told.append(line)
                continue
            with one_prints:
                print(f"{name:9} {line}", end="", flush=True)
    with one_prints:
        print(f"\n{name}:\n{''.join(told)}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
