"""One page of 50 trials out of a study of 100,000, by several sorts and filters, through a real server on SQLite.

Timed at the client, over one kept connection: request, query, JSON, answer read and parsed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks import many_trials, server
from benchmarks.harness import Figure, Options, Outcome, Table, percentile
from hpo_service.settings import load_settings
from hpo_service.store.database import open_database

PAGE = 50
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
    trials, times = (20_000, 20) if options.quick else (100_000, 50)
    data = options.scratch / "data"
    data.mkdir()
    began = time.perf_counter()
    study_id, size = _fill(data, trials)
    filled = time.perf_counter() - began
    with server.running(data) as url, httpx.Client(base_url=f"{url}/api/v1/studies/{study_id}", timeout=60) as http:
        found = {name: [_timed(http, query)[0] for _ in range(times)] for name, query in ASKED.items()}
        found[DEEP] = _pages(http, times)
    rows = [(name, percentile(ms, 0.5), percentile(ms, 0.95), max(ms)) for name, ms in found.items()]
    everything = [one for ms in found.values() for one in ms]
    slowest = max(found, key=lambda name: percentile(found[name], 0.95))
    worst = percentile(found[slowest], 0.95)
    return Outcome(
        tables=[Table(headings=("a page of 50", "p50 ms", "p95 ms", "worst ms"), rows=rows)],
        figures=[
            Figure(name="p95 over all of them", value=percentile(everything, 0.95), unit="ms", below=30.0),
            Figure(name=f"p95 of the slowest ({slowest})", value=worst, unit="ms", below=30.0),
        ],
        notes=[
            f"{trials:,} trials, {times} requests of each kind; the database file has {size / 1e6:.0f} MB and was "
            f"filled in {filled:.0f} s, in transactions of {many_trials.BLOCK:,} trials."
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
