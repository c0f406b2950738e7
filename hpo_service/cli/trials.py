"""Commands about trials: trials, trial, best, logs, compare, export."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpo_service.cli.base import Session, session_of
from hpo_service.cli.completion import study_names
from hpo_service.cli.places import Placed, trial_at
from hpo_service.cli.studies import Named
from hpo_service.errors import NotFound
from search_spaces.errors import nearest

if TYPE_CHECKING:
    from hpo_service.client import Study, Trial
    from hpo_service.client.results import StudySnapshot, TrialSnapshot

FOLLOW_S = 0.5
OPEN_STATES = frozenset({"waiting", "running", "paused"})


class Format(StrEnum):
    """How a list is printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class ExportFormat(StrEnum):
    """What a study is exported as."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def trials(
    context: typer.Context,
    study: Named,
    sort: Annotated[
        str | None, typer.Option("--sort", help="A field, parameter or metric; - before it: downwards.")
    ] = None,
    filter: Annotated[str | None, typer.Option("--filter", help="lr>1e-3 state:failed optimizer:sgd")] = None,
    columns: Annotated[str | None, typer.Option("--columns", help="number,value,param.lr,metric.val_loss")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many.")] = 50,
    format: Annotated[Format, typer.Option("--format")] = Format.TABLE,
) -> None:
    """List a study's trials, sorted and filtered by the server."""
    from hpo_service.cli import render

    session = session_of(context)
    found = session.study(study)
    rows = [trial.info for trial in found.trials(filter=filter, sort=sort, limit=limit)]
    if session.json or format is Format.JSON:
        session.emit([row.to_json() for row in rows])
        return
    chosen = _columns(columns, found.info, rows) if columns else []
    chosen = chosen or render.usual_columns(rows)
    if format is Format.CSV:
        sys.stdout.write(render.trials_csv(rows, chosen))
        return
    session.console.print(render.trials_table(rows, chosen, found.info.metric))
    shown = len(rows)
    if not filter and shown < found.info.trials:
        session.say(f"{shown:,} of {found.info.trials:,} trials; --limit shows more")
    elif not rows:
        session.say("no trials match" if filter else "no trials yet")


def _columns(text: str, study: StudySnapshot, rows: list[TrialSnapshot]) -> list[str]:
    """The columns named in `text`. Metrics are known by what the trials shown report; before any did, names that could
    be metrics pass."""
    from hpo_service.cli import render

    params = dict.fromkeys([*study.definition.get("space", {}), *(name for row in rows for name in row.params)])
    metrics = dict.fromkeys([study.metric, *(name for row in rows for name in row.values)])
    prefixed = [*(f"param.{name}" for name in params), *(f"metric.{name}" for name in metrics)]
    known = [*sorted(render.FIELDS), *params, *metrics, *prefixed]
    reported = any(row.values for row in rows)
    chosen = [part.strip() for part in text.split(",") if part.strip()]
    for column in chosen:
        if column not in known and (reported or column.startswith("param.")):
            rule = "a column is a field of trials, a parameter or a metric of this study"
            raise typer.BadParameter(f"{rule}, but got {column!r}; {nearest(column, known)}", param_hint="--columns")
    return chosen


def best(
    context: typer.Context,
    study: Named,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The best so many.")] = 1,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="Save the best trial's model here.")] = None,
) -> None:
    """Show the best trial: its configuration and curve; save its trained model."""
    session = session_of(context)
    found = session.study(study)
    ranked = found.best(limit)
    if not ranked:
        raise NotFound(f"study {found.name!r} has no trial with a value yet", remedy=f"hpo watch {found.id}")
    if session.json:
        session.emit([trial.info.to_json() for trial in ranked])
    else:
        _print_best(session, found, ranked)
        if ranked[0].info.breaks:
            session.say(f"no trial is known to keep all constraints; trial {ranked[0].number} {ranked[0].info.breaks}")
    if checkpoint is not None:
        ranked[0].checkpoint(checkpoint)
        session.say(f"saved the checkpoint of trial {ranked[0].number} as {checkpoint}")


