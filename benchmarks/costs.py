"""What a trial and a report cost the controller and the database, as a child process.

`simulate`: the real controller, collector, fold and store with the simulated executor, on one thread, so that CPU
time can be told apart; what the simulation itself takes is left out. `weigh`: the study that this made, read again: its
fold, as a restart does, and its columns, as the pages do.
"""

from __future__ import annotations

import pickle
import time
import tracemalloc
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from benchmarks import children, databases
from hpo_service.controller.loop import Controller
from hpo_service.core.definition import parse
from hpo_service.decider import Decider
from hpo_service.executors.base import Executor
from hpo_service.executors.curves import PowerLaw
from hpo_service.executors.simulated import SimulatedExecutor
from hpo_service.settings import load_settings
from hpo_service.store import studies
from hpo_service.store.database import Database, open_database
from hpo_service.views.columns import ColumnsCache
from workers.contract import Ended, Launch, Message

SAMPLED = 200
"""Messages of each kind whose size is taken."""
IDLE_PASSES = 100


def answer(*, how: str, **request: Any) -> dict[str, Any]:
    return simulate(**request) if how == "simulate" else weigh(**request)


def definition(*, trials: int, reports: int, parallel: int) -> dict[str, Any]:
    """Random search, three parameters, two metrics a report."""
    return {
        "name": f"benchmark-{trials}-by-{reports}",
        "objective": {"metric": "val_loss", "direction": "minimize"},
        "space": {
            "lr": {"type": "loguniform", "low": 1e-5, "high": 1.0},
            "batch_size": {"type": "power_of_two", "low": 16, "high": 256},
            "momentum": {"type": "uniform", "low": 0.85, "high": 0.95},
        },
        "algorithm": {"name": "random", "max_resource": reports},
        "trainer": {"function": "benchmarks.trainables:report_once"},
        "budget": {"trials": trials},
        "parallel": parallel,
    }


