"""The command `send`: a study copied into another tool, once or following. What is copied how stands in
`hpo_service.integrations`, which is loaded when it runs."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from hpo_service.cli.base import Session, session_of
from hpo_service.cli.studies import Named

if TYPE_CHECKING:
    from collections.abc import Callable

    from hpo_service.client import Study
    from hpo_service.integrations.sending import Sent

NAMED = "only optuna and mlflow take a name"


class Tool(StrEnum):
    """Where a study can be sent."""

    OPTUNA = "optuna"
    MLFLOW = "mlflow"
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"


def send(
    context: typer.Context,
    study: Named,
    tool: Annotated[Tool, typer.Argument(help="The tool that gets it.")],
    place: Annotated[
        str,
        typer.Argument(
            metavar="WHERE",
            help="optuna: sqlite:///out.db or out.log; mlflow: http://…, sqlite:///mlflow.db or a folder; "
            "tensorboard: a log folder; wandb: PROJECT or ENTITY/PROJECT.",
        ),
    ],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the study has ended.")] = False,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the Optuna study, or of the MLflow experiment; else the study's.")
    ] = None,
) -> None:
    """Copy a study into Optuna, MLflow, TensorBoard or W&B; again, only what is new."""
    if name is not None and tool in (Tool.TENSORBOARD, Tool.WANDB):
        raise typer.BadParameter(f"{NAMED}, but got {tool.value}", param_hint="--name")
    session = session_of(context)
    found = session.study(study)
    sent = _send(found, tool, place, name=name, follow=follow, progress=_progress(session))
    if session.json:
        session.emit({"place": sent.place, "seq": sent.seq, "trials": sent.trials, "reports": sent.points,
                      "notes": list(sent.notes)})  # fmt: skip
        return
    for note in sent.notes:
        session.say(f"note: {note}")
    what = f"{sent.trials:,} trials and {sent.points:,} reports" if sent.trials else "nothing new"
    session.say(f"sent {what} of {found.name} to {sent.place}")


def _progress(session: Session) -> Callable[[Sent], None] | None:
    if session.json:
        return None
    return lambda sent: session.say(f"up to event {sent.seq:,}: {sent.trials:,} trials, {sent.points:,} reports")


def _send(
    study: Study, tool: Tool, place: str, *, name: str | None, follow: bool, progress: Callable[[Sent], None] | None
) -> Sent:
    if tool is Tool.OPTUNA:
        from hpo_service.integrations import optuna

        return optuna.export(study, place, name=name, follow=follow, progress=progress)
    if tool is Tool.MLFLOW:
        from hpo_service.integrations import mlflow

        return mlflow.export(study, place, experiment=name, follow=follow, progress=progress)
    if tool is Tool.TENSORBOARD:
        from hpo_service.integrations import tensorboard

        return tensorboard.export(study, place, follow=follow, progress=progress)
    from hpo_service.integrations import wandb

    entity, _, project = place.rpartition("/")
    return wandb.export(study, project, entity=entity or None, follow=follow, progress=progress)
