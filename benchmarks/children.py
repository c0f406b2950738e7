"""Contenders as child processes: one request in, one JSON answer out, and nothing of them left behind.

A child is a module of this package whose `main` calls `serve(answer)`. A process of its own keeps one contender's Ray,
threads and imports away from the next one's.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.harness import ROOT

MARK = "benchmark-answer: "


def ask(
    module: str, request: dict[str, Any], *, timeout_s: float = 900.0, python: str = sys.executable
) -> dict[str, Any]:
    """Run `python -m module`, hand it the request, return its answer; raises RuntimeError with its last words."""
    process = subprocess.Popen(
        [python, "-m", module],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(json.dumps(request), timeout=timeout_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    for line in reversed(output.splitlines()):
        if line.startswith(MARK):
            answer: dict[str, Any] = json.loads(line.removeprefix(MARK))
            return answer
    raise RuntimeError(f"{module} gave no answer (status {process.returncode}); it said:\n{output[-3000:]}")


def serve(answer: Callable[..., dict[str, Any]]) -> None:
    """In the child: answer the one request on standard input."""
    request = json.loads(sys.stdin.read())
    print(MARK + json.dumps(answer(**request)), flush=True)


def environment(**more: str) -> dict[str, str]:
    """The environment of every contender: this checkout on the path, one computing thread per process, quiet Ray."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    fixed = {
        "PYTHONPATH": path,
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    return {**os.environ, **fixed, **more}
