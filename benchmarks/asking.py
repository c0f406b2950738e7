"""Asking for trials and telling how they ended, from eight clients at a time: through our REST, and Optuna's own
relational storage in process.

A trial is one `ask` for one trial and one `tell` with its value, so two requests; the clients train nothing. Each
figure is of the first 1,000 trials of a study over three parameters. With PostgreSQL two API processes share the
database and the clients; the clients' time, and the database's, is taken from the same CPUs.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from benchmarks import children, databases, server
from benchmarks.asking_clients import CLIENTS
from benchmarks.harness import Figure, Options, Outcome, Table
from hpo_service.store.database import open_database

SPACE = {
    "lr": {"type": "loguniform", "low": 1e-5, "high": 1e-1},
    "dropout": {"type": "uniform", "low": 0.0, "high": 0.6},
    "width": {"type": "integer", "low": 16, "high": 512},
}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "random": {"name": "random"},
    "tpe": {"name": "bayesian", "surrogate": "tpe"},
}
TARGETS = {"random": 400.0, "tpe": 150.0}
PROCESSES = 2


@dataclass
class Runs:
    """What one contender did with one algorithm: trials per second and CPU milliseconds per trial, of each round."""

    name: str
    algorithm: str
    per_s: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    database_ms: list[float] = field(default_factory=list)
    client_ms: list[float] = field(default_factory=list)
    ask_ms: list[float] = field(default_factory=list)
    tell_ms: list[float] = field(default_factory=list)

    def add(self, found: dict[str, Any], cpu_s: float | None = None, database_s: float = 0.0) -> None:
        self.per_s.append(found["trials"] / found["seconds"])
        self.client_ms.append(1e3 * found["client_cpu_s"] / found["trials"])
        if cpu_s is not None:
            self.cpu_ms.append(1e3 * cpu_s / found["trials"])
            self.database_ms += [1e3 * database_s / found["trials"]] if database_s else []
            self.ask_ms.append(found["ask_ms"])
            self.tell_ms.append(found["tell_ms"])

    def row(self) -> tuple[Any, ...]:
        parts = (self.per_s, self.cpu_ms, self.database_ms, self.client_ms, self.ask_ms, self.tell_ms)
        return (self.name, self.algorithm, *(statistics.median(part) if part else None for part in parts))


def run(options: Options) -> Outcome:
    trials, rounds = (300, 1) if options.quick else (1000, 3)
    lacking = databases.missing()
    kinds = [databases.SQLITE] if lacking else [databases.SQLITE, databases.POSTGRESQL]
    found: list[Runs] = []
    for kind in kinds:
        with serving(kind, options.scratch) as served:
            found += [ours(kind, served, name, trials=trials, rounds=rounds) for name in ALGORITHMS]
            several = [ours(kind, served, name, trials=trials, rounds=1, n=8) for name in ALGORITHMS]
        found += several
    found += [optuna(name, options.scratch, trials=trials // 2, rounds=rounds) for name in ALGORITHMS]
    return _outcome(found, lacking)


@dataclass(frozen=True)
class Serving:
    """Addresses of API processes, and the CPU seconds so far of their database's server."""

    urls: list[str]
    database_cpu_s: Callable[[], float]

    def cpu_s(self) -> float:
        """CPU seconds so far of the API processes."""
        return sum(server.own_cpu_seconds(url) for url in self.urls)


@contextlib.contextmanager
def serving(kind: str, scratch: Path) -> Iterator[Serving]:
    """API processes without a controller: one with SQLite, several that share a PostgreSQL."""
    with databases.fresh(kind, scratch / kind) as url, contextlib.ExitStack() as stack:
        count = 1 if kind == databases.SQLITE else PROCESSES
        folders = [scratch / f"{kind}-{number}" for number in range(count)]
        given = "" if kind == databases.SQLITE else url
        urls = [
            stack.enter_context(server.running(folder, controller=False, database_url=given)) for folder in folders
        ]  # fmt: skip
        db = stack.enter_context(contextlib.closing(open_database(url))) if given else None
        yield Serving(urls, lambda: 0.0 if db is None else databases.server_cpu_seconds(db))


