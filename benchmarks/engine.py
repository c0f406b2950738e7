"""The service without training and without HTTP: controller, fold and store on the simulated executor's virtual clock.

Random search and asha with ten reports a trial or more; SQLite on disk with every commit synchronised. The rate of the
last tenth beside the first shows what grows with the study. The controller is then gone as if it had been killed, and
a new process takes the study up: how long until trials run again, and how much of that is the log's. One process per
run, for its peak memory; what the simulation itself takes of the CPU is told apart.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import children
from benchmarks.harness import Figure, Options, Outcome, Table
from hpo_service.controller.garbage import look_rarely
from hpo_service.controller.loop import Controller
from hpo_service.core.definition import parse
from hpo_service.executors.curves import PowerLaw
from hpo_service.executors.simulated import SimulatedExecutor
from hpo_service.settings import Settings, load_settings
from hpo_service.store import decisions, studies
from hpo_service.store.database import Database, open_database
from workers.contract import Launch, Message

PARALLEL = 256
BATCH = 4 * PARALLEL  # messages per poll: what gathers while the controller decides and commits
TIMEOUT_S = 3_600.0  # a busy machine is slow
LOOK_EVERY = 16  # passes between two looks at how far the study is
ALGORITHMS: dict[str, dict[str, Any]] = {
    "random": {"name": "random", "max_resource": 10},
    "asha": {"name": "asha", "min_resource": 5, "max_resource": 45, "eta": 3},
}
COLUMNS = {
    "trials": "trials",
    "reports": "reports",
    "per_s": "trials/s",
    "first_per_s": "first tenth",
    "last_per_s": "last tenth",
    "first_us": "CPU µs, first tenth",
    "last_us": "CPU µs, last tenth",
    "cpu_ms": "CPU ms/1,000 reports",
    "simulated": "simulation's share",
    "peak_mb": "peak MB",
    "file_mb": "file MB",
    "restart_s": "restart s",
    "fold_s": "its fold s",
    "restart_mb": "its peak MB",
}


def run(options: Options) -> Outcome:
    trials = 10_000 if options.quick else 100_000
    rows: list[Sequence[Any]] = []
    figures: list[Figure] = []
    for name in ALGORITHMS:
        folder = str(options.scratch / name)
        play_it = {"how": "play", "algorithm": name, "trials": trials, "folder": folder}
        found = children.ask("benchmarks.engine", play_it, timeout_s=TIMEOUT_S)
        take_up = {"how": "restart", "folder": folder, "asked_at": time.time()}
        found |= children.ask("benchmarks.engine", take_up, timeout_s=TIMEOUT_S)
        rows.append((name, *(found[key] for key in COLUMNS)))
        figures += _figures(name, found)
    notes = [
        f"{PARALLEL} trials in parallel, {BATCH} messages a transaction; deciding and collecting take turns.",
        "CPU is the controller's and the database's, without the simulation; rates include the simulation.",
    ]
    return Outcome(tables=[Table(headings=("algorithm", *COLUMNS.values()), rows=rows)], figures=figures, notes=notes)


def _figures(name: str, found: dict[str, Any]) -> list[Figure]:
    slowing = found["first_per_s"] / found["last_per_s"]
    return [
        Figure(name=f"{name}: trials per second", value=found["per_s"], unit="/s", at_least=1_000),
        Figure(name=f"{name}: time of the last tenth ÷ the first", value=slowing, unit="×", below=1.5),
        Figure(name=f"{name}: peak memory", value=found["peak_mb"], unit="MB", below=1_500),
        Figure(name=f"{name}: trials run again in a new process after", value=found["restart_s"], unit="s", below=10),
    ]


class Simulation(SimulatedExecutor):
    """The simulated executor, with its own CPU seconds counted."""

    cpu_s = 0.0

    def poll(self, timeout_s: float) -> Sequence[Message]:
        with self._counted():
            return super().poll(timeout_s)

    def launch(self, launch: Launch) -> None:
        with self._counted():
            super().launch(launch)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        before = time.process_time()
        yield
        self.cpu_s += time.process_time() - before


def answer(*, how: str = "play", **request: Any) -> dict[str, Any]:
    return play(**request) if how == "play" else restart(**request)


def play(*, algorithm: str, trials: int, folder: str) -> dict[str, Any]:
    """Start `trials` trials and stop while the last ones are in training. Rates in trials per second of the whole run,
    its first and its last tenth; CPU microseconds a trial, milliseconds per 1,000 reports; memory and file in MB."""
    db, controller, executor = _controller(folder)
    study = studies.create_study(db, parse(_document(algorithm, trials + PARALLEL)), created_by="benchmark")
    began, cpu_began = time.perf_counter(), time.process_time()
    passes = 0
    seen = [(0, 0.0, 0.0)]
    while study.next_trial < trials and not study.ended_at:
        controller.step()
        controller.collector.collect_once()
        passes += 1
        if passes % LOOK_EVERY == 0 or study.next_trial + 2 * PARALLEL > trials:
            study = studies.get_study(db, study.id)
            seen.append((study.next_trial, time.perf_counter() - began, time.process_time() - cpu_began))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    first_s, first_cpu = _each(seen, 0.0, 0.1 * study.next_trial)
    last_s, last_cpu = _each(seen, 0.9 * study.next_trial, study.next_trial)
    reports = round(study.resource)  # one report per unit of resource
    db.close()
    return {
        "trials": study.next_trial,
        "reports": reports,
        "per_s": study.next_trial / seconds,
        "first_per_s": 1 / first_s,
        "last_per_s": 1 / last_s,
        "first_us": first_cpu * 1e6,
        "last_us": last_cpu * 1e6,
        "cpu_ms": (cpu - executor.cpu_s) / reports * 1e6,
        "simulated": executor.cpu_s / cpu,
        "peak_mb": _peak_mb(),
        "file_mb": sum(path.stat().st_size for path in Path(folder).glob("hpo.db*")) / 1e6,
    }


def restart(*, folder: str, asked_at: float) -> dict[str, Any]:
    """Take the study up as a supervised controller does whose predecessor was killed. Seconds since `asked_at`, when
    this process was asked for, until the log is folded and trials are launched again, and seconds of folding alone."""
    db, controller, _ = _controller(folder)
    decisions.release_leases(db)
    (study,) = studies.active_studies(db)
    before = time.perf_counter()
    with controller.decider.lock(study.id):
        controller.decider.fold(study.id).algorithm.propose(1)
    folding = time.perf_counter() - before
    while not controller.flights.studies():
        controller.step()
    ready = time.time() - asked_at
    db.close()
    return {"restart_s": ready, "fold_s": folding, "restart_mb": _peak_mb()}


def _controller(folder: str) -> tuple[Database, Controller, Simulation]:
    look_rarely()  # as a controller's process does
    settings: Settings = load_settings(data=Path(folder))
    settings.resolved_storage.mkdir(parents=True, exist_ok=True)
    db = open_database(settings.resolved_database_url)
    executor = Simulation(PowerLaw(noise=0.01), cpus=PARALLEL, batch=BATCH)
    controller = Controller(
        db=db, executor=executor, settings=settings, holder="benchmark", storage_root=settings.resolved_storage
    )
    return db, controller, executor


def _document(algorithm: str, trials: int) -> dict[str, Any]:
    return {
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


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _each(seen: list[tuple[int, float, float]], low: float, high: float) -> tuple[float, float]:
    """Seconds and CPU seconds per trial between two numbers of trials, to the nearest looks."""
    first = max((s for s in seen if s[0] <= low), key=lambda s: s[1])
    last = min((s for s in seen if s[0] >= high), key=lambda s: s[1])
    trials = last[0] - first[0]
    return (last[1] - first[1]) / trials, (last[2] - first[2]) / trials


if __name__ == "__main__":
    children.serve(answer)
