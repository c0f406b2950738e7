"""The service without training and without HTTP: controller, fold and store on the simulated executor's virtual clock.

By random search with ten reports per trial, and by Hyperband; SQLite on disk with every commit synchronised. The rate
of the last tenth beside the first shows what grows with the study. One process per run, for its peak memory.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

from benchmarks import children
from benchmarks.harness import Figure, Options, Outcome, Table
from hpo_service.controller.loop import Controller
from hpo_service.core.definition import parse
from hpo_service.executors.curves import PowerLaw
from hpo_service.executors.simulated import SimulatedExecutor
from hpo_service.settings import load_settings
from hpo_service.store import studies
from hpo_service.store.database import open_database

PARALLEL = 64
BATCH = 256  # messages per poll: what gathers while the collector commits
LOOK_EVERY = 16  # passes between two looks at how far the study is
ALGORITHMS: dict[str, dict[str, Any]] = {
    "random": {"name": "random", "max_resource": 10},
    "hyperband": {"name": "hyperband", "max_resource": 27, "eta": 3},
}
COLUMNS = {
    "trials": "trials",
    "reports": "reports",
    "per_s": "trials/s",
    "reports_per_s": "reports/s",
    "first_per_s": "first tenth",
    "last_per_s": "last tenth",
    "deciding": "share deciding",
    "peak_mb": "peak MB",
    "file_mb": "file MB",
}


def run(options: Options) -> Outcome:
    trials = 5_000 if options.quick else 20_000
    rows, figures = [], []
    for name in ALGORITHMS:
        folder = options.scratch / name
        found = children.ask("benchmarks.engine", {"algorithm": name, "trials": trials, "folder": str(folder)})
        rows.append((name, *(found[key] for key in COLUMNS)))
        slowing = found["last_per_s"] / found["first_per_s"]
        figures.append(Figure(name=f"{name}: last tenth ÷ first tenth", value=slowing, unit="×"))
    headings = ("algorithm", *COLUMNS.values())
    return Outcome(
        tables=[Table(headings=headings, rows=rows)],
        figures=figures,
        notes=[f"{PARALLEL} trials in parallel; deciding and collecting take turns on one thread here."],
    )


def answer(*, algorithm: str, trials: int, folder: str) -> dict[str, Any]:
    """Rates in trials per second of the whole run, its first and its last tenth; memory and file in MB."""
    settings = load_settings(data=Path(folder))
    settings.resolved_storage.mkdir(parents=True, exist_ok=True)
    db = open_database(settings.resolved_database_url)
    executor = SimulatedExecutor(PowerLaw(noise=0.01), cpus=PARALLEL, batch=BATCH)
    controller = Controller(
        db=db, executor=executor, settings=settings, holder="benchmark", storage_root=settings.resolved_storage
    )
    document = {
        "name": f"benchmark-{algorithm}",
        "objective": {"metric": "val_loss", "direction": "minimize"},
        "space": {
            "lr": {"type": "loguniform", "low": 1e-5, "high": 1.0},
            "batch_size": {"type": "power_of_two", "low": 16, "high": 256},
            "momentum": {"type": "uniform", "low": 0.85, "high": 0.95},
        },
        "algorithm": ALGORITHMS[algorithm],
        "trainer": {"function": "benchmarks.trainables:report_once"},
        "budget": {"trials": trials},
        "parallel": PARALLEL,
    }
    study = studies.create_study(db, parse(document), created_by="benchmark")
    began = time.perf_counter()
    deciding, passes, reports = 0.0, 0, 0
    seen = [(0.0, 0)]
    while not study.ended_at:
        before = time.perf_counter()
        controller.step()
        deciding += time.perf_counter() - before
        controller.collector.collect_once()
        passes += 1
        if passes % LOOK_EVERY == 0:
            study = studies.get_study(db, study.id)
            seen.append((time.perf_counter() - began, study.next_trial))
    seconds = time.perf_counter() - began
    reports = round(study.resource)  # one report per unit of resource
    db.close()
    size = sum(path.stat().st_size for path in Path(folder).glob("hpo.db*"))
    return {
        "seconds": seconds,
        "trials": study.next_trial,
        "reports": reports,
        "reports_per_s": reports / seconds,
        "per_s": study.next_trial / seconds,
        "first_per_s": _rate(seen, 0.0, 0.1 * study.next_trial),
        "last_per_s": _rate(seen, 0.9 * study.next_trial, study.next_trial),
        "deciding": deciding / seconds,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "file_mb": size / 1e6,
    }


def _rate(seen: list[tuple[float, int]], low: float, high: float) -> float:
    """Trials per second between two numbers of trials, to the nearest looks."""
    first = max((s for s in seen if s[1] <= low), key=lambda s: s[0])
    last = min((s for s in seen if s[1] >= high), key=lambda s: s[0])
    return (last[1] - first[1]) / (last[0] - first[0])


if __name__ == "__main__":
    children.serve(answer)
