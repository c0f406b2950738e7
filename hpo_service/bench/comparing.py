"""A whole comparison, from what is asked for to what is told: which cells are run, and what their runs come to.

Between the command line and the rest: prints nothing, and reads no option.
"""

from __future__ import annotations

import functools
import math
import statistics as plain
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from hpo_service.bench import degradation, elsewhere, methods, past, protocol, statistics, tables
from hpo_service.bench.protocol import Cell, Profile
from hpo_service.bench.recording import Bench, Records
from hpo_service.bench.runs import Run
from hpo_service.bench.sources import Source
from hpo_service.bench.variants import VARIANTS
from hpo_service.errors import InvalidInput

OWN = ("auto", "random", "tpe", "gp", "asha", "hyperband")
"""What a user's own studies are tried with where nothing else is asked for."""
FOUND = 0.1
"""The regret from which on a past study's best counts as found."""
ALONE = {
    "lcbench": "LCBench alone: its surrogate rewards corners of its space more than reality does",
    "taskset": "TaskSet alone: four tasks of one kind",
}


REFERENCE = "auto"
"""What others are tested against where nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a comparison is of. Empty fields are the profile's."""

    source: Source
    profile: Profile
    methods: Sequence[str] = ()
    workers: Sequence[int] = ()
    seeds: int | None = None
    variants: Sequence[str] = ()
    budget: float | None = None
    reference: str = REFERENCE
    partial: bool = False
    portfolio: bool = False  # also with past studies of the other problems, where a method begins from such


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What will be run, and what is to be said of it beforehand. `left_out` are lines by method, of those that are not
    installed here; `absent` their cells: where another environment recorded those, they count."""

    cells: tuple[Cell, ...]
    bench: Bench
    reference: str
    notes: tuple[str, ...]
    left_out: Mapping[str, str]
    absent: tuple[Cell, ...]


@dataclass(kw_only=True)
class Conclusion:
    """What the runs come to. `failed` are the runs that raised."""

    groups: list[statistics.Group]
    degradations: list[degradation.Degradation]
    runs: list[Run]
    notes: list[str]
    failed: list[str] = field(default_factory=list)

    def text(self) -> str:
        """For a terminal."""
        return tables.text(self.groups).rstrip() if self.groups else "nothing was run"

    def document(self) -> dict[str, Any]:
        """Every figure."""
        return {
            "groups": tables.document(self.groups),
            "degradations": [asdict(one) for one in self.degradations],
            "notes": self.notes,
            "failed": self.failed,
        }


def prepare(asked: Asked) -> Comparison:
    """Raises InvalidInput where something asked for is not there, or is not to be measured alone."""
    bench = Bench(asked.source)
    titles = bench.titles()
    notes = [*_together(titles, partial=asked.partial)]
    default = OWN if asked.source.studies else asked.profile.methods
    chosen, left_out = methods.chosen(asked.methods or [name for name in default if name in _known()])
    if asked.reference != REFERENCE:
        methods.chosen([asked.reference])  # refused where nothing has that name
    for name in asked.variants:
        if name not in VARIANTS:
            raise InvalidInput(f"a variant is one of {', '.join(VARIANTS)}, or all, but got {name!r}")
    if not chosen:
        raise InvalidInput("nothing can be run here", remedy="; ".join(left_out.values()))
    found = protocol.cells(
        methods=[*(method.name for method in chosen), *left_out],
        titles=titles,
        seeds=asked.profile.seeds if asked.seeds is None else asked.seeds,
        workers=asked.workers or asked.profile.workers,
        variants=("", *asked.variants, *([elsewhere.VARIANT] if asked.portfolio else [])),
        budget=asked.budget,
        identity=functools.cache(bench.identity),
    )
    cells = [cell for cell in found if _serves(cell)]
    return Comparison(
        cells=tuple(cell for cell in cells if cell.method not in left_out),
        bench=bench,
        reference=asked.reference,
        notes=(*notes, *left_out.values(), *trust(asked.source)),
        left_out=left_out,
        absent=tuple(cell for cell in cells if cell.method in left_out),
    )


def conclude(comparison: Comparison, records: Records, failed: Iterable[str] = ()) -> Conclusion:
    """What the recorded ones of the comparison's runs come to."""
    found = [records.find(cell) for cell in comparison.cells]
    runs = [run for run in found if run is not None]
    missing = len(comparison.cells) - len(runs)
    runs += [run for run in map(records.find, comparison.absent) if run is not None]
    told = {comparison.left_out.get(run.method) for run in runs}
    degradations = degradation.degradations(runs, reference=comparison.reference)
    notes = [
        *(note for note in comparison.notes if note not in told),
        *(degradation.told(one) for one in degradations),
        *sooner(comparison.bench.source, runs),
    ]
    if missing:
        notes.insert(0, f"{missing} of {len(comparison.cells)} runs are missing: what follows is of the others")
    groups = statistics.groups(runs, reference=comparison.reference)
    return Conclusion(groups=groups, degradations=degradations, runs=runs, notes=notes, failed=list(failed))


