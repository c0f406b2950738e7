"""One page of 50 trials out of a study of 100,000, by several sorts and filters, through a real server on SQLite.

Timed at the client, over one kept connection: request, query, JSON, answer read and parsed.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks import many_trials, server
from benchmarks.harness import Figure, Options, Outcome, Table, percentile
from hpo_service.settings import load_settings
from hpo_service.store.database import open_database

PAGE = 50
SETTLE_S = 5.0  # Ray goes on starting processes for a while after it is ready
ASKED: dict[str, dict[str, str]] = {
    "by number": {},
    "newest first": {"sort": "-number"},
    "best first": {"sort": "-value"},
    "by a parameter": {"sort": "param.lr"},
    "by another metric": {"sort": "metric.val_loss"},
    "by cost, dearest first": {"sort": "-cost"},
    "state:finished, best first": {"filter": "state:finished", "sort": "-value"},
    "lr>1e-3, best first": {"filter": "lr>1e-3", "sort": "-value"},
    "optimizer:sgd lr>1e-3, by seconds": {"filter": "optimizer:sgd lr>1e-3", "sort": "-seconds"},
    "val_loss<0.05, by number": {"filter": "val_loss<0.05"},
    "momentum>0.949, best first (1 in 100)": {"filter": "momentum>0.949", "sort": "-value"},
    "state:failed (none)": {"filter": "state:failed", "sort": "-value"},
}
DEEP = "best first, pages 2 and on"


def run(options: Options) -> Outcome:
    trials, times, rounds = (20_000, 20, 1) if options.quick else (100_000, 20, 5)
    data = options.scratch / "data"
    data.mkdir()
    began = time.perf_counter()
    study_id, size = _fill(data, trials)
    filled = time.perf_counter() - began
    with server.running(data) as url, httpx.Client(base_url=f"{url}/api/v1/studies/{study_id}", timeout=60) as http:
        time.sleep(SETTLE_S)
        passes = [_pass(http, times) for _ in range(rounds)]
    medians = {name: _medians([one[name] for one in passes]) for name in passes[0]}
    rows = [(name, *found) for name, found in medians.items()]
    everything = _medians([[ms for kind in one.values() for ms in kind] for one in passes])
    slowest = max(medians, key=lambda name: medians[name][1])
    return Outcome(
        tables=[Table(headings=("a page of 50", "p50 ms", "p95 ms", "worst ms"), rows=rows)],
        figures=[
            Figure(name="p95 over all of them", value=everything[1], unit="ms", below=30.0),
            Figure(name=f"p95 of the slowest ({slowest})", value=medians[slowest][1], unit="ms", below=30.0),
        ],
        notes=[
            f"{trials:,} trials; medians of {rounds} passes of {times} requests of each kind.",
            f"The database file has {size / 1e6:.0f} MB; it was filled in {filled:.0f} s, "
            f"in transactions of {many_trials.BLOCK:,} trials.",
        ],
    )


def _fill(data: Path, trials: int) -> tuple[str, int]:
    """The study's id and the size of the database in bytes."""
    settings = load_settings(data=data)
    db = open_database(settings.resolved_database_url)
    try:
        study_id = many_trials.fill(db, trials)
    finally:
        db.close()
    return study_id, sum(path.stat().st_size for path in data.glob("hpo.db*"))


def _pass(http: httpx.Client, times: int) -> dict[str, list[float]]:
    """Milliseconds of `times` requests of each kind."""
    found = {name: [_timed(http, query)[0] for _ in range(times)] for name, query in ASKED.items()}
    return found | {DEEP: _pages(http, times)}


def _medians(passes: list[list[float]]) -> tuple[float, ...]:
    """Medians over passes of each pass's p50, p95 and worst."""
    each = [[percentile(ms, share) for share in (0.5, 0.95, 1.0)] for ms in passes]
    return tuple(statistics.median(values) for values in zip(*each, strict=True))


def _timed(http: httpx.Client, query: dict[str, str]) -> tuple[float, dict[str, Any]]:
    began = time.perf_counter()
    answer = http.get("/trials", params={"limit": str(PAGE), **query}).raise_for_status().json()
    return 1e3 * (time.perf_counter() - began), answer


def _pages(http: httpx.Client, times: int) -> list[float]:
    """Page after page by key."""
    found = []
    _, answer = _timed(http, ASKED["best first"])
    for _ in range(times):
        ms, answer = _timed(http, {**ASKED["best first"], "cursor": answer["next_cursor"]})
        found.append(ms)
    return found
