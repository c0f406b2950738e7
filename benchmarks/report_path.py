"""A child process for `report_latency`: the real controller on a real Ray, watched from its executor's seam.

Reports carry the worker's clock. The collector asks the executor for more messages only when those it got before are
committed, so the next `poll` bounds the commit from above.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from benchmarks import children
from hpo_service.controller.loop import Controller
from hpo_service.core.definition import parse
from hpo_service.executors.base import Executor
from hpo_service.executors.ray import RayExecutor
from hpo_service.settings import load_settings
from hpo_service.store import studies
from hpo_service.store.database import Database, open_database
from workers.contract import Message, Reported

WORKERS = 2


class Watched:
    """An executor whose `poll` notes how long the reports of the poll before took until here."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self._sent: list[float] = []
        self.latencies: list[float] = []  # seconds
        self.batches: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def poll(self, timeout_s: float) -> Sequence[Message]:
        now = time.time()
        self.latencies += [now - sent for sent in self._sent]
        messages = self._inner.poll(timeout_s)
        self._sent = [m.sent_at for m in messages if isinstance(m, Reported) and m.key.trial >= 0]
        if self._sent:
            self.batches.append(len(self._sent))
        return messages


def definition(rate: float, seconds: float, seed: int) -> dict[str, Any]:
    """Two trials that report `rate` times a second between them."""
    return {
        "name": "benchmark-reports",
        "objective": {"metric": "val_loss", "direction": "minimize"},
        "space": {
            "x": {"type": "uniform", "low": 0.0, "high": 1.0},
            "rate": {"type": "constant", "value": rate / WORKERS},
            "seconds": {"type": "constant", "value": seconds},
        },
        "algorithm": {"name": "random"},
        "trainer": {"function": "benchmarks.trainables:steady"},
        "budget": {"trials": WORKERS},
        "parallel": WORKERS,
        "seed": seed,
    }


def answer(*, folder: str, rate: float, seconds: float) -> dict[str, Any]:
    """`{"latencies_ms", "batches", "per_s"}` of the reports of one study, after one that warmed the workers."""
    settings = load_settings(data=Path(folder), ray_cpus=WORKERS)
    settings.resolved_storage.mkdir(parents=True, exist_ok=True)
    db = open_database(settings.resolved_database_url)
    executor = RayExecutor(settings, settings.resolved_storage)
    watched = Watched(executor)
    stop = threading.Event()
    controller = Controller(
        db=db, executor=cast(Executor, watched), settings=settings, holder="benchmark",
        storage_root=settings.resolved_storage,
    )  # fmt: skip
    found: dict[str, Any] = {}

    def studies_in_turn() -> None:
        try:
            _train(db, definition(50, 1.0, seed=1))
            watched.latencies.clear()
            watched.batches.clear()
            took = _train(db, definition(rate, seconds, seed=0))
            found.update(latencies_ms=[1e3 * s for s in watched.latencies], batches=watched.batches, study_s=took)
        finally:
            stop.set()

    thread = threading.Thread(target=studies_in_turn, daemon=True)
    thread.start()
    try:
        controller.run(stop)
    finally:
        executor.close()
        db.close()
    found["per_s"] = len(found["latencies_ms"]) / seconds
    return found


def _train(db: Database, document: dict[str, Any]) -> float:
    """Submit a study and wait for its end; how long it ran, seconds."""
    study = studies.create_study(db, parse(document), created_by="benchmark")
    while not study.ended_at:
        time.sleep(0.2)
        study = studies.get_study(db, study.id)
    if study.counts.get("finished") != WORKERS:
        raise RuntimeError(f"the study should have finished {WORKERS} trials: {study.state}, {study.reason}")
    assert study.started_at is not None
    return (study.ended_at - study.started_at).total_seconds()


if __name__ == "__main__":
    children.serve(answer)
