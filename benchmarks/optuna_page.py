"""optuna-dashboard on the same trials: what its page asks for when it is opened, and after that.

An optional peer: it is used where this Python has it, or the one that HPO_BENCH_OPTUNA_PYTHON names.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks import children, server
from benchmarks.harness import ROOT

NAMED = "HPO_BENCH_OPTUNA_PYTHON"
PATIENCE_S = 300.0
FRESH_S = 11.0
"""It answers from memory for ten seconds after it read its database, whatever moved meanwhile."""


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What its answers took: seconds at the client, and bytes."""

    versions: str
    first_s: float
    first_bytes: int
    again_s: float  # the same by a second reader, the server having read all once
    poll_s: float  # one trial moved since
    poll_bytes: int
    copied_s: float


def look(database: Path, study: str, definition: Mapping[str, Any], folder: Path) -> Looked | str:
    """Copies the study for the peer, serves and asks; or a sentence that says why not."""
    python = os.environ.get(NAMED) or sys.executable
    probed = children.ask("benchmarks.optuna_trials", {"how": "probe"}, python=python)
    if "missing" in probed:
        return f"optuna-dashboard was left out: {probed['missing']} (name a Python that has it in {NAMED})."
    file = folder / "optuna.db"
    request = {
        "how": "copy", "source": str(database), "study": study, "metric": definition["objective"]["metric"],
        "space": definition["space"], "target": str(file),
    }  # fmt: skip
    copied = children.ask("benchmarks.optuna_trials", request, python=python)
    with _served(python, file, folder / "optuna.log") as url, httpx.Client(base_url=url, timeout=PATIENCE_S) as http:
        http.get("/api/meta").raise_for_status()
        first_s, first_bytes = _asked(http, after=0)
        again_s, _ = _asked(http, after=0)
        _report(file, copied["running"][0])
        time.sleep(FRESH_S)
        poll_s, poll_bytes = _asked(http, after=copied["running"][0])
    versions = f"Optuna {probed['optuna']}, optuna-dashboard {probed['dashboard']}"
    return Looked(
        versions=versions, first_s=first_s, first_bytes=first_bytes, again_s=again_s, poll_s=poll_s,
        poll_bytes=poll_bytes, copied_s=copied["seconds"],
    )  # fmt: skip


def _asked(http: httpx.Client, *, after: int) -> tuple[float, int]:
    """Its page asks this at first with `after=0`, then with the number of the first trial that has not ended."""
    began = time.perf_counter()
    answer = http.get("/api/studies/1", params={"after": str(after)}).raise_for_status()
    return time.perf_counter() - began, len(answer.content)


def _report(file: Path, number: int) -> None:
    """One more value of a trial that runs."""
    columns = "trial_id, step, intermediate_value, intermediate_value_type"
    with contextlib.closing(sqlite3.connect(file)) as db, db:
        db.execute(
            f"INSERT INTO trial_intermediate_values ({columns}) VALUES (?, 1000000, 0.5, 'FINITE')", (number + 1,)
        )


@contextlib.contextmanager
def _served(python: str, file: Path, log: Path) -> Iterator[str]:
    port = server.free_port()
    command = [python, "-m", "optuna_dashboard._cli", f"sqlite:///{file}", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=children.environment(), stdout=output, stderr=output, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        server.wait_until_ready(f"{url}/api/meta", process, log)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
