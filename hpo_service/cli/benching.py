"""How well do the algorithms search? `hpo bench search` and `hpo bench methods`.

Everything is simulated on this machine; a server is asked only for past studies.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpo_service.cli.base import INTERRUPTED, Session, session_of
from hpo_service.cli.completion import study_names
from hpo_service.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpo_service.bench.comparing import Comparison, Conclusion
    from hpo_service.bench.past import PastStudy
    from hpo_service.bench.protocol import Cell
    from hpo_service.bench.runs import Run
    from hpo_service.client import Study

bench = typer.Typer(
    no_args_is_help=True, help="Measure how well algorithms search, on a virtual clock; nothing trains."
)
TRIALS_AT_ONCE = 40
POINTS = 300
"""Of a curve, at most: with so many trials at once the server thins none further."""
FAILURES_SHOWN = 3


@bench.command("search")
def search(
    context: typer.Context,
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[STUDY]…", help="More past studies, after --from-study.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Folder with lcbench/ and taskset/. Without: synthetic problems.")
    ] = None,
    from_study: Annotated[
        list[str] | None,
        typer.Option("--from-study", metavar="STUDY", help="A past study's curves.", autocompletion=study_names),
    ] = None,
    methods: Annotated[str, typer.Option("--methods", metavar="A,B", help="Names; or ours, peers, all.")] = "",
    workers: Annotated[str, typer.Option("--workers", metavar="1,4,16", help="Numbers of workers.")] = "",
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="How often everything is run.")] = None,
    tasks: Annotated[str, typer.Option("--tasks", metavar="A,B", help="These tasks alone.")] = "",
    variant: Annotated[
        str, typer.Option("--variant", metavar="A,B", help="Harder variants too; or all of them: all.")
    ] = "",
    portfolio: Annotated[
        str,
        typer.Option("--portfolio", help="leave-one-out: auto also with past studies of all other tasks."),
    ] = "",
    budget: Annotated[
        float | None, typer.Option("--budget", min=0.1, help="Full trainings per worker; else the protocol's.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="20 seeds, all tasks, all methods, 1, 4, 16 workers.")] = False,
    reference: Annotated[str, typer.Option("--reference", help="The method that others are tested against.")] = "auto",
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes.")] = 1,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for runs, tables and pictures; goes on where it stopped.")
    ] = None,
    again: Annotated[str, typer.Option("--again", metavar="A,B", help="Run these methods though recorded.")] = "",
    partial: Annotated[bool, typer.Option("--partial", help="LCBench without TaskSet, or the reverse.")] = False,
) -> None:
    """Which algorithm finds better configurations for the same budget? Tables, tests, and decision times."""
    from hpo_service.bench import comparing, protocol
    from hpo_service.bench.sources import Source
    from hpo_service.bench.variants import VARIANTS

    session, studies, anew = session_of(context), [*(from_study or []), *(more or [])], _anew(_names(again))
    if out is not None:
        _check_folder(out)
    if studies and (data is not None or not from_study):
        raise InvalidInput("past studies are named by --from-study and need no --data", remedy="leave one of them out")
    profile = protocol.PROFILES["full" if full else "quick"]
    source = Source(
        folder=data,
        studies=tuple(_past_studies(session, studies)),
        tasks=_names(tasks),
        limits={} if full else profile.tasks,
    )
    asked = comparing.Asked(
        source=source,
        profile=profile,
        methods=_names(methods),
        workers=_numbers(workers),
        seeds=seeds,
        variants=tuple(VARIANTS) if variant == "all" else _names(variant),
        budget=budget,
        reference=reference,
        partial=partial,
        portfolio=_portfolio(portfolio),
    )
    comparison = comparing.prepare(asked)
    for note in comparison.notes:
        session.say(note)
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hpo-bench-")))
        _compare(session, comparison, folder, again=anew, jobs=jobs, kept=out is not None)


def _anew(names: Sequence[str]) -> tuple[str, ...]:
    """The methods whose recorded runs do not count; of `ours`, `peers` and `all`, those that can run here."""
    from hpo_service.bench import methods

    there, _ = methods.chosen(names)
    return (*names, *(method.name for method in there))


def _check_folder(out: Path) -> None:
    there = next(path for path in (out, *out.parents) if os.path.lexists(path))
    if not there.is_dir():
        raise InvalidInput(
            f"--out names a folder, but {there} is none",
            remedy="name another folder, which is made if it is not there, or move the file away",
        )


def _portfolio(text: str) -> bool:
    if text not in ("", "leave-one-out"):
        raise InvalidInput(
            f"past studies are those of the other tasks, but got --portfolio {text!r}",
            remedy="write --portfolio leave-one-out",
        )
    return bool(text)


@bench.command("methods")
def methods(context: typer.Context) -> None:
    """List what can be measured, and what is missing for the rest."""
    from hpo_service.bench.methods import known

    session, found = session_of(context), known()
    if session.json:
        session.emit(
            [
                {"name": m.name, "peer": m.peer, "summary": m.summary, "missing": list(m.missing())}
                for m in found.values()
            ]
        )
    width = max(len(name) for name in found)
    for method in found.values():
        missing = f" (not installed: {', '.join(method.missing())})" if method.missing() else ""
        kind = "peer" if method.peer else "ours"
        session.say(f"{method.name.ljust(width)}  {kind}  {method.summary}{missing}")


def _compare(
    session: Session, comparison: Comparison, folder: Path, *, again: Sequence[str], jobs: int, kept: bool
) -> None:
    from hpo_service.bench import comparing
    from hpo_service.bench.recording import Records, execute

    records, failed = Records(folder, again=again), list[str]()
    before = sum(records.find(cell) is not None for cell in comparison.cells)
    if before:
        session.say(f"{before} of {len(comparison.cells)} runs are recorded in {folder} and are not run again")
    stopped = False
    with _progress(session, len(comparison.cells), before) as advance:

        def tell(cell: Cell, found: Run | str) -> None:
            if isinstance(found, str):
                failed.append(f"{cell.method} on {cell.title}, seed {cell.seed}, {cell.workers} workers: {found}")
            advance(cell)

        try:
            execute(comparison.cells, comparison.bench, records, jobs=jobs, tell=tell)
        except KeyboardInterrupt:
            stopped = True
    conclusion = comparing.conclude(comparison, records, failed)
    _tell(session, conclusion, said=comparison.notes)
    if kept:
        _keep(session, conclusion, folder)
    if stopped:
        kept_in = f"the same command goes on with what is recorded in {folder}" if kept else "--out FOLDER keeps runs"
        sys.stderr.write(f"interrupted; {kept_in}\n")
        raise typer.Exit(INTERRUPTED)
    if failed:
        raise typer.Exit(1)


def _tell(session: Session, conclusion: Conclusion, *, said: Sequence[str]) -> None:
    """The tables and what is not `said` yet, but for what makes the tables partial."""
    if session.json:
        session.emit(conclusion.document())
    session.say("")
    session.say(conclusion.text())
    for note in conclusion.notes:
        if note not in said or note.startswith("PARTIAL"):
            session.say(f"\n{note}")
    for failure in conclusion.failed[:FAILURES_SHOWN]:
        sys.stderr.write(f"failed: {failure}\n")
    if len(conclusion.failed) > FAILURES_SHOWN:
        sys.stderr.write(f"failed: {len(conclusion.failed) - FAILURES_SHOWN} more runs\n")


def _keep(session: Session, conclusion: Conclusion, folder: Path) -> None:
    """Tables, figures and pictures beside the runs."""
    import json

    from hpo_service.bench import page, tables

    notes = "".join(f"\n{note}\n" for note in conclusion.notes)
    html = page.html(conclusion.runs, conclusion.groups, title="Search quality", notes=conclusion.notes)
    (folder / "results.md").write_text(tables.markdown(conclusion.groups) + notes, encoding="utf-8")
    (folder / "results.html").write_text(html, encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(conclusion.document(), indent=1) + "\n", encoding="utf-8")
    session.say(f"\npictures and tables: {folder / 'results.html'}; beside it results.md, results.json and every run")


@contextmanager
def _progress(session: Session, total: int, before: int) -> Iterator[Callable[[Cell], None]]:
    """A bar with the time left, on standard error, where that is a terminal; else a line for every tenth."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    done = before
    if not console.is_terminal:

        def line(cell: Cell) -> None:
            nonlocal done
            done += 1
            if not session.json and (done * 10 // total > (done - 1) * 10 // total):
                sys.stderr.write(f"{done} of {total} runs\n")

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("searching", total=total, completed=before)
        yield lambda cell: bar.update(task, advance=1, description=f"{cell.title} {cell.method}")


def _past_studies(session: Session, names: Sequence[str]) -> Iterator[PastStudy]:
    """The studies of these ids or names as they were recorded; of equal names, the later ones with their ids."""
    seen: set[str] = set()
    for name in names:
        study = session.study(name)
        title = f"{study.name} {study.id}" if study.name in seen else study.name
        seen.add(study.name)
        yield _past_study(study, title.replace("/", "-"))


def _past_study(study: Study, title: str) -> PastStudy:
    from hpo_service.bench.past import PastStudy, PastTrial

    trials: list[PastTrial] = []
    every = sorted(study.trials(), key=lambda trial: trial.number)
    for start in range(0, len(every), TRIALS_AT_ONCE):
        some = every[start : start + TRIALS_AT_ONCE]
        found = study.curves(trials=[trial.number for trial in some], max_points=POINTS)
        curves = {curve.number: curve for curve in found.trials}
        for trial in some:
            curve, failed = curves.get(trial.number), trial.state == "failed"
            if curve is None and not failed:
                continue
            told = () if curve is None else curve.value
            trials.append(
                PastTrial(
                    params=dict(trial.params),
                    resources=() if curve is None else tuple(curve.resource),
                    values=tuple(math.nan if value is None else float(value) for value in told),
                    failed=failed,
                    broken=trial.info.feasible is False,
                )
            )
    definition: dict[str, Any] = dict(study.info.definition)
    several = definition.get("objective")  # a list where there are several
    return PastStudy(
        name=title,
        algorithm=str(definition["algorithm"]["name"]),
        space=dict(definition["space"]),
        maximize=study.info.maximize,
        trials=tuple(trials),
        forbid=tuple(definition.get("forbid", ())),
        max_resource=definition["algorithm"].get("max_resource"),
        fidelity=definition["algorithm"].get("fidelity", "epochs"),
        objectives=tuple(one["metric"] for one in several) if isinstance(several, list | tuple) else (),
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _numbers(text: str) -> tuple[int, ...]:
    found = _names(text)
    if not all(part.isdigit() and int(part) for part in found):
        raise InvalidInput(f"workers are whole numbers from 1 on, but got {text!r}", remedy="write --workers 1,4,16")
    return tuple(map(int, found))
