"""How a trial is named on the command line: STUDY/TRIAL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from hpo_service.cli.base import Session
from hpo_service.cli.completion import study_names

if TYPE_CHECKING:
    from hpo_service.client import Study, Trial

Placed = Annotated[str, typer.Argument(metavar="STUDY/TRIAL", help="Such as my-study/17.", autocompletion=study_names)]


def trial_at(session: Session, place: str, command: str) -> tuple[Study, Trial]:
    """The study and the trial that STUDY/TRIAL names."""
    name, slash, number = place.rpartition("/")
    if not slash or not number.isdecimal():
        raise typer.BadParameter(f"{command} takes STUDY/TRIAL such as my-study/17, but got {place!r}")
    study = session.study(name)
    return study, study.trial(int(number))
