"""The command that runs on the user's own machine to write a definition's space: `hpo discover`."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated

import typer

from hpo_service.cli.base import session_of


def discover(
    context: typer.Context,
    objective: Annotated[str, typer.Argument(metavar="MODULE:NAME", help="An Optuna objective, in this folder.")],
    trials: Annotated[int, typer.Option("--trials", min=1, help="Run it at most so often.")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which values are tried.")] = 0,
) -> None:
    """Run an Optuna objective up to its first report, and print the space that it asks for."""
    from hpo_service.client import discovery

    session = session_of(context)
    with contextlib.redirect_stdout(sys.stderr):  # what the objective prints is no part of the YAML
        found = discovery.discover(objective, trials=trials, seed=seed)
    if session.json:
        session.emit({**found.space.to_dict(), "runs": found.runs, "notes": list(found.notes)})
        return
    sys.stdout.write(found.yaml)
    for note in found.notes:
        sys.stderr.write(f"note: {note}\n")
