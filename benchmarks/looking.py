"""Looking at a study of 100,000 trials: every data route of its pages, a live update, the page in a real browser, and
optuna-dashboard on the same trials.

The service runs alone on SQLite, without a controller. Times are the client's, over one kept connection. A question is
never asked twice alike: the study moves first, or the filter differs, so that every answer is made anew.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks import children, looking_routes, many_trials, optuna_page, server
from benchmarks.browser import CHARTS
from benchmarks.harness import Figure, Options, Outcome, Table, percentile
from benchmarks.looking_routes import Asked
from benchmarks.many_trials import Mover
from benchmarks.optuna_page import Looked
from hpo_service.settings import load_settings
from hpo_service.store.database import Database, open_database

FEW = 1_000
USABLE = ("header", "rows")
STUDY, UPDATES, BROWSER, PEER = "data of the pages", "a live update", "in the browser", "beside optuna-dashboard"


@dataclass(frozen=True, kw_only=True)
class Filled:
    """Two studies of one database that still run, and who moves them."""

    database: Path
    ids: dict[int, str]  # by number of trials
    movers: dict[int, Mover]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What the study page asks for at first, one after the other: milliseconds and bytes."""

    ms: float
    first_ms: float  # of the slowest of them
    size: int


@dataclass(frozen=True, kw_only=True)
class Update:
    """Requests for what changed: at the client, and the CPU time of the server's process for each."""

    asked: Asked
    cpu_ms: float


def run(options: Options) -> Outcome:
    trials, times, visits = (20_000, 8, 2) if options.quick else (100_000, 40, 5)
    with _database(options.scratch / "data") as (db, data):
        filled = _fill(db, data, trials)
        with _server(data) as (url, http):
            cold = _overview(http, filled, trials)
            warm = [_overview(http, filled, trials) for _ in range(3)]
            asked = looking_routes.questions(trials, filled.ids[FEW])
            routes = looking_routes.ask_all(http, filled.ids[trials], asked, filled.movers[trials], times)
            updates = {n: _update(url, http, filled, n, 4 * times) for n in (FEW, trials)}
        with _server(data) as (url, _):
            request = {"url": url, "study": filled.ids[trials], "times": visits, "cold": True}
            browser = children.ask("benchmarks.browser", request)
    definition = {"objective": many_trials.DEFINITION["objective"], "space": many_trials.WIDER}
    peer = optuna_page.look(filled.database, filled.ids[trials], definition, options.scratch)
    return _outcome(trials, filled, cold, warm, routes, updates, browser, peer)


@contextmanager
def _database(data: Path) -> Iterator[tuple[Database, Path]]:
    data.mkdir()
    db = open_database(load_settings(data=data).resolved_database_url)
    try:
        yield db, data
    finally:
        db.close()


@contextmanager
def _server(data: Path) -> Iterator[tuple[str, httpx.Client]]:
    with server.running(data, controller=False) as url, httpx.Client(base_url=f"{url}/api/v1", timeout=120) as http:
        yield url, http


def _fill(db: Database, data: Path, trials: int) -> Filled:
    began = time.perf_counter()
    ids = {n: many_trials.fill_rungs(db, n, ended=False) for n in (FEW, trials)}
    movers = {n: Mover(db, study, n) for n, study in ids.items()}
    return Filled(database=data / "hpo.db", ids=ids, movers=movers, seconds=time.perf_counter() - began)


def _overview(http: httpx.Client, filled: Filled, trials: int) -> Overview:
    study = filled.ids[trials]
    filled.movers[trials].move()
    first, answer = looking_routes.timed(http, f"/studies/{study}")
    found, size = [first], len(answer.content)
    for rest in looking_routes.overview(answer.json()["last_seq"])[1:]:
        ms, answer = looking_routes.timed(http, f"/studies/{study}{rest}")
        found.append(ms)
        size += len(answer.content)
    return Overview(ms=sum(found), first_ms=max(found), size=size)


