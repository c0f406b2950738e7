"""Commands about studies: from submit and watch to pause, retry, change and delete."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpo_service.cli.base import Session, session_of
from hpo_service.cli.completion import study_names
from hpo_service.cli.ending import after_change, watch_to_end
from hpo_service.errors import InvalidInput

if TYPE_CHECKING:
    from hpo_service.client import Study

Named = Annotated[str, typer.Argument(metavar="STUDY", help="Id or name.", autocompletion=study_names)]
File = Annotated[Path, typer.Argument(metavar="FILE", help="The study definition, YAML or JSON.")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change a field: budget.trials=50")]
Reason = Annotated[str, typer.Option("--reason", help="Kept with the study.")]


def submit(
    context: typer.Context,
    file: File,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay and show progress.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="In place of the definition's name.")] = None,
    sets: Sets = None,
    code: Annotated[Path | None, typer.Option("--code", help="A folder of code that goes to the workers.")] = None,
) -> None:
    """Submit a study."""
    from hpo_service.client.definitions import naming_lines_of, prepare_definition, with_changes

    session = session_of(context)
    document = with_changes(prepare_definition(file, name=name), sets or ())
    if code is not None:
        document = _with_bundle(session, document, code)
    with naming_lines_of(file):
        study = session.client.create_study(document)
    if session.json and not watch:
        session.emit(study.info.to_json())
        return
    session.say(f"submitted {study.name} as {study.id}")
    if watch:
        watch_to_end(session, study)
        return
    session.say(f"watch it:  hpo watch {study.id}")


def _with_bundle(session: Session, document: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The definition with the folder's bundle named, which the server has then."""
    sent = session.client.upload_code(folder, project=str(document.get("project") or "default"))
    if not session.json:
        there = "sent" if sent.uploaded else "the server has it already"
        session.say(f"code: {len(sent.files)} files, {sent.size_bytes} bytes, bundle {sent.digest[:12]} ({there})")
    return {**document, "trainer": {**(document.get("trainer") or {}), "bundle": sent.digest}}


def validate(context: typer.Context, file: File, sets: Sets = None) -> None:
    """Check a definition; show what it would run and cost. Stores nothing."""
    from hpo_service.cli.render import validation_sheet
    from hpo_service.client.definitions import naming_lines_of, prepare_definition, with_changes

    session = session_of(context)
    document = with_changes(prepare_definition(file), sets or ())
    with naming_lines_of(file):
        found = session.client.validate(document)
    if session.json:
        session.emit(found.to_json())
    else:
        session.console.print(validation_sheet(found))


def studies(
    context: typer.Context,
    state: Annotated[str | None, typer.Option("--state", help="Only studies in this state.")] = None,
    project: Annotated[str | None, typer.Option("--project")] = None,
    tag: Annotated[str | None, typer.Option("--tag")] = None,
    search: Annotated[str | None, typer.Option("--search", help="Text in name, tags or notes.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, newest first.")] = 20,
) -> None:
    """List studies, newest first."""
    from hpo_service.cli.render import studies_table

    session = session_of(context)
    pages = session.client.studies(state=state, project=project, tag=tag, search=search, limit=limit)
    found = [study.info for study in pages]
    if session.json:
        session.emit([info.to_json() for info in found])
    elif found:
        session.console.print(studies_table(found))
    else:
        session.say("no studies; submit one with `hpo submit study.yaml`")


def show(context: typer.Context, study: Named) -> None:
    """Show one study: state, best, cost, rungs."""
    from hpo_service.cli.render import study_sheet

    session = session_of(context)
    found = session.study(study)
    if session.json:
        session.emit(found.info.to_json())
    else:
        session.console.print(study_sheet(found.info, found.rungs(), found.methods(), found.url))


def watch(context: typer.Context, study: Named) -> None:
    """Show a study's progress until it ends. Ctrl-C leaves it running."""
    session = session_of(context)
    watch_to_end(session, session.study(study))


def pause(context: typer.Context, study: Named, reason: Reason = "") -> None:
    """Pause a study: running trials save a checkpoint at their next report."""
    session = session_of(context)
    _steered(session, session.study(study).pause(reason), "go on with: hpo resume")


def resume(context: typer.Context, study: Named, reason: Reason = "") -> None:
    """Go on with a paused, stopped or failed study."""
    session = session_of(context)
    _steered(session, session.study(study).resume(reason), "watch it: hpo watch")


def stop(context: typer.Context, study: Named, reason: Reason = "") -> None:
    """End a study now; what is stored stays."""
    session = session_of(context)
    _steered(session, session.study(study).stop(reason), "go on with: hpo resume")


def _steered(session: Session, study: Study, hint: str) -> None:
    if session.json:
        session.emit(study.info.to_json())
    else:
        session.say(f"{study.name} is {study.state}; {hint} {study.id}")


def delete(
    context: typer.Context,
    study: Named,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a study with its trials and checkpoints."""
    session = session_of(context)
    found = session.study(study)
    if not yes and not session.json:
        typer.confirm(f"Delete {found.name} ({found.id}) with its {found.info.trials} trials?", abort=True)
    found.delete()
    session.say(f"deleted {found.name} ({found.id})")
    if session.json:
        session.emit({"deleted": found.id})


def retry(
    context: typer.Context,
    study: Named,
    failed: Annotated[bool, typer.Option("--failed", help="Every failed trial.")] = False,
    trials: Annotated[str, typer.Option("--trials", metavar="1,2", help="These trials.")] = "",
) -> None:
    """Try failed trials again, as new trials."""
    if failed == bool(trials):
        raise typer.BadParameter("give either --failed or --trials 1,2")
    session = session_of(context)
    found = session.study(study).retry(None if failed else _numbers(trials))
    _enqueued(session, found, "no failed trials to try again")


def _numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise typer.BadParameter(f"--trials takes numbers with commas between them, but got {text!r}")
    return [int(part) for part in parts]


def enqueue(
    context: typer.Context,
    study: Named,
    assignments: Annotated[list[str], typer.Argument(metavar="NAME=VALUE…", help="A configuration: lr=0.1 …")],
) -> None:
    """Add a configuration of your own; it is tried next."""
    from hpo_service.client.definitions import parse_assignment

    session = session_of(context)
    configuration = dict(parse_assignment(one) for one in assignments)
    if len(configuration) < len(assignments):
        raise InvalidInput("a configuration gives each parameter once", remedy="remove the repeated one")
    _enqueued(session, session.study(study).enqueue([configuration]), "nothing was enqueued")


def _enqueued(session: Session, numbers: list[int], nothing: str) -> None:
    if session.json:
        session.emit({"trials": numbers})
    elif numbers:
        session.say(f"enqueued as trial{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}")
    else:
        session.say(nothing)


def change(
    context: typer.Context,
    study: Named,
    changes: Annotated[list[str], typer.Argument(metavar="PATH=VALUE…", help="budget.trials=400 parallel=16 …")],
) -> None:
    """Change a living study: budget.trials=400 parallel=16. With a raised budget a finished one goes on."""
    from hpo_service.client.definitions import with_changes

    session = session_of(context)
    found = session.study(study)
    before, patch = found.info, with_changes({}, changes)
    changed = found.patch(**patch)
    _steered(session, changed, "see it: hpo show")
    if before.state == "finished" and not session.json:
        for line in after_change(changed, before.reason, patch):
            session.say(line)
