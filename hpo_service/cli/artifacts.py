"""Commands about what trials left behind: artifacts, and lines of logs that are searched for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hpo_service.cli.base import Session, session_of
from hpo_service.cli.places import Placed, trial_at

if TYPE_CHECKING:
    from hpo_service.client import Study
    from hpo_service.client.blocking import Artifact

SHOWN = 1000


def artifacts(
    context: typer.Context,
    place: Placed,
    save: Annotated[Path | None, typer.Option("--save", help="Save all of them in this folder.")] = None,
    fence: Annotated[int | None, typer.Option("--fence", help="Of the attempt with this fence only.")] = None,
) -> None:
    """List the files that a trial kept, and save them."""
    session = session_of(context)
    _, trial = trial_at(session, place, "artifacts")
    kept = [one for one in trial.artifacts() if fence is None or one.info.fence == fence]
    if session.json:
        session.emit([one.info.to_json() for one in kept])
    elif not kept:
        session.say(f"trial {trial.number} kept no files")
    else:
        _print(session, kept)
    if save is not None:
        save_all(session, kept, save)


def save_all(session: Session, kept: list[Artifact], folder: Path) -> None:
    """Save every artifact in the folder; of several with one name the later ones are numbered."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in kept:
        path, number = folder / one.file_name, 1
        while path.exists():
            number += 1
            path = folder / f"{Path(one.file_name).stem}-{number}{Path(one.file_name).suffix}"
        one.save(path)
        session.say(f"saved {path}")


def search(session: Session, study: Study, text: str, *, trial: int | None, fence: int | None) -> None:
    """Print the lines that hold `text`, with their places."""
    found = study.search_logs(text, trial=trial, fence=fence, limit=SHOWN)
    if session.json:
        session.emit([line.to_json() for line in found])
        return
    count = 0
    for line in found:
        count += 1
        session.say(f"{study.name}/{line.trial} attempt {line.fence}, line {line.line}: {line.text}")
    if count == 0:
        session.say(f"no line of a log holds {text!r}")
    elif count == SHOWN:
        session.say(f"the first {SHOWN} lines; search for more of the text, or in one trial")


def _print(session: Session, kept: list[Artifact]) -> None:
    from rich.text import Text  # loaded where something is shown

    from hpo_service.cli.render import table
    from hpo_service.client.text import byte_size

    rows = table("name", "size", "attempt", "kept at", "type", right=("size", "attempt"))
    for one in kept:
        at = one.info.at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if one.info.at else ""
        name = "".join(letter if letter.isprintable() else "\ufffd" for letter in one.name)
        rows.add_row(Text(name), byte_size(one.size_bytes), str(one.info.fence), at, Text(one.info.media_type))
    session.console.print(rows)