def _update(url: str, http: httpx.Client, filled: Filled, trials: int, times: int) -> Update:
    before = server.own_cpu_seconds(url)
    asked = looking_routes.changes(http, filled.ids[trials], filled.movers[trials], times)
    return Update(asked=asked, cpu_ms=1e3 * (server.own_cpu_seconds(url) - before) / times)


def _outcome(
    trials: int, filled: Filled, cold: Overview, warm: Sequence[Overview], routes: Mapping[str, Asked],
    updates: Mapping[int, Update], browser: Mapping[str, Any], peer: Looked | str,
) -> Outcome:  # fmt: skip
    tables = [_routes_table(routes), _updates_table(updates)]
    figures = [*_route_figures(routes), *_update_figures(updates)]
    notes = [
        f"{trials:,} trials and 10 or more reports of each, filled in {filled.seconds:.0f} s; the database file has "
        f"{filled.database.stat().st_size / 1e6:.0f} MB.",
        f"Of the {len(looking_routes.overview(0))} requests of an overview the slowest took {cold.first_ms:.0f} ms "
        f"right after the server's start, all together {cold.ms:.0f} ms; later {_middle(warm):.0f} ms.",
    ]
    if "missing" in browser:
        notes.append(f"No browser: {browser['missing']}.")
    else:
        tables.append(_browser_table(browser))
        figures += _browser_figures(browser)
        notes.append(f"Chromium {browser['version']}, headless, window 1360 × 2200: the whole overview is in sight.")
    if isinstance(peer, str):
        notes.append(peer)
    else:
        tables.append(_peer_table(peer, cold, warm, updates[trials]))
        figures += _peer_figures(peer, cold, warm, updates[trials])
        notes.append(f"{peer.versions}; the trials were copied for it in {peer.copied_s:.0f} s, one metric of the two.")
    return Outcome(tables=tables, figures=figures, notes=notes)


def _routes_table(routes: Mapping[str, Asked]) -> Table:
    rows = [(name, *_spread(asked), asked.largest / 1e3) for name, asked in routes.items()]
    return Table(headings=(STUDY, "p50 ms", "p95 ms", "worst ms", "largest kB"), rows=rows)


def _route_figures(routes: Mapping[str, Asked]) -> list[Figure]:
    everything = [ms for asked in routes.values() for ms in asked.ms]
    slowest = max(routes, key=lambda name: percentile(routes[name].ms, 0.95))
    largest = max(routes, key=lambda name: routes[name].largest)
    worst = percentile(routes[slowest].ms, 0.95)
    return [
        Figure(name="p95 over all data routes", value=percentile(everything, 0.95), unit="ms", below=300.0),
        Figure(name=f"p95 of the slowest ({slowest})", value=worst, unit="ms", below=300.0),
        Figure(name=f"largest answer ({largest})", value=routes[largest].largest / 1e3, unit="kB", below=500.0),
    ]


def _updates_table(updates: Mapping[int, Update]) -> Table:
    rows = [
        (f"{n:,} trials", *_spread(update.asked), update.cpu_ms, update.asked.largest / 1e3)
        for n, update in updates.items()
    ]
    return Table(headings=(UPDATES, "p50 ms", "p95 ms", "worst ms", "server CPU ms", "largest kB"), rows=rows)


def _update_figures(updates: Mapping[int, Update]) -> list[Figure]:
    found = []
    for n, update in updates.items():
        found.append(Figure(name=f"update, {n:,} trials: server CPU", value=update.cpu_ms, unit="ms", below=20.0))
        found.append(
            Figure(name=f"update, {n:,} trials: median", value=_spread(update.asked)[0], unit="ms", below=20.0)
        )
    return found