class Apart:
    """An executor whose own CPU time is kept apart from the controller's, and whose messages are counted and weighed.

    `ended`: whether an attempt ended in the last poll, which is when a controller is woken.
    """

    def __init__(self, inner: SimulatedExecutor) -> None:
        self._inner = inner
        self.cpu_s = 0.0
        self.ended = True
        self.messages: Counter[str] = Counter()
        self._weights: dict[str, list[int]] = defaultdict(list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    @property
    def bytes_each(self) -> dict[str, float]:
        """Mean pickled size by kind of message, sent alone."""
        return {name: sum(some) / len(some) for name, some in self._weights.items()}

    def poll(self, timeout_s: float) -> Sequence[Message]:
        with self._counted():
            messages = self._inner.poll(timeout_s)
            self.ended = not messages or any(isinstance(message, Ended) for message in messages)
            for message in messages:
                self._weigh(message)
        return messages

    def launch(self, launch: Launch) -> None:
        with self._counted():
            self._weigh(launch)
            self._inner.launch(launch)

    def _weigh(self, sent: Message | Launch) -> None:
        name = type(sent).__name__
        self.messages[name] += 1
        if len(self._weights[name]) < SAMPLED:
            self._weights[name].append(len(pickle.dumps(sent)))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        before = time.process_time()
        yield
        self.cpu_s += time.process_time() - before


def pace(params: Mapping[str, Any]) -> float:
    """0.5 … 1.5, 1 in the mean: trials of a study do not all take equally long."""
    return 0.5 + 10 * (float(params["momentum"]) - 0.85)


def simulate(
    *, url: str, folder: str, trials: int, reports: int, workers: int, batch: int, trial_s: float
) -> dict[str, Any]:
    """One study to its end, `workers` attempts at once, messages stored `batch` at a time; a trial takes `trial_s` of
    the virtual clock. CPU seconds of deciding and of collecting, of a PostgreSQL server, and of a pass with nothing to
    do; transactions by verb; bytes and rows by table; virtual seconds."""
    settings = load_settings(data=Path(folder), database_url=url)
    settings.resolved_storage.mkdir(parents=True, exist_ok=True)
    db = open_database(url)
    verbs: Counter[str] = Counter()
    db.failpoint = lambda name: verbs.update([name])
    inner = SimulatedExecutor(
        PowerLaw(noise=0.01), cpus=workers, batch=batch,
        seconds_per_resource=lambda params: trial_s / reports * pace(params),
    )  # fmt: skip
    executor = Apart(inner)
    controller = Controller(
        db=db, executor=cast(Executor, executor), settings=settings, holder="benchmark",
        storage_root=settings.resolved_storage,
    )  # fmt: skip
    try:
        before = databases.sizes(db), databases.logged(db), databases.server_cpu_seconds(db)
        document = parse(definition(trials=trials, reports=reports, parallel=workers))
        study_id = studies.create_study(db, document, created_by="benchmark").id
        began = time.perf_counter()
        deciding, collecting = _run(db, controller, executor, study_id)
        seconds = time.perf_counter() - began
        after = databases.sizes(db)
        return {
            "study": study_id,
            "seconds": seconds,
            "virtual_s": inner.now,
            "deciding_s": deciding,
            "collecting_s": collecting,
            "server_s": databases.server_cpu_seconds(db) - before[2],
            "idle_pass_s": _cpu(lambda: [controller.step() for _ in range(IDLE_PASSES)]) / IDLE_PASSES,
            "messages": dict(executor.messages),
            "message_bytes": executor.bytes_each,
            "transactions": _committed(verbs),
            "logged": databases.logged(db) - before[1],
            "bytes": {name: size - before[0].get(name, 0) for name, size in after.items()},
            "rows": databases.rows(db, sorted(after)),
        }
    finally:
        db.close()


def _run(db: Database, controller: Controller, executor: Apart, study_id: str) -> tuple[float, float]:
    """CPU seconds of deciding and of collecting until the study's end, without the executor's own."""
    deciding = collecting = 0.0
    passes = 0
    while True:
        if executor.ended:
            deciding += _apart(executor, controller.step)
            passes += 1
            if passes % 16 == 0 and studies.get_study(db, study_id).ended_at:
                return deciding, collecting
        collecting += _apart(executor, controller.collector.collect_once)


def _apart(executor: Apart, work: Callable[[], object]) -> float:
    """CPU seconds of the work less those that the executor took meanwhile."""
    before = executor.cpu_s
    return _cpu(work) - (executor.cpu_s - before)


def _cpu(work: Callable[[], object]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def _committed(verbs: Counter[str]) -> dict[str, int]:
    """Commits by verb, from the names of fail-points."""
    mark = "commit:after:"
    return {name.removeprefix(mark): count for name, count in verbs.items() if name.startswith(mark)}


def weigh(*, url: str, study: str) -> dict[str, Any]:
    """CPU seconds and bytes of the study's fold (made from the log, as after a restart) and of its columns."""
    db = open_database(url)
    try:
        seq = studies.get_study(db, study).last_seq
        found = {}
        for name, make in (("fold", _folded), ("columns", _columned)):
            seconds = _cpu(lambda make=make: make(db, study, seq))  # type: ignore[misc]
            found[name] = {"cpu_s": seconds, "bytes": _bytes(lambda make=make: make(db, study, seq))}  # type: ignore[misc]
        return found
    finally:
        db.close()


def _folded(db: Database, study: str, seq: int) -> Decider:
    decider = Decider(db)
    with decider.lock(study):
        decider.fold(study)
    return decider


def _columned(db: Database, study: str, seq: int) -> ColumnsCache:
    cache = ColumnsCache(db)
    with cache.at(study, seq):
        return cache


def _bytes(make: Callable[[], object]) -> int:
    """Bytes that what `make` returns keeps alive."""
    tracemalloc.start()
    try:
        kept = make()
        held, _ = tracemalloc.get_traced_memory()
        del kept
        return held
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    children.serve(answer)
