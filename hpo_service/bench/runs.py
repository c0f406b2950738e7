"""What every searcher of `hpo bench search` gives back, and what it is known by: `Run`, `Method` and the trace between.

A method gets a problem, a seed, a number of workers and a budget; it answers with a `Run`, which holds enough to be
judged without the problem. Nothing here runs a search, reads a file or compares methods.

Costs are in full trainings (FTE): one worker's epochs ÷ the problem's epochs; of several workers the virtual wall
clock, at each configuration's own speed, ÷ what a full training of mean speed takes.
"""

from __future__ import annotations

import bisect
import importlib.util
import math
import operator
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hpo_service.errors import InvalidInput

if TYPE_CHECKING:
    from hpo_service.bench.problems.base import Problem

VERSION = 1
"""Of `Run.to_json`; runs that another version wrote are not read."""
Key = tuple[str, str, str, str, str, int, int, float]
"""Method, collection, problem, its identity, variant, seed, workers and budget."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """Time that a method took to decide, training apart: how often it decided, and milliseconds of a core each (of all
    threads of the process: what else the machine does is not counted)."""

    count: int = 0
    mean_ms: float = 0.0
    worst_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Scale:
    """What turns a value into a regret: the problem's best value, the median of random configurations, direction."""

    best: float
    median: float
    maximize: bool

    def regret(self, value: float | None) -> float:
        """(best − value) ÷ (best − median), clipped to [0, 1]: 0 for the best, 1 for the median of random or worse, for
        nothing reported yet and for a value that is not a number."""
        if value is None or not math.isfinite(value):
            return 1.0
        between = self.best - self.median
        if between == 0:
            return 0.0 if value == self.best else 1.0
        return min(1.0, max(0.0, (self.best - value) / between))


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One method on one problem with one seed and one number of workers.

    `trace` holds a (FTE, value) whenever a reported epoch was better than all before, in order of FTE; `variant` is
    the robustness variant of the problem, empty for the problem itself; `epochs` and `trials` were paid for; `identity`
    is the problem's (runs that were recorded without have none).
    """

    method: str
    collection: str
    problem: str
    seed: int
    workers: int
    budget: float
    scale: Scale
    trace: tuple[tuple[float, float], ...]
    decisions: Decisions = Decisions()
    trials: int = 0
    epochs: float = 0.0
    variant: str = ""
    note: str = ""
    identity: str = ""

    @property
    def key(self) -> Key:
        """What makes this run: nothing else needs to be run again when there is one of the same key."""
        named = self.collection, self.problem, self.identity, self.variant
        return self.method, *named, self.seed, self.workers, self.budget

    def best_at(self, fte: float) -> float | None:
        """The best value reported by then; None before any report."""
        after = bisect.bisect_right(self.trace, fte + 1e-9, key=lambda point: point[0])
        return self.trace[after - 1][1] if after else None

    def regret_at(self, fte: float) -> float:
        """See `Scale.regret`."""
        return self.scale.regret(self.best_at(fte))

    def to_json(self) -> dict[str, Any]:
        """One line of a results file."""
        return {
            "version": VERSION,
            "method": self.method,
            "collection": self.collection,
            "problem": self.problem,
            "variant": self.variant,
            "seed": self.seed,
            "workers": self.workers,
            "budget": self.budget,
            "scale": {"best": self.scale.best, "median": self.scale.median, "maximize": self.scale.maximize},
            "trace": [list(point) for point in self.trace],
            "decisions": {
                "count": self.decisions.count,
                "mean_ms": self.decisions.mean_ms,
                "worst_ms": self.decisions.worst_ms,
            },
            "trials": self.trials,
            "epochs": self.epochs,
            "note": self.note,
            "identity": self.identity,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Run:
        """The inverse of `to_json`. Raises InvalidInput for anything else."""
        if document.get("version") != VERSION:
            raise InvalidInput(
                f"a recorded run must be of version {VERSION}, but got {document.get('version')!r}",
                remedy="give another --out folder; what an older release wrote is not comparable",
            )
        rest = {key: value for key, value in document.items() if key != "version"}
        try:
            return cls(
                **rest
                | {
                    "scale": Scale(**document["scale"]),
                    "trace": tuple((float(fte), float(value)) for fte, value in document["trace"]),
                    "decisions": Decisions(**document["decisions"]),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"this is no recorded run: {error!r}", remedy="give another --out folder") from error


@dataclass(slots=True)
class Recorder:
    """Gathers a run while a method searches: `tell` each epoch's value, `deciding` around each decision.

    Reports may be told in any order of time; NaN and the infinities count as spent and are never the best.
    """

    maximize: bool
    trials: int = 0
    epochs: float = 0.0
    _seen: list[tuple[float, float]] = field(default_factory=list)
    _decided: list[float] = field(default_factory=list)

    def tell(self, fte: float, value: float) -> None:
        """One epoch's value, known after `fte` full trainings' worth."""
        if math.isfinite(value):
            self._seen.append((fte, value))

    @contextmanager
    def deciding(self) -> Iterator[None]:
        """Time that the method takes to choose what to do next, nothing else within."""
        began = time.process_time()
        try:
            yield
        finally:
            self._decided.append((time.process_time() - began) * 1e3)

    def decided(self, milliseconds: float) -> None:
        """One decision that was timed elsewhere."""
        self._decided.append(milliseconds)

    def trace(self, budget: float) -> tuple[tuple[float, float], ...]:
        """The improvements in order of time, up to the budget (what came later is not counted)."""
        points: list[tuple[float, float]] = []
        better = operator.gt if self.maximize else operator.lt
        for fte, value in sorted(self._seen, key=lambda point: point[0]):
            if fte > budget + 1e-9 or (points and not better(value, points[-1][1])):
                continue
            if points and points[-1][0] == fte:
                points.pop()
            points.append((fte, value))
        return tuple(points)

    def decisions(self) -> Decisions:
        """Their number, mean and worst."""
        if not self._decided:
            return Decisions()
        return Decisions(
            count=len(self._decided),
            mean_ms=sum(self._decided) / len(self._decided),
            worst_ms=max(self._decided),
        )

    def run(self, method: str, problem: Problem, *, seed: int, workers: int, budget: float, note: str = "") -> Run:
        """The finished record."""
        return Run(
            method=method,
            collection=problem.collection,
            problem=problem.name,
            seed=seed,
            workers=workers,
            budget=budget,
            scale=Scale(best=problem.best, median=problem.median, maximize=problem.maximize),
            trace=self.trace(budget),
            decisions=self.decisions(),
            trials=self.trials,
            epochs=self.epochs,
            variant=problem.variant,
            note=note,
            identity=problem.identity,
        )


Searcher = Callable[["Problem", int, int, float], Run]
"""(problem, seed, workers, budget in FTE) → its run. Deterministic in its arguments; the decisions' times are not."""


@dataclass(frozen=True, slots=True)
class Method:
    """A searcher under its name. `requires` names what must be importable; `peer` tells other libraries' from ours.

    `workers`: the numbers of workers that it can serve, all where None.
    """

    name: str
    search: Searcher
    summary: str
    requires: tuple[str, ...] = ()
    peer: bool = False
    workers: frozenset[int] | None = None

    def missing(self) -> tuple[str, ...]:
        """What it requires and is not installed here."""
        return tuple(name for name in self.requires if not _installed(name))


def own_seed(problem: Problem, seed: int) -> int:
    """The seed that a method searches this problem with. Problems of one space would otherwise all be met with the same
    random configurations, and a mean over them would hang on few draws. Variants of a problem share it."""
    return zlib.crc32(f"{problem.title} {seed}".encode())


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