def trust(source: Source) -> list[str]:
    """How far the models of past studies can be trusted, and what counts as the worst, a line each."""
    models = [(study.name, past.model_of(study)) for study in source.studies]
    bounded = [
        f"{name}: {int(model.broken.sum())} of {len(model.broken)} trials break a constraint and count as the worst; "
        "searches here see that in the value alone"
        for name, model in models
        if model.broken.any()
    ]
    return [*(f"{name}: {model.trust.verdict}" for name, model in models), *bounded]


def sooner(source: Source, runs: Sequence[Run]) -> list[str]:
    """Which method would have found what each past study found, and how soon, the soonest first."""
    said = []
    for study in source.studies:
        own = [run for run in runs if run.collection == "study" and run.problem == study.name and not run.variant]
        if not own:
            continue
        took: dict[str, list[float]] = {}
        for run in own:
            took.setdefault(run.method, []).append(first(run, FOUND))
        budget = max(run.budget for run in own)
        itself = past.as_it_ran(study, budget=math.inf)
        lines = [(name, _fte(time, budget)) for time, name in sorted((plain.median(t), n) for n, t in took.items())]
        own_time = f"{_fte(first(itself, FOUND), math.inf)} of its {itself.epochs / _full(study):.1f}"
        lines.append((f"the study itself ({study.algorithm})", own_time))
        width = max(len(name) for name, _ in lines)
        said.append(
            "\n".join(
                [
                    f"{study.name}: full trainings until a value within {FOUND:.0%} of its best, median of the seeds",
                    *(f"  {name.ljust(width)}  {time}" for name, time in lines),
                    f"  {past.model_of(study).trust.verdict}",
                ]
            )
        )
    return said


def first(run: Run, regret: float) -> float:
    """The FTE after which the run's regret was as low; infinity where it never was."""
    return next((fte for fte, value in run.trace if run.scale.regret(value) <= regret), math.inf)


def _fte(time: float, budget: float) -> str:
    return f"{time:.1f}" if math.isfinite(time) else f"more than {budget:g}"


def _full(study: past.PastStudy) -> int:
    return past.model_of(study).epochs


def _known() -> Iterable[str]:
    return {*methods.known(), "all", "ours", "peers"}


def _serves(cell: Cell) -> bool:
    if cell.variant == elsewhere.VARIANT and cell.method not in elsewhere.METHODS:
        return False
    can = methods.known()[cell.method].workers
    return can is None or cell.workers in can


def _together(titles: Sequence[str], *, partial: bool) -> Iterable[str]:
    collections = {title.partition("/")[0] for title in titles}
    there = [name for name in protocol.TOGETHER if name in collections]
    if len(there) != 1:
        return
    missing = next(name for name in protocol.TOGETHER if name not in there)
    if not partial:
        raise InvalidInput(
            f"{' and '.join(protocol.TOGETHER)} are measured together, but {missing} is not there",
            remedy=f"add its tasks, or say --partial, and it is said on the output ({ALONE[there[0]]})",
        )
    yield f"PARTIAL: {ALONE[there[0]]}; measure {missing} too before concluding anything"
