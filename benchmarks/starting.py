"""Waiting: from starting `hpo serve` to its first answer and to its warm workers, and from submitting a study to its
first report.

The study is the perceptron on digits of `training`. What a worker does once in its life (it loads the data with its
first study) is shown by the first study apart from the others. Times are of the log's own entries, so that looking on
takes nothing from what is measured.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx

from benchmarks import server, training
from benchmarks.harness import Figure, Options, Outcome, Table

WORKERS = 2
TRIALS = 8
LOOK_S = 0.01
GIVE_UP_S = 120.0
STAGES = ("submission answered", "preflight passed", "first decision", "first report")


def run(options: Options) -> Outcome:
    rounds, studies = (1, 2) if options.quick else (3, 6)
    starts: list[tuple[float, float]] = []
    first: list[dict[str, float]] = []
    later: list[dict[str, float]] = []
    for number in range(rounds):
        with server.starting(options.scratch / f"server-{number}", cpus=WORKERS) as (url, began):
            answered = _answers(f"{url}/healthz") - began
            server.wait_for_workers(url, WORKERS)
            starts.append((answered, time.monotonic() - began))
            stages = [submit(url, seed) for seed in range(studies)]
            first += stages[:1]
            later += stages[1:]
    return _outcome(starts, first, later)


def _answers(url: str) -> float:
    """When the address answered."""
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=GIVE_UP_S).status_code == 200:
                return time.monotonic()
        except httpx.TransportError:
            time.sleep(LOOK_S)
    raise RuntimeError(f"{url} should have answered in {GIVE_UP_S:g} s")


def submit(url: str, seed: int) -> dict[str, float]:
    """Seconds from the submission of a study to each stage of its beginning."""
    with httpx.Client(base_url=f"{url}/api/v1", timeout=30) as http:
        http.get("/workers").raise_for_status()  # a connection that is open, as a client's is
        began = time.time()
        study = http.post("/studies", json=training.definition(TRIALS, seed)).raise_for_status().json()["id"]
        answered = time.time() - began
        deadline = time.monotonic() + GIVE_UP_S
        while http.get(f"/studies/{study}").raise_for_status().json()["state"] in ("preflight", "running"):
            if time.monotonic() > deadline:
                raise RuntimeError(f"study {study} should have ended in {GIVE_UP_S:g} s")
            time.sleep(0.25)
        log = http.get(f"/studies/{study}/log").raise_for_status().json()["items"]
    found: dict[str, float] = {"submission answered": answered}
    for entry in log:
        stage = _stage(entry)
        if stage is not None:
            found.setdefault(stage, datetime.fromisoformat(entry["at"]).timestamp() - began)
    if set(found) != set(STAGES):
        raise RuntimeError(f"study {study} should have reported, but its log tells of {sorted(found)}")
    return found


def _stage(entry: Mapping[str, Any]) -> str | None:
    """What the log's entry is the first sign of."""
    if entry["kind"] == "study_state_changed" and entry["payload"]["state"] == "running":
        return "preflight passed"
    return {"decided": "first decision", "reported": "first report"}.get(entry["kind"])


def _outcome(
    starts: list[tuple[float, float]], first: list[dict[str, float]], later: list[dict[str, float]]
) -> Outcome:  # fmt: skip
    answered, warm = (statistics.median(values) for values in zip(*starts, strict=True))
    columns = {
        stage: [statistics.median(study[stage] for study in studies) for studies in (first, later)] for stage in STAGES
    }
    slowest = max(study["first report"] for study in later)
    return Outcome(
        tables=[
            Table(
                headings=("from the start of `hpo serve`", "s"),
                rows=[("to its first answer", answered), (f"to {WORKERS} warm workers", warm)],
            ),
            Table(
                headings=("from the submission", "a server's first study, s", "later studies, s"),
                rows=[(stage, *values) for stage, values in columns.items()],
            ),
        ],
        figures=[
            Figure(name="first answer", value=answered, unit="s", below=2.0),
            Figure(name="warm workers", value=warm, unit="s"),
            Figure(name="first report", value=columns["first report"][1], unit="s", below=1.0),
            Figure(name="first report, slowest", value=slowest, unit="s"),
        ],
        notes=[f"Medians of {len(starts)} servers, {len(first)} first and {len(later)} later studies."],
    )
