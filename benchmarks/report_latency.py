"""From a report to its committed row: on our own workers through Ray, and from external workers through REST.

Ray: from the worker's `report` until the collector has committed it, at 500 reports a second from two workers.
REST: the time of `POST /reports`, whose answer means committed, at the same rate in bodies of ten, and one by one at a
fifth of it.
"""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks import children, server
from benchmarks.harness import Figure, Options, Outcome, Table, percentile

RATE = 500.0
CLIENTS = 4
SETTLE_S = 5.0  # Ray goes on starting processes for a while after it is ready
RAY = "our workers, through Ray"
TENS = f"external workers, {CLIENTS} clients, bodies of 10"
ONES = f"external workers, {CLIENTS} clients, one by one"
PATHS = (RAY, TENS, ONES)


def run(options: Options) -> Outcome:
    seconds, rounds = (4.0, 1) if options.quick else (6.0, 3)
    runs: dict[str, list[Posted]] = {path: [] for path in PATHS}
    for number in range(rounds):
        request = {"folder": str(options.scratch / f"ray-{number}"), "rate": RATE, "seconds": seconds}
        found = children.ask("benchmarks.report_path", request)
        runs[RAY].append(Posted(latencies_ms=found["latencies_ms"], per_s=found["per_s"]))
    with server.running(options.scratch / "server") as url:
        time.sleep(SETTLE_S)
        for _ in range(rounds):
            runs[TENS].append(post_reports(url, per_s=RATE, size=10, seconds=seconds))
            runs[ONES].append(post_reports(url, per_s=RATE / 5, size=1, seconds=seconds))
    rows = [_row(path, found) for path, found in runs.items()]
    headings = ("path", "reports/s", "p50 ms", "p95 ms", "p99 ms", "worst ms")
    return Outcome(
        tables=[Table(headings=headings, rows=rows)],
        figures=[
            Figure(name="p95 through Ray", value=rows[0][3], unit="ms", below=100.0),
            Figure(name="p95 through REST, bodies of 10", value=rows[1][3], unit="ms", below=100.0),
        ],
        notes=[
            f"Each row holds the medians of {rounds} runs of {seconds:g} s.",
            "Through REST the clock starts when a body is due: a late answer counts against the next one too.",
        ],
    )


def _row(path: str, runs: list[Posted]) -> tuple[Any, ...]:
    """Medians over runs of each run's rate and percentiles."""
    each = [[run.per_s, *(percentile(run.latencies_ms, share) for share in (0.5, 0.95, 0.99, 1.0))] for run in runs]
    return (path, *(statistics.median(values) for values in zip(*each, strict=True)))


@dataclass
class Posted:
    """What the clients of one run saw; a report's latency is that of its body."""

    latencies_ms: list[float] = field(default_factory=list)
    per_s: float = 0.0
    began: float = 0.0  # when the clients, each with its trial, began to report


def post_reports(url: str, *, per_s: float, size: int, seconds: float) -> Posted:
    """`CLIENTS` external workers with a trial each, reporting `per_s` times a second between them."""
    with httpx.Client(base_url=f"{url}/api/v1", timeout=30) as http:
        study = http.post("/studies", json=definition()).raise_for_status().json()["id"]
    found = Posted()
    failed: list[BaseException] = []
    ready = threading.Barrier(CLIENTS)

    def work(number: int) -> None:
        try:
            _client(f"{url}/api/v1/studies/{study}", f"client-{number}", ready, found, per_s / CLIENTS, size, seconds)
        except BaseException as error:
            failed.append(error)
            ready.abort()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    found.per_s = len(found.latencies_ms) / max(seconds, time.perf_counter() - found.began)
    return found


def _client(
    url: str, name: str, ready: threading.Barrier, found: Posted, per_s: float, size: int, seconds: float
) -> None:
    with httpx.Client(base_url=url, timeout=30) as http:
        asked = http.post("/ask", json={"client_id": name, "n": 1}).raise_for_status().json()["trials"][0]
        ready.wait()
        began = found.began = time.perf_counter()
        for body in range(int(per_s * seconds / size)):
            due = began + body * size / per_s
            time.sleep(max(0.0, due - time.perf_counter()))
            steps = range(body * size + 1, (body + 1) * size + 1)
            mine = {"trial": asked["trial"], "fence": asked["fence"]}
            reports = [{**mine, "step": step, "metrics": {"val_loss": 1 / step}} for step in steps]
            answer = http.post("/reports", json={"reports": reports}).raise_for_status().json()
            if any(result["status"] != "stored" for result in answer["results"]):
                raise RuntimeError(f"the server refused reports: {answer}")
            found.latencies_ms += [1e3 * (time.perf_counter() - due)] * size


def definition() -> dict[str, Any]:
    return {
        "name": "benchmark-external",
        "objective": {"metric": "val_loss", "direction": "minimize"},
        "space": {"x": {"type": "uniform", "low": 0.0, "high": 1.0}},
        "algorithm": {"name": "random"},
        "trainer": {"external": True},
        "budget": {"trials": 1000},
        "parallel": CLIENTS,
    }
