"""Training throughput: the same trials through our service, Ray Tune (as documented; with reused actors), two bare
processes and Optuna.

Ours is the whole path: a server process on loopback, SQLite, a local Ray, the Python SDK; warm workers; timed by the
database from the stored submission to the end of the study, preflight included. Each round runs the contenders one
after another, each alone on the machine; ratios are medians over rounds.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import hpo_service as hpo
from benchmarks import children, digits, server
from benchmarks.harness import Figure, Options, Outcome, Table, ratio_of_medians

DOCUMENTED = "Ray Tune, as documented"
REUSED = "Ray Tune, reuse_actors=True"
BARE = "two bare processes"
OPTUNA = "Optuna in process, n_jobs=1"
OURS = "hpo-service"

Run = dict[str, Any]  # "seconds", "accuracies", perhaps "steady_per_s"


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
    trials, rounds = (32, 1) if options.quick else (96, 3)
    few = 8 if options.quick else 24  # as documented a trial takes 3 s, however many there are
    data = options.scratch / "digits.npz"
    digits.export(data)
    runs: dict[str, list[Run]] = {}
    for number in range(rounds):
        ours, configs = train_ours(options.scratch / f"server-{number}", trials)
        runs.setdefault(OURS, []).append(ours)
        runs.setdefault(BARE, []).append(ask("benchmarks.bare", "bare", data, configs))
        runs.setdefault(REUSED, []).append(ask("benchmarks.ray_tune", "reused", data, configs))
        if number == 0:
            runs[OPTUNA] = [ask("benchmarks.bare", "optuna", data, configs)]
            runs[DOCUMENTED] = [ask("benchmarks.ray_tune", "documented", data, configs[:few])]
    return _outcome(runs)


def train_ours(folder: Path, trials: int) -> tuple[Run, list[dict[str, Any]]]:
    """One measured study on workers that an earlier one warmed; its run, and its configurations for the peers."""
    with server.running(folder) as url:
        client = hpo.Client(url)
        client.create_study(definition(8, seed=1)).wait()
        study = client.create_study(definition(trials, seed=0))
        study.wait()
        info = study.info
        if info.state != "finished" or info.counts.get("finished") != trials:
            raise RuntimeError(f"the study should have finished {trials} trials: {info.state}, {info.counts}")
        assert info.created_at is not None
        assert info.ended_at is not None
        found = sorted(study.trials(limit=trials), key=lambda trial: trial.number)
        run = {
            "seconds": (info.ended_at - info.created_at).total_seconds(),
            "accuracies": [trial.value for trial in found],
        }
        return run, [dict(trial.params) for trial in found]


def ask(module: str, how: str, data: Path, configs: list[dict[str, Any]]) -> Run:
    return children.ask(module, {"how": how, "data": str(data), "configs": configs})


def rates(runs: list[Run]) -> list[float]:
    """Trials per second of each round."""
    return [len(one["accuracies"]) / one["seconds"] for one in runs]


def _outcome(runs: dict[str, list[Run]]) -> Outcome:
    ours = rates(runs[OURS])
    rows = []
    for name in (DOCUMENTED, REUSED, OPTUNA, BARE, OURS):
        mine = rates(runs[name])
        steady = [one["steady_per_s"] for one in runs[name] if one.get("steady_per_s")]
        accuracy = statistics.mean(runs[name][0]["accuracies"])
        rows.append(
            (
                name, len(runs[name][0]["accuracies"]), len(mine), statistics.median(mine),
                statistics.median(steady) if steady else None,
                ratio_of_medians(ours[: len(mine)], mine), accuracy,
            )
        )  # fmt: skip
    ratios = {name: ratio_of_medians(ours[: len(runs[name])], rates(runs[name])) for name in runs}
    headings = ("contender", "trials", "rounds", "trials/s", "after the start", "ours ÷ it", "mean accuracy")
    steady = statistics.median(
        mine / one["steady_per_s"] for mine, one in zip(ours, runs[REUSED], strict=True) if one["steady_per_s"]
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
        ],
    )