def _print_best(session: Session, study: Study, ranked: list[Trial]) -> None:
    from hpo_service.cli import render

    metric = study.info.metric
    rows = [trial.info for trial in ranked]
    columns = render.usual_columns(rows)
    session.console.print(render.trials_table(rows, columns, metric))
    for curve in study.curves(trials=[ranked[0].number]).trials:
        for line in render.curve_lines(curve, metric):
            session.say(line)


def trial(context: typer.Context, place: Placed) -> None:
    """Show one trial: configuration, metrics, attempts and who trained them."""
    from hpo_service.cli.render import trial_sheet

    session = session_of(context)
    study, found = trial_at(session, place, "trial")
    if session.json:
        session.emit(found.info.to_json())
    else:
        session.console.print(trial_sheet(found.info, study.info.metric))


def logs(
    context: typer.Context,
    place: Annotated[
        str,
        typer.Argument(
            metavar="STUDY/TRIAL", help="Such as my-study/17; with --search also a study.", autocompletion=study_names
        ),
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the trial ends.")] = False,
    fence: Annotated[
        int | None, typer.Option("--fence", help="Of the attempt with this fence; else the newest.")
    ] = None,
    search: Annotated[
        str | None, typer.Option("--search", help="Only lines that hold this text, of the trial or of all of a study.")
    ] = None,
) -> None:
    """Print what a trial wrote, and why it failed."""
    session = session_of(context)
    if search is not None:
        _search(session, place, search, fence)
        return
    study, trial = trial_at(session, place, "logs")
    piece = trial.log(fence=fence)
    sys.stdout.write(piece.text)
    while follow and trial.state in OPEN_STATES and not study.refresh().ended:
        sys.stdout.flush()
        time.sleep(FOLLOW_S)
        trial.refresh()
        after = piece.next if fence is not None or piece.fence == trial.info.fence else 0
        piece = trial.log(fence=fence, after=after)
        sys.stdout.write(piece.text)
    if piece.text and not piece.text.endswith("\n"):
        sys.stdout.write("\n")
    if not piece.text and not follow:
        sys.stderr.write(f"trial {trial.number} wrote nothing\n")
    _tell_failure(session, trial)


def _search(session: Session, place: str, text: str, fence: int | None) -> None:
    """Lines of a trial's log, or of all logs of a study."""
    from hpo_service.cli import artifacts

    name, slash, number = place.rpartition("/")
    if slash and number.isdecimal():
        artifacts.search(session, session.study(name), text, trial=int(number), fence=fence)
    else:
        artifacts.search(session, session.study(place), text, trial=None, fence=fence)


def _tell_failure(session: Session, trial: Trial) -> None:
    failed = [attempt for attempt in trial.info.attempt_rows if attempt.traceback or attempt.failure]
    if failed and trial.state == "failed":
        session.say(f"trial {trial.number} failed: {failed[-1].reason or trial.info.reason}")
        if failed[-1].traceback:
            session.say(failed[-1].traceback.rstrip())


def compare(
    context: typer.Context,
    studies: Annotated[list[str], typer.Argument(metavar="STUDY STUDY…", autocompletion=study_names)],
) -> None:
    """Put studies side by side: best so far, and where their definitions differ."""
    from hpo_service.cli.render import comparison_sheet

    if len(studies) < 2:
        raise typer.BadParameter("compare takes at least two studies")
    session = session_of(context)
    found = session.client.compare(*studies)
    if session.json:
        session.emit(found.to_json())
    else:
        session.console.print(comparison_sheet(found))


def export(
    context: typer.Context,
    study: Named,
    format: Annotated[
        ExportFormat | None, typer.Option("--format", help="Else by the name of the file, else csv.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; standard output if left out.")] = None,
) -> None:
    """Write every trial of a study as csv, json or parquet."""
    if output is not None and not output.parent.is_dir():
        rule = "the folder of the output must exist"
        raise typer.BadParameter(f"{rule}, but got {str(output.parent)!r}; make it first", param_hint="--output")
    session = session_of(context)
    found = session.study(study)
    if output is None:
        found.export(sys.stdout.buffer, (format or ExportFormat.CSV).value)
        sys.stdout.buffer.flush()
        return
    known = output.suffix.lower().lstrip(".") in set(ExportFormat)
    found.export(output, format.value if format else None if known else ExportFormat.CSV.value)
    session.say(f"exported {found.info.trials:,} trials to {output}")
