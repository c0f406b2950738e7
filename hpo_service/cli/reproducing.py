"""Commands about one trial again: its record in a file, and training it again on a worker or here."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hpo_service.cli.base import Session, session_of
from hpo_service.cli.completion import study_names
from hpo_service.cli.places import Placed, trial_at
from hpo_service.errors import HpoError, InvalidInput

if TYPE_CHECKING:
    from hpo_service.client.reproductions import Reproduction

DIFFERENT = 1
SUFFIXES = (".json", ".zip")
Target = Annotated[
    str,
    typer.Argument(
        metavar="STUDY/TRIAL|FILE", help="my-study/17, or what hpo record wrote.", autocompletion=study_names
    ),
]


def record(
    context: typer.Context,
    place: Placed,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file; else trial-17.json here.")] = None,
    with_code: Annotated[bool, typer.Option("--with-code", help="A zip file with the study's bundle in it.")] = False,
) -> None:
    """Write all that is needed to train a trial again to one file."""
    session = session_of(context)
    _, trial = trial_at(session, place, "record")
    path = output or Path(f"trial-{trial.number}{'.zip' if with_code else '.json'}")
    if path.suffix != (".zip" if with_code else ".json"):
        rule = "a record with code is a .zip file, and one without a .json file"
        raise typer.BadParameter(f"{rule}, but got {str(path)!r}", param_hint="--output")
    if not path.parent.is_dir():
        rule = "the folder of the output must exist"
        raise typer.BadParameter(f"{rule}, but got {str(path.parent)!r}; make it first", param_hint="--output")
    told = trial.save_record(path, with_code=with_code)
    if session.json:
        session.emit({"study": trial.study_id, "trial": trial.number, "path": str(path), "digest": told["digest"]})
    session.say(f"wrote trial {trial.number} to {path}; train it again with: hpo reproduce {path} --here")


def reproduce(
    context: typer.Context,
    target: Target,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Say what happens meanwhile.")] = False,
    here: Annotated[bool, typer.Option("--here", help="Train in this process; a file needs no server.")] = False,
    make_env: Annotated[
        Path | None, typer.Option("--make-env", help="Only write requirements.txt and the changes to this folder.")
    ] = None,
    report: Annotated[Path | None, typer.Option("--report", help="Write the whole comparison to this file.")] = None,
) -> None:
    """Train a trial again from its record and compare every report bit for bit. Exits with 1 where they differ."""
    session = session_of(context)
    if make_env is not None:
        _make_env(session, _record_of(session, target), make_env)
        return
    if here:
        document = _train_here(session, target)
        failed = ""
    else:
        if _is_file(target):
            raise typer.BadParameter(f"a file is trained again on this machine: hpo reproduce {target} --here")
        found = _on_a_worker(session, target, watch=watch)
        document, failed = dict(found.document), found.reason
    if report is not None:
        report.write_text(json.dumps(document, indent=1), encoding="utf-8")
    _tell(session, document, failed)
    if not document.get("equal"):
        raise typer.Exit(DIFFERENT)


def _is_file(target: str) -> bool:
    return target.lower().endswith(SUFFIXES)


def _on_a_worker(session: Session, place: str, *, watch: bool) -> Reproduction:
    _, trial = trial_at(session, place, "reproduce")
    seen: list[tuple[str, int]] = []

    def observe(found: Reproduction) -> None:
        state = (found.state, found.losses)
        if watch and not found.ended and state not in seen[-1:]:
            seen.append(state)
            lost = f" ({found.losses} workers were lost)" if found.losses else ""
            session.say(f"{found.state}: trial {found.trial} of {found.study_id}, asked by {found.asked_by}{lost}")

    found = trial.reproduce(observe=observe)
    if session.json:
        session.emit(found.to_json())
    elif found.document:
        told = found.document
        segments = told.get("segments")
        what = f"{segments} segment{'s' if segments != 1 else ''} on {told.get('node')} ({told.get('device')})"
        session.say(f"trained again in {what} in {found.seconds:.1f} s for ${found.cost_dollars:.4f}")
    return found


def _train_here(session: Session, target: str) -> dict[str, Any]:
    from hpo_service.cli import local_training  # with workers, and so with whatever the trainer needs

    document = local_training.from_file(Path(target)) if _is_file(target) else _fetched_and_trained(session, target)
    if session.json:
        session.emit(document)
    return document


def _fetched_and_trained(session: Session, place: str) -> dict[str, Any]:
    """Train a trial of the server's here, with its bundle of code where it has one."""
    from hpo_service.cli import local_training

    _, trial = trial_at(session, place, "reproduce")
    told = trial.record()
    if not told["trainer"].get("bundle"):
        return local_training.train(told)
    with tempfile.TemporaryDirectory(prefix="hpo-record-") as folder:
        path = Path(folder) / "trial.zip"
        trial.save_record(path, with_code=True)
        return local_training.from_file(path)


def _record_of(session: Session, target: str) -> dict[str, Any]:
    if not _is_file(target):
        _, trial = trial_at(session, target, "reproduce")
        return trial.record()
    from hpo_service.cli.local_training import read_record

    return read_record(Path(target))


def _make_env(session: Session, told: dict[str, Any], folder: Path) -> None:
    from hpo_service.cli.pinning import changes, requirements, software

    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "requirements.txt").write_text(requirements(told), encoding="utf-8")
        diff = changes(told)
        if diff:
            (folder / "changes.diff").write_text(diff, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"--make-env names a folder that can be written, but {error}") from None
    facts = software(told)
    if session.json:
        session.emit({**facts, "folder": str(folder), "changes": bool(diff)})
    for name, value in facts.items():
        session.say(f"{name}: {value}")
    session.say(f"wrote {folder / 'requirements.txt'}" + (f" and {folder / 'changes.diff'}" if diff else ""))


def _tell(session: Session, document: dict[str, Any], failed: str) -> None:
    if failed:
        raise HpoError(f"it could not be trained again: {failed}", remedy="correct that, and ask once more")
    if not session.json:
        from hpo_service.cli.render_reproduction import answer_sheet

        session.console.print(answer_sheet(document))
