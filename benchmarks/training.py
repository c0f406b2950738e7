"""Training throughput: the same trials through our service, Ray Tune (as documented; with reused actors), two bare
processes and Optuna.

Ours is the whole path: a server process on loopback, SQLite, a local Ray, the Python SDK; warm workers; timed by the
database from the stored submission to the end of the study, preflight included. Contenders take turns (ours, a peer,
ours, a peer …), and a ratio is the median over pairs that ran next to each other: a busy minute slows both of a pair.
While a peer runs, the server idles beside it.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import hpo_service as hpo
from benchmarks import children, digits, server
from benchmarks.harness import Figure, Options, Outcome, Table

DOCUMENTED = "Ray Tune, as documented"
REUSED = "Ray Tune, reuse_actors=True"
BARE = "two bare processes"
OPTUNA = "Optuna in process, n_jobs=1"
OURS = "hpo-service"

PEERS = (DOCUMENTED, REUSED, OPTUNA, BARE)
IDLE_S = 3.0

Run = dict[str, Any]  # "seconds", "accuracies", perhaps "cpu_s", "steady_per_s"
Pair = tuple[Run, Run]  # ours, and the peer's right after it


def definition(trials: int, seed: int) -> dict[str, Any]:
    return {
        "name": f"benchmark-training-{trials}",
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
        "space": {
            "lr": {"type": "loguniform", "low": 1e-3, "high": 0.3},
            "batch_size": {"type": "power_of_two", "low": 16, "high": 256},
            "momentum": {"type": "uniform", "low": 0.85, "high": 0.95},
        },
        "algorithm": {"name": "random"},
        "trainer": {
            "recipe": "image_classifier",
            "params": {
                "data": "digits", "model": "mlp", "hidden_units": digits.HIDDEN, "epochs": digits.EPOCHS,
                "optimizer": "momentum", "lr_schedule": "constant",
            },
        },
        "budget": {"trials": trials},
        "parallel": 16,
        "seed": seed,
    }  # fmt: skip


def run(options: Options) -> Outcome:
    trials, rounds = (32, 1) if options.quick else (64, 4)
    few = 8 if options.quick else 24  # as documented a trial takes 3 s, however many there are
    data = options.scratch / "digits.npz"
    digits.export(data)
    pairs: dict[str, list[Pair]] = {}
    with server.running(options.scratch / "server") as url:
        train_ours(url, 16, seed=1)  # warms the workers
        server.wait_for_workers(url, 2)
        _, configs = train_ours(url, trials, seed=0)
        idle = _idle_share(url)
        turns = [(BARE, "benchmarks.bare", "bare", configs), (REUSED, "benchmarks.ray_tune", "reused", configs)]
        single = [
            (OPTUNA, "benchmarks.bare", "optuna", configs[: trials // 2]),
            (DOCUMENTED, "benchmarks.ray_tune", "documented", configs[:few]),
        ]
        for number in range(rounds):
            for name, module, how, given in [*turns, *(single if number == 0 else [])]:
                ours, _ = train_ours(url, trials, seed=0)
                request = {"how": how, "data": str(data), "configs": given}
                pairs.setdefault(name, []).append((ours, children.ask(module, request)))
    return _outcome(pairs, idle)


def train_ours(url: str, trials: int, *, seed: int) -> tuple[Run, list[dict[str, Any]]]:
    """One measured study, and its configurations for the peers."""
    with hpo.Client(url) as client:
        before = server.cpu_seconds(url)
        study = client.create_study(definition(trials, seed))
        study.wait()
        cpu_s = server.cpu_seconds(url) - before
        info = study.info
        if info.state != "finished" or info.counts.get("finished") != trials:
            raise RuntimeError(f"the study should have finished {trials} trials: {info.state}, {info.counts}")
        assert info.created_at is not None
        assert info.ended_at is not None
        found = sorted(study.trials(limit=trials), key=lambda trial: trial.number)
        seconds = (info.ended_at - info.created_at).total_seconds()
        run = {"seconds": seconds, "cpu_s": cpu_s, "accuracies": [trial.value for trial in found]}
        return run, [dict(trial.params) for trial in found]


def _idle_share(url: str) -> float:
    """CPUs that the warm server takes while it has nothing to do."""
    before, began = server.cpu_seconds(url), time.monotonic()
    time.sleep(IDLE_S)
    return (server.cpu_seconds(url) - before) / (time.monotonic() - began)


def rate(run: Run) -> float:
    """Trials per second."""
    return len(run["accuracies"]) / float(run["seconds"])


def cpu_ms(runs: list[Run]) -> float | None:
    """CPU milliseconds per trial, where they are known: they hardly depend on what else the machine does."""
    each = [1e3 * run["cpu_s"] / len(run["accuracies"]) for run in runs if "cpu_s" in run]
    return statistics.median(each) if each else None


def _outcome(pairs: dict[str, list[Pair]], idle: float) -> Outcome:
    ratios = {name: statistics.median(rate(a) / rate(b) for a, b in found) for name, found in pairs.items()}
    rows = [_row(name, [peer for _, peer in pairs[name]], ratios[name]) for name in PEERS]
    rows.append(_row(OURS, [ours for found in pairs.values() for ours, _ in found], 1.0))
    steady = statistics.median(rate(a) / b["steady_per_s"] for a, b in pairs[REUSED])
    headings = (
        "contender",
        "trials",
        "runs",
        "trials/s",
        "after the start",
        "CPU ms/trial",
        "ours ÷ it",
        "mean accuracy",
    )
    return Outcome(
        tables=[Table(headings=headings, rows=rows)],
        figures=[
            Figure(name="ours ÷ Ray Tune as documented", value=ratios[DOCUMENTED], unit="×", at_least=20.0),
            Figure(name="ours ÷ Ray Tune with reused actors", value=ratios[REUSED], unit="×", at_least=2.5),
            Figure(name="ours ÷ two bare processes", value=ratios[BARE], unit="×", at_least=0.8),
            Figure(name="ours ÷ Ray Tune with reused actors, after their start", value=steady, unit="×"),
        ],
        notes=[
            "Ray Tune is timed over the whole of fit(); `after the start` leaves the start of its first actors out.",
            "The peers save no checkpoints and compute no training metrics; ours does both.",
            f"The idle server took {idle:.1%} of one CPU while the peers ran.",
        ],
    )


def _row(name: str, runs: list[Run], ratio: float) -> tuple[Any, ...]:
    steady = [run["steady_per_s"] for run in runs if run.get("steady_per_s")]
    return (
        name,
        len(runs[0]["accuracies"]),
        len(runs),
        statistics.median(map(rate, runs)),
        statistics.median(steady) if steady else None,
        cpu_ms(runs),
        ratio,
        statistics.mean(runs[0]["accuracies"]),
    )