def _browser_table(browser: Mapping[str, Any]) -> Table:
    kinds = [
        ("overview, server just started", [browser["cold"]]),
        ("overview, first visit", [pair[0] for pair in browser["overview"]]),
        ("overview, visited before", [pair[1] for pair in browser["overview"]]),
        ("table of trials, first visit", [pair[0] for pair in browser["trials"]]),
        ("table of trials, visited before", [pair[1] for pair in browser["trials"]]),
    ]
    rows: list[Sequence[Any]] = [(name, *_painted(visits)) for name, visits in kinds]
    rows.append(
        ("parallel coordinates, 5,000 lines: drawing", *[None] * 3, statistics.median(browser["parallel"]), *[None] * 3)
    )
    rows.append(("table, 500 rows of 12 columns: drawing", None, statistics.median(browser["table"]), *[None] * 5))
    headings = (BROWSER, "header ms", "usable ms", "first chart ms", "all charts ms", "requests", "kB", "of it data")
    return Table(headings=headings, rows=rows)


def _painted(visits: Sequence[Mapping[str, Any]]) -> list[float | None]:
    """Medians over visits."""
    each = []
    for visit in visits:
        seen = visit["seen"]
        charts = [seen[name] for name in CHARTS if name in seen]
        ends = (min(charts), max(charts)) if charts else (None, None)
        sizes = (visit["requests"], visit["bytes"] / 1e3, visit["data_bytes"] / 1e3)
        each.append([seen["header"], _usable(visit), *ends, *sizes])
    return [None if column[0] is None else statistics.median(column) for column in zip(*each, strict=True)]


def _usable(visit: Mapping[str, Any]) -> float:
    return max(float(visit["seen"][name]) for name in USABLE)


def _browser_figures(browser: Mapping[str, Any]) -> list[Figure]:
    def median(kind: str, which: int) -> float:
        return statistics.median(_usable(pair[which]) for pair in browser[kind]) / 1e3

    return [
        Figure(name="overview usable, server just started", value=_usable(browser["cold"]) / 1e3, unit="s", below=1.5),
        Figure(name="overview usable, first visit", value=median("overview", 0), unit="s", below=1.5),
        Figure(name="overview usable, visited before", value=median("overview", 1), unit="s", below=1.5),
        Figure(name="table of trials usable, first visit", value=median("trials", 0), unit="s", below=1.5),
    ]


def _peer_table(peer: Looked, cold: Overview, warm: Sequence[Overview], update: Update) -> Table:
    ours = _middle(warm)
    each = _spread(update.asked)[0]
    rows = [
        ("first load, server just started: seconds", cold.ms / 1e3, peer.first_s, 1e3 * peer.first_s / cold.ms),
        ("first load, server warm: seconds", ours / 1e3, peer.again_s, 1e3 * peer.again_s / ours),
        ("first load: MB", cold.size / 1e6, peer.first_bytes / 1e6, peer.first_bytes / cold.size),
        ("an update: ms", each, 1e3 * peer.poll_s, 1e3 * peer.poll_s / each),
        ("an update and all charts anew: ms", each + ours, 1e3 * peer.poll_s, 1e3 * peer.poll_s / (each + ours)),
        ("an update: kB", update.asked.largest / 1e3, peer.poll_bytes / 1e3, peer.poll_bytes / update.asked.largest),
    ]
    return Table(headings=(PEER, "ours", "its", "its ÷ ours"), rows=rows)


def _peer_figures(peer: Looked, cold: Overview, warm: Sequence[Overview], update: Update) -> list[Figure]:
    first, again = 1e3 * peer.first_s / cold.ms, 1e3 * peer.again_s / _middle(warm)
    polled = 1e3 * peer.poll_s / _spread(update.asked)[0]
    return [
        Figure(name="its ÷ our first load, server just started", value=first, unit="×", at_least=50.0),
        Figure(name="its ÷ our first load, server warm", value=again, unit="×", at_least=50.0),
        Figure(name="its ÷ our update", value=polled, unit="×", at_least=500.0),
    ]


def _middle(overviews: Sequence[Overview]) -> float:
    return statistics.median(one.ms for one in overviews)


def _spread(asked: Asked) -> tuple[float, float, float]:
    p50, p95, worst = (percentile(asked.ms, share) for share in (0.5, 0.95, 1.0))
    return p50, p95, worst
