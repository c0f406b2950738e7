"""Is the winner real? `hpo confirm`, and `hpo report`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpo_service.cli.base import Session, session_of
from hpo_service.cli.completion import study_names
from hpo_service.errors import InvalidInput

if TYPE_CHECKING:
    from hpo_service.client import Study

Named = Annotated[str, typer.Argument(metavar="STUDY", help="Id or name.", autocompletion=study_names)]


def confirm(
    context: typer.Context,
    study: Named,
    top: Annotated[int, typer.Option("--top", min=1, help="The best so many configurations.")] = 5,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="New seeds of each.")] = 5,
    trials: Annotated[str, typer.Option("--trials", metavar="3,8", help="These in place of the best.")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay until it is done; print the outcome.")] = False,
    ensemble: Annotated[bool, typer.Option("--ensemble", help="What the models gain together. Waits.")] = False,
) -> None:
    """Is the winner real? Train the best again with new seeds. Of a confirmation: show what it has come to."""
    session = session_of(context)
    given = session.study(study)
    own = given.info.definition.get("confirms") is not None
    found = given if own else given.confirm(top=top, seeds=seeds, trials=_numbers(trials))
    if not own:
        if session.json and not (watch or ensemble):
            session.emit(found.info.to_json())
            return
        count = found.info.trials
        session.say(f"confirming {given.name} as {found.id}: {count} trials")
    if not own and not (watch or ensemble):
        session.say(f"see what it comes to:  hpo confirm {found.id}")
        return
    if watch or (ensemble and not own):
        _wait(session, found)
    _tell(session, found, ensemble=ensemble)


def _wait(session: Session, study: Study) -> None:
    from hpo_service.cli.base import INTERRUPTED
    from hpo_service.client.display import open_display

    display = None if session.json else open_display(session.console)
    try:
        study.wait(progress=display.show if display else False)
    except KeyboardInterrupt:
        sys.stderr.write(f"{study.name} goes on; see it with: hpo confirm {study.id}\n")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        if display is not None:
            display.close()


def _tell(session: Session, study: Study, *, ensemble: bool) -> None:
    from hpo_service.cli.confirmed import confirmation_sheet

    found = study.confirmation(ensemble=ensemble)
    if session.json:
        session.emit(found.to_json())
    else:
        session.console.print(confirmation_sheet(found))
        if study.state == "failed":
            session.say(f"{study.name} failed: {study.info.reason}")
        session.say(f"page: {study.url}")
    if study.state == "failed":
        raise typer.Exit(1)


def report(
    context: typer.Context,
    study: Named,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="NAME.html or NAME.md; - for standard output.")
    ] = None,
    format: Annotated[str | None, typer.Option("--format", help="html or md; else by the file's name.")] = None,
) -> None:
    """Write a study's report as one self-contained page: what was searched, found, spent, and how to repeat it."""
    session = session_of(context)
    found = session.study(study)
    if output is not None and str(output) == "-":
        found.report(sys.stdout.buffer, format or "md")
        return
    path = output or Path(f"{_file_name(found.name)}-report.{format or 'html'}")
    if not path.parent.is_dir():
        raise InvalidInput(f"a report is written in a folder that exists, but got {path}", remedy="make the folder")
    found.report(path, format)
    session.say(f"wrote {path}")
    if session.json:
        session.emit({"report": str(path)})


def _file_name(name: str) -> str:
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in name).strip("._")
    return kept[:80] or "study"


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"--trials takes numbers with commas between them, but got {text!r}")
    return [int(part) for part in parts]
