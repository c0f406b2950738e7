"""`hpo import`: definitions and histories of other tools."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpo_service.cli.base import Session, session_of
from hpo_service.cli.studies import Sets
from hpo_service.errors import InvalidInput

if TYPE_CHECKING:
    from hpo_service.foreign.history import History

HISTORIES = ("optuna", "ray-tune", "csv")
SHOWN = 20


def bring(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="FILE|optuna|ray-tune|csv", help="A sweep or experiment, or a tool.")],
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Of a tool: storage, folder or table.")] = "",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the definition there.")] = None,
    trainer: Annotated[str | None, typer.Option("--trainer", help="function=train:main, recipe=…, external …")] = None,
    metric: Annotated[str, typer.Option("--metric", help="The objective's metric; several: a,b.")] = "",
    direction: Annotated[str, typer.Option("--direction", help="minimize or maximize; several: a,b.")] = "",
    max_resource: Annotated[float | None, typer.Option("--max-resource", help="The most a trial is trained.")] = None,
    sets: Sets = None,
    study: Annotated[str | None, typer.Option("--study", help="The Optuna study's name.")] = None,
    objective: Annotated[str, typer.Option("--objective", help="The table's column(s) to optimise.")] = "",
    params: Annotated[str, typer.Option("--params", help="The table's columns of parameters: a,b,c.")] = "",
    name: Annotated[str | None, typer.Option("--name", help="The new study's name.")] = None,
    definition: Annotated[Path | None, typer.Option("--definition", help="The new study's own definition.")] = None,
    into: Annotated[str | None, typer.Option("--into", metavar="STUDY", help="Add the trials to this study.")] = None,
    outside: Annotated[str, typer.Option("--outside", help="Values outside the space: keep or refuse.")] = "keep",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be made.")] = False,
) -> None:
    """Bring in a W&B sweep or Katib experiment as a definition, or trials of Optuna, Ray Tune or a table as a study."""
    session = session_of(context)
    if what not in HISTORIES:
        if source:
            raise InvalidInput(
                f"a file stands alone, or after {', '.join(HISTORIES)}, but got {what!r} and {source!r}",
                remedy="for example: hpo import optuna sqlite:///old.db",
            )
        _definition(session, Path(what), output, trainer, metric, direction, max_resource, sets)
        return
    if not source:
        raise InvalidInput(f"hpo import {what} needs a source", remedy="a storage, a results folder or a table")
    history = _history(what, source, study, metric, direction, objective, params)
    if dry_run:
        _show(session, history, name)
        return
    _send(session, history, name=name, definition=definition, into=into, outside=outside)


def _definition(
    session: Session,
    file: Path,
    output: Path | None,
    trainer: str | None,
    metric: str,
    direction: str,
    max_resource: float | None,
    sets: list[str] | None,
) -> None:
    from hpo_service.client.definitions import with_changes
    from hpo_service.foreign.definitions import import_definition

    found = import_definition(
        file,
        trainer=trainer,
        metric=metric or None,
        direction=direction or None,
        max_resource=max_resource,
        changes=with_changes({}, sets or ()),
    )
    if output is not None:
        output.write_text(found.to_yaml(), encoding="utf-8")
    if session.json:
        session.emit({"source": found.source, "definition": found.document, "notes": list(found.notes)})
    elif output is None:
        sys.stdout.write(found.to_yaml())
    else:
        _notes(found.notes)
        session.say(f"wrote {output}, made from a {found.source}; submit it:  hpo submit {output}")


def _history(
    what: str, source: str, study: str | None, metric: str, direction: str, objective: str, params: str
) -> History:
    if what == "optuna":
        from hpo_service.foreign.optuna_history import read_optuna

        return read_optuna(source, study, metrics=_listed(metric))
    if what == "ray-tune":
        from hpo_service.foreign.ray_history import read_ray_tune

        if not metric:
            raise InvalidInput("Ray Tune's results do not say what was optimised", remedy="say it: --metric loss")
        return read_ray_tune(source, metric=metric, direction=direction or "minimize")
    from hpo_service.foreign.csv_history import read_csv

    if not objective:
        raise InvalidInput("a table does not say what is optimised", remedy="name the column: --objective val_loss")
    directions = _listed(direction) or ["minimize"]
    return read_csv(source, objective=_listed(objective), direction=directions, params=_listed(params))


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _show(session: Session, history: History, name: str | None) -> None:
    if session.json:
        document = history.definition(name=name)
        session.emit({"definition": document, "trials": len(history.trials), "notes": list(history.notes)})
        return
    _notes(history.notes)
    sys.stdout.write(history.to_yaml(name=name))
    session.say(f"# {_states(history)}")


def _states(history: History) -> str:
    counts = {state: sum(t.state == state for t in history.trials) for state in ("finished", "stopped", "failed")}
    return f"{len(history.trials)} trials: " + ", ".join(f"{count} {state}" for state, count in counts.items() if count)


def _send(
    session: Session, history: History, *, name: str | None, definition: Path | None, into: str | None, outside: str
) -> None:
    if into is not None and (definition is not None or name is not None):
        raise InvalidInput("--into adds to a study that is there", remedy="leave out --definition and --name")
    if into is not None:
        brought = session.study(into).import_history(history, outside=outside)
    else:
        brought = session.client.import_history(history, definition, name=name, outside=outside)
    if session.json:
        document: dict[str, Any] = {"study": brought.study.to_json(), "trials": list(brought.trials)}
        session.emit(document | {"outside": list(brought.outside), "notes": list(brought.notes)})
        return
    _notes([*brought.notes, *brought.outside[:SHOWN]])
    if brought.outside_count:
        session.say(f"{brought.outside_count} trials have parameters outside the space; they are kept as they were")
    made = brought.study
    session.say(f"{_states(history)} imported into {made.name} ({made.id}), which is {made.state}")
    session.say(f"look at it:  hpo show {made.id}    go on with it:  hpo resume {made.id}")


def _notes(notes: Any) -> None:
    """To standard error, so that what is written to standard output stays a document."""
    for note in notes:
        sys.stderr.write(f"note: {note}\n")
