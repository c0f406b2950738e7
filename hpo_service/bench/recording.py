"""Runs a comparison's cells, in this process or several, and keeps each run as a line of a file: what was interrupted
goes on where it stopped. Compares nothing."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from hpo_service.bench import elsewhere, methods
from hpo_service.bench.problems.base import Problem
from hpo_service.bench.protocol import Cell
from hpo_service.bench.runs import Method, Run
from hpo_service.bench.sources import Source
from hpo_service.bench.variants import vary
from hpo_service.errors import InvalidInput, Unavailable

FILE = "runs.jsonl"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
TOY = Problem(
    collection="toy",
    name="line",
    space={"x": {"type": "uniform", "low": 0.0, "high": 1.0}},
    max_resource=3,
    maximize=False,
    best=0.0,
    median=0.5,
    curves=lambda params: np.full(3, float(params["x"])),
)
TOY_BUDGET = 13.0
"""More full trainings than any method draws at random before it asks its model."""
Tell = Callable[[Cell, "Run | str"], None]
"""Told of every cell that is over: its run, or what went wrong."""


class Records:
    """The runs in a folder, one JSON line each. `again` names methods whose recorded runs do not count."""

    def __init__(self, folder: Path, *, again: Iterable[str] = ()) -> None:
        self.path = folder / FILE
        folder.mkdir(parents=True, exist_ok=True)
        left_out = frozenset(again)
        self._runs = {run.key: run for run in self._read() if run.method not in left_out}

    def _read(self) -> Iterator[Run]:
        if not self.path.exists():
            return
        lines = self.path.read_text().splitlines()
        for number, line in enumerate(lines, start=1):
            try:
                document = json.loads(line)
            except ValueError:
                if number == len(lines):  # it was being written when the machine stopped
                    self.path.write_text("".join(f"{whole}\n" for whole in lines[:-1]))
                    continue
                raise InvalidInput(
                    f"{self.path} holds a recorded run per line, but line {number} is no JSON",
                    remedy="remove that line, or give another --out folder",
                ) from None
            yield Run.from_json(document)

    def find(self, cell: Cell) -> Run | None:
        """The recorded run of this cell."""
        return self._runs.get(cell.key)

    def add(self, run: Run) -> None:
        """Keep it, on a line of its own."""
        torn = self.path.exists() and self.path.stat().st_size > 0 and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a") as file:
            file.write(("\n" if torn else "") + json.dumps(run.to_json()) + "\n")
        self._runs[run.key] = run


@dataclass
class Bench:
    """The problems of a source, loaded once, and their variants."""

    source: Source
    _problems: dict[tuple[str, str], Problem] = field(default_factory=dict)
    _whole: list[Problem] = field(default_factory=list)
    _warm: set[str] = field(default_factory=set)

    def titles(self) -> tuple[str, ...]:
        """The problems' titles. Raises what `Source.load` does."""
        if not self._problems:
            self._problems = {(one.title, ""): one for one in self.source.load()}
        return tuple(title for title, variant in self._problems if not variant)

    def identity(self, title: str, variant: str) -> str:
        """`problem(title, variant).identity`, but nothing is searched to begin from."""
        self.titles()
        problem = self._problems[title, ""]
        if variant != elsewhere.VARIANT or not problem.identity:
            return problem.identity
        return elsewhere.identity(problem, self._everything())

    def _everything(self) -> list[Problem]:
        if not self._whole:
            self._whole = replace(self.source, tasks=(), limits={}).load()
        return self._whole

    def problem(self, title: str, variant: str) -> Problem:
        """The problem of this title."""
        self.titles()
        if variant == elsewhere.VARIANT and (title, variant) not in self._problems:
            self._problems[title, variant] = elsewhere.beginning(self._problems[title, ""], self._everything())
        if (title, variant) not in self._problems:
            self._problems[title, variant] = vary(self._problems[title, ""], variant)
        return self._problems[title, variant]

    def run(self, cell: Cell) -> Run | str:
        """The cell's run, or what went wrong, in a few lines: one method's mistake costs nobody else anything."""
        problem = self.problem(cell.title, cell.variant)
        method = methods.known()[cell.method]
        try:
            self._warm_up(method)
            return method.search(problem, cell.seed, cell.workers, cell.budget)
        except Exception as error:
            return "".join(traceback.format_exception(error, limit=-3))

    def _warm_up(self, method: Method) -> None:
        """What a method imports and compiles when it first decides is done once in a process, beforehand: a service
        does so once in its life."""
        if method.name in self._warm:
            return
        self._warm.add(method.name)
        for name in method.requires:
            importlib.import_module(name)
        _one_thread()
        with contextlib.suppress(Exception):  # whatever it is, the run that follows will tell
            method.search(TOY, 0, 1, TOY_BUDGET)


def execute(wanted: Sequence[Cell], bench: Bench, records: Records, *, jobs: int, tell: Tell) -> None:
    """Run those that are not recorded yet and record them, `jobs` at a time. Raises Unavailable when a process dies."""
    missing = [cell for cell in wanted if records.find(cell) is None]
    for cell, found in _found(missing, bench, jobs):
        if isinstance(found, Run):
            records.add(found)
        tell(cell, found)


def _found(cells: Sequence[Cell], bench: Bench, jobs: int) -> Iterator[tuple[Cell, Run | str]]:
    if jobs == 1 or len(cells) < 2:
        for cell in cells:
            yield cell, bench.run(cell)
        return
    for name in THREADS:  # the processes begin with this one's environment
        os.environ.setdefault(name, "1")
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_begin, initargs=(bench.source,))
    try:
        futures: dict[Future[Run | str], Cell] = {pool.submit(_run, cell): cell for cell in cells}
        for future in as_completed(futures):
            yield futures[future], _result(future)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _result(future: Future[Run | str]) -> Run | str:
    try:
        return future.result()
    except BrokenExecutor as error:
        raise Unavailable(f"a measuring process ended: {error}", remedy="use fewer --jobs") from error


_bench: list[Bench] = []
"""Of a measuring process: its problems."""


def _begin(source: Source) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is this process's parent's to handle
    _bench[:] = [Bench(source)]


def _run(cell: Cell) -> Run | str:
    return _bench[0].run(cell)


def _one_thread() -> None:
    """Several threads on small matrices are slower, and several processes would fight for the cores."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
