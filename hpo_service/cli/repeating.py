"""Commands about the same study again: replay, archive, restore, diff."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hpo_service.cli.base import session_of
from hpo_service.cli.completion import study_names
from hpo_service.cli.studies import Named

DIFFERENT = 1
Side = Annotated[str, typer.Argument(metavar="A", help="STUDY, or STUDY/17.", autocompletion=study_names)]
Other = Annotated[str, typer.Argument(metavar="B", help="One of the same kind.", autocompletion=study_names)]


def replay(context: typer.Context, study: Named) -> None:
    """Fold a study's log again: does the algorithm decide alike? Exits with 1 where it does not."""
    from hpo_service.cli.render_repeats import replay_lines

    session = session_of(context)
    found = session.study(study).replay()
    if session.json:
        session.emit(found.to_json())
    for line in replay_lines(found):
        session.say(line)
    if not found.same:
        raise typer.Exit(DIFFERENT)


def archive(
    context: typer.Context,
    study: Named,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; else STUDY.hpo here.")] = None,
) -> None:
    """Write a whole study to one file: definition, events, trials, reports, logs, environments and code."""
    session = session_of(context)
    found = session.study(study)
    path = output or Path(f"{found.id}.hpo")
    found.archive(path)
    digest = found.digest()
    if session.json:
        session.emit({"study": found.id, "path": str(path), "digest": digest, "size_bytes": path.stat().st_size})
    session.say(f"wrote {found.name} to {path}, {path.stat().st_size} bytes; digest {digest}")
    session.say(
        "checkpoints, artifacts and reproductions are left out; make it anew elsewhere with: hpo restore " + str(path)
    )


def restore(
    context: typer.Context, file: Annotated[Path, typer.Argument(metavar="FILE", help="What hpo archive wrote.")]
) -> None:
    """Make an archived study anew: all of it, with the same digest."""
    session = session_of(context)
    found = session.client.restore(file)
    if session.json:
        session.emit({**found.info.to_json(), "digest": found.digest()})
    session.say(f"restored {found.name} as {found.id}; digest {found.digest()}")


def diff(context: typer.Context, a: Side, b: Other) -> None:
    """Show where two trials or two studies differ: parameters, code, data, environment."""
    from hpo_service.cli.render_repeats import diff_sheet

    session = session_of(context)
    found = session.client.diff(a, b)
    if session.json:
        session.emit(found.to_json())
    else:
        session.console.print(diff_sheet(found))
