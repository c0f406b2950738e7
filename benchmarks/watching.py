"""What it costs a running study that 100 people have its page open: its trials on the real service with Ray, without,
with simulated pages, and with another process that uses as much CPU as those pages do.

Timed from ten seconds after each study's start, when all pages are open. The pages (`benchmarks/readers.py`) are one
more process on the same CPUs, which the readers' browsers would not be.
"""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import hpo_service as hpo
from benchmarks import children, harness, server
from benchmarks.harness import Figure, Options, Outcome, Table, percentile

PAGES = 100
WORKERS = 2
TRIAL_S = 0.2
SETTLE_S = 3.0
OPENING_S = 10.0
ALONE, WATCHED, BURNED = "nobody watches", f"{PAGES} pages are open", "another process instead"
HEADINGS = (
    "study", "trials/s", "answering CPU %", "service CPU ms/trial", "beside it CPU %", "changes/s", "charts/s", "kB/s",
    "changes p95 ms",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One study from when the pages are open: its trials a second, and CPU seconds of the answering process and of all
    the service's processes."""

    trials: int
    seconds: float
    own_s: float
    all_s: float
    readers: dict[str, Any] | None

    @property
    def rate(self) -> float:
        return self.trials / self.seconds


def definition(trials: int, seed: int) -> dict[str, Any]:
    return {
        "name": f"benchmark-watching-{seed}",
        "objective": {"metric": "val_loss", "direction": "minimize"},
        "space": {
            "x": {"type": "uniform", "low": 0.0, "high": 1.0},
            "y": {"type": "loguniform", "low": 1e-5, "high": 1.0},
        },
        "algorithm": {"name": "random"},
        "trainer": {"function": "benchmarks.trainables:compute"},
        "budget": {"trials": trials},
        "parallel": 4,
        "seed": seed,
    }


def run(options: Options) -> Outcome:
    trials, rounds = (400, 1) if options.quick else (600, 3)
    with server.running(options.scratch / "server", cpus=WORKERS) as url:
        client = hpo.Client(url)
        client.create_study(definition(20, seed=99)).wait()
        server.wait_for_workers(url, WORKERS)
        runs = [_round(url, client, trials, number) for number in range(rounds)]
    return _outcome(trials, {name: [one[name] for one in runs] for name in (ALONE, WATCHED, BURNED)})


def _round(url: str, client: hpo.Client, trials: int, number: int) -> dict[str, Ran]:
    """One study each: alone first in one round, last in the next, for a machine gets busier and calmer."""
    found = {} if number % 2 else {ALONE: _ran(url, client, trials)}
    found[WATCHED] = _ran(url, client, trials, pages=PAGES)
    read = found[WATCHED].readers
    assert read is not None
    found[BURNED] = _ran(url, client, trials, burn=read["cpu_s"] / read["seconds"])
    return found if ALONE in found else {**found, ALONE: _ran(url, client, trials)}


def _ran(url: str, client: hpo.Client, trials: int, *, pages: int = 0, burn: float = 0.0) -> Ran:
    """A study to its end, with that many pages open from its start, or a process that uses as much CPU as they did."""
    time.sleep(SETTLE_S)
    study = client.create_study(definition(trials, seed=time.time_ns() % 100_000))
    found: list[dict[str, Any]] = []
    request = {"url": url, "study": study.id, "pages": pages, "burn": burn, "opening_s": OPENING_S}
    beside = threading.Thread(target=lambda: found.append(children.ask("benchmarks.readers", request)))
    if pages or burn:
        beside.start()
    time.sleep(OPENING_S)
    before = server.own_cpu_seconds(url), server.cpu_seconds(url)
    began, done = datetime.now(UTC), study.info.counts.get("finished", 0)
    study.wait()
    after = server.own_cpu_seconds(url), server.cpu_seconds(url)
    if pages or burn:
        beside.join()
    info = study.info
    if info.counts.get("finished") != trials or bool(found) != bool(pages or burn):
        raise RuntimeError(f"{trials} trials should have finished, watched by {pages}: {info.state}, {info.counts}")
    assert info.ended_at is not None
    seconds = (info.ended_at - began).total_seconds()
    return Ran(
        trials=trials - done, seconds=seconds, own_s=after[0] - before[0], all_s=after[1] - before[1],
        readers=found[0] if found else None,
    )  # fmt: skip


def _outcome(trials: int, runs: dict[str, list[Ran]]) -> Outcome:
    cpus = int(harness.machine()["cpus"])
    share = statistics.median(
        (w.own_s / w.seconds - a.own_s / a.seconds) / cpus for a, w in zip(runs[ALONE], runs[WATCHED], strict=True)
    )
    read = [one.readers for one in runs[WATCHED] if one.readers]
    charts, unchanged, failures = (sum(one[name] for one in read) for name in ("charts", "unchanged", "failures"))
    rates = "; ".join(f"{name}: {', '.join(f'{one.rate:.2f}' for one in some)}" for name, some in runs.items())
    return Outcome(
        tables=[Table(headings=HEADINGS, rows=[_row(name, some, cpus) for name, some in runs.items()])],
        figures=[
            Figure(name="answering the pages, share of the machine's CPU", value=100 * share, unit="%", below=5.0),
            Figure(name="trials/s with pages ÷ with that other process", value=_ratio(runs, BURNED), unit="×"),
            Figure(name="trials/s with pages ÷ without anything", value=_ratio(runs, ALONE), unit="×"),
        ],
        notes=[
            f"{len(read)} rounds, trials of {TRIAL_S:g} s of CPU, {trials} to a study, {WORKERS} workers; medians. CPU "
            f"in percent of all {cpus} CPUs; `answering` is the process that serves requests. Trials/s, {rates}.",
            "The readers run on the machine that trains, which browsers do not: the target is held against what "
            "answering them takes, and the second figure sets them against a process that uses as much CPU and asks "
            "nothing.",
            f"{failures} requests failed; {unchanged} of {charts} charts had not changed (304).",
        ],
    )


def _ratio(runs: dict[str, list[Ran]], other: str) -> float:
    return statistics.median(w.rate / o.rate for w, o in zip(runs[WATCHED], runs[other], strict=True))


def _row(name: str, runs: list[Ran], cpus: int) -> tuple[Any, ...]:
    def middle(values: list[float]) -> float | None:
        return statistics.median(values) if values else None

    beside = [one.readers for one in runs if one.readers]
    read = [found for found in beside if found["changes"]]
    return (
        name,
        middle([one.rate for one in runs]),
        middle([100 * one.own_s / one.seconds / cpus for one in runs]),
        middle([1e3 * one.all_s / one.trials for one in runs]),
        middle([100 * found["cpu_s"] / found["seconds"] / cpus for found in beside]),
        middle([found["changes"] / found["seconds"] for found in read]),
        middle([found["charts"] / found["seconds"] for found in read]),
        middle([found["size"] / 1e3 / found["seconds"] for found in read]),
        middle([percentile(found["ms"], 0.95) for found in read]),
    )