def ours(kind: str, served: Serving, algorithm: str, *, trials: int, rounds: int, n: int = 1) -> Runs:
    """Studies led one after another by the clients; the first, shorter one is not counted."""
    urls = served.urls
    processes = f", {len(urls)} API processes" if len(urls) > 1 else ""
    runs = Runs(name=f"REST on {kind}{processes}" + (f", {n} trials an ask" if n > 1 else ""), algorithm=algorithm)
    lead(urls, algorithm, trials=50, seed=99, n=n)
    for number in range(rounds):
        cpu_s, database_s = served.cpu_s(), served.database_cpu_s()
        answer = lead(urls, algorithm, trials=trials, seed=number, n=n)
        runs.add(answer, served.cpu_s() - cpu_s, served.database_cpu_s() - database_s)
    return runs


def lead(urls: list[str], algorithm: str, *, trials: int, seed: int, n: int) -> dict[str, Any]:
    with httpx.Client(base_url=f"{urls[0]}/api/v1", timeout=30) as http:
        study = http.post("/studies", json=definition(algorithm, trials, seed)).raise_for_status().json()["id"]
    return children.ask("benchmarks.asking_clients", {"how": "ours", "urls": urls, "study": study, "n": n})


def optuna(algorithm: str, scratch: Path, *, trials: int, rounds: int) -> Runs:
    runs = Runs(name=f"Optuna's storage on {databases.SQLITE}", algorithm=algorithm)
    for number in range(rounds):
        url = f"sqlite:///{scratch / f'optuna-{algorithm}-{number}.db'}"
        request = {"how": "optuna", "url": url, "sampler": algorithm, "trials": trials}
        runs.add(children.ask("benchmarks.asking_clients", request))
    return runs


def definition(algorithm: str, trials: int, seed: int) -> dict[str, Any]:
    return {
        "name": f"benchmark-asking-{algorithm}-{seed}",
        "objective": {"metric": "val_loss", "direction": "minimize"},
        "space": SPACE,
        "algorithm": ALGORITHMS[algorithm],
        "trainer": {"external": True},
        "budget": {"trials": trials},
        "parallel": 8 * CLIENTS,
        "seed": seed,
    }


def _outcome(found: list[Runs], lacking: str | None) -> Outcome:
    headings = (
        "contender",
        "algorithm",
        "trials/s",
        "server CPU ms",
        "database CPU ms",
        "client CPU ms",
        "ask ms",
        "tell ms",
    )
    figures: list[Figure] = []
    for name, target in TARGETS.items():
        rates = {one.name: statistics.median(one.per_s) for one in found if one.algorithm == name}
        theirs = rates[f"Optuna's storage on {databases.SQLITE}"]
        for contender, rate in rates.items():
            if contender.startswith("REST") and "an ask" not in contender:
                figures.append(Figure(name=f"{name}, {contender}", value=rate, unit="trials/s", at_least=target))
                figures.append(Figure(name=f"{name}, {contender} ÷ Optuna", value=rate / theirs, unit="×"))
    notes = [
        f"{CLIENTS} threads of one client process each, a trial per ask except where it says otherwise; CPU and times "
        "are per trial and per request, medians.",
        "Optuna: threads of one process with its default samplers, half as many trials; it waits for the disk as ours.",
    ]
    if lacking is not None:
        notes.append(f"Without PostgreSQL: {lacking}")
    else:
        notes.append(databases.__doc__.rpartition("\n\n")[2].replace("\n", " ").strip() if databases.__doc__ else "")
    return Outcome(tables=[Table(headings=headings, rows=[one.row() for one in found])], figures=figures, notes=notes)
