"""What a trial costs when it trains nothing: a function that reports once, through the whole service.

Against Ray Tune with reused actors, and against the floor below both: one call of a bare Ray actor.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import hpo_service as hpo
from benchmarks import children, server
from benchmarks.harness import Figure, Options, Outcome, Table

PARALLEL = 64
WORKERS = 2


def definition(trials: int, seed: int) -> dict[str, Any]:
    return {
        "name": f"benchmark-empty-{trials}",
        "objective": {"metric": "val_loss", "direction": "minimize"},
        "space": {"x": {"type": "uniform", "low": 0.0, "high": 1.0}},
        "algorithm": {"name": "random"},
        "trainer": {"function": "benchmarks.trainables:report_once"},
        "budget": {"trials": trials},
        "parallel": PARALLEL,
        "seed": seed,
    }


def run(options: Options) -> Outcome:
    trials, rounds, tuned = (1000, 1, 60) if options.quick else (4000, 3, 200)
    calls = children.ask("benchmarks.ray_tune", {"how": "calls"})
    ours = train_ours(options.scratch / "server", trials, rounds)
    tune = children.ask("benchmarks.ray_tune", {"how": "empty_reused", "trials": tuned})
    rate = statistics.median(ours)
    whole = tuned / tune["seconds"]
    rows = [
        ("hpo-service, submission to end", trials, rate, 1e3 / rate),
        ("Ray Tune, reuse_actors=True, whole fit()", tuned, whole, 1e3 / whole),
        ("Ray Tune, reuse_actors=True, after the start", tuned, tune["steady_per_s"], 1e3 / tune["steady_per_s"]),
        ("a bare actor call, one at a time", None, 1e3 / calls["call_ms"], calls["call_ms"]),
        ("bare actor calls, pipelined", None, calls["pipelined_per_s"], 1e3 / calls["pipelined_per_s"]),
    ]
    return Outcome(
        tables=[Table(headings=("contender", "trials", "per second", "ms each"), rows=rows)],
        figures=[
            Figure(name="empty trials", value=rate, unit="trials/s", at_least=400.0),
            Figure(name="ours ÷ Ray Tune after the start", value=rate / tune["steady_per_s"], unit="×"),
            Figure(name="an empty trial ÷ a bare actor call", value=1e3 / rate / calls["call_ms"], unit="×"),
        ],
        notes=[f"Ours: {rounds} studies, parallel {PARALLEL}, {WORKERS} workers: {_list(ours)} trials/s."],
    )


def train_ours(folder: Path, trials: int, rounds: int) -> list[float]:
    """Trials per second of each of `rounds` studies, on workers that an earlier one warmed."""
    with server.running(folder, cpus=WORKERS) as url:
        client = hpo.Client(url)
        client.create_study(definition(200, seed=99)).wait()
        server.wait_for_workers(url, WORKERS)
        found = []
        for number in range(rounds):
            study = client.create_study(definition(trials, seed=number))
            study.wait()
            info = study.info
            if info.state != "finished" or info.counts.get("finished") != trials:
                raise RuntimeError(f"the study should have finished {trials} trials: {info.state}, {info.counts}")
            assert info.created_at is not None
            assert info.ended_at is not None
            found.append(trials / (info.ended_at - info.created_at).total_seconds())
        return found


def _list(rates: list[float]) -> str:
    return ", ".join(f"{rate:.0f}" for rate in rates)
