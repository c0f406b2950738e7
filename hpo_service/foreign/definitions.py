"""Other tools' definitions as ours: `import_definition(path)`. The kind of file is found out.

Here: telling the kinds apart, the trainer, the checks by our own rules, and the YAML that comes out. Not here: the
vocabulary of each tool (`wandb_sweeps`, `katib`). A foreign file's programs, commands and images are never run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo_service.core.definition import TRAINER_KINDS, StudyDefinition, parse
from hpo_service.documents import MAX_TEXT_BYTES, load_yaml
from hpo_service.errors import FieldProblem, InvalidInput
from hpo_service.foreign import katib, wandb_sweeps
from hpo_service.foreign.findings import Findings
from hpo_service.writing import dump_yaml

_ORDER = ("name", "objective", "space", "forbid", "algorithm", "trainer", "budget", "parallel", "seed", "tags", "notes")


@dataclass(frozen=True, kw_only=True)
class ImportedDefinition:
    """A definition of ours made from a foreign one. `notes`: what was not carried, or in another way."""

    source: str  # "W&B sweep" or "Katib experiment"
    document: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def definition(self) -> StudyDefinition:
        """The document, checked by our own rules."""
        return parse(self.document)

    def to_yaml(self) -> str:
        """A file to submit; the notes are its first comments."""
        lines = [f"Made from a {self.source}.", *(f"Note: {note}" for note in self.notes)]
        return "".join(f"# {' '.join(line.split())}\n" for line in lines) + dump_yaml(self.document)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What the user adds to a foreign definition, which does not say it here or cannot."""

    trainer: Mapping[str, Any] | None = None
    metric: str | None = None
    direction: str | None = None
    max_resource: float | None = None


def import_definition(
    source: str | Path | Mapping[str, Any],
    *,
    trainer: str | Mapping[str, Any] | None = None,
    metric: str | None = None,
    direction: str | None = None,
    max_resource: float | None = None,
    changes: Mapping[str, Any] | None = None,
) -> ImportedDefinition:
    """A W&B sweep or a Katib experiment, a file or a mapping, as a definition of ours.

    `trainer`: `function=train:main`, `recipe=…`, `ray_tune=…`, `optuna=…` or `external` (the default); what the file
    says about programs is only told. `metric` and `direction` where the file names none, `max_resource` where it stops
    trials early and does not say how far they go at most, `changes` are further fields of ours (`{"budget": {…}}`).
    Raises InvalidInput naming everything that cannot be carried, with the reason and a remedy.
    """
    document = source if isinstance(source, Mapping) else _read(Path(source))
    kind = kind_of(document)
    findings = Findings()
    chosen = Chosen(trainer=_trainer(trainer), metric=metric, direction=direction, max_resource=max_resource)
    convert = katib.convert if kind == katib.NAME else wandb_sweeps.convert
    found = convert(
        document, findings, metric=chosen.metric, direction=chosen.direction, max_resource=chosen.max_resource
    )
    findings.check()
    fixed = found.pop("trainer_params", {})
    if chosen.trainer is None:
        findings.note("trainer", "nobody trains yet: external workers ask for trials; --trainer names your own code")
    found["trainer"] = {**(chosen.trainer or {"external": True}), **({"params": fixed} if fixed else {})}
    for name, value in (changes or {}).items():
        old = found.get(name)
        found[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, Mapping) else value
    ordered = {name: found[name] for name in (*_ORDER, *found) if found.get(name) not in (None, {}, [], "")}
    imported = ImportedDefinition(source=kind, document=ordered, notes=tuple(findings.notes))
    _ = imported.definition
    return imported


def kind_of(document: Any) -> str:
    """What wrote it; raises InvalidInput for anything else, and for a definition of ours."""
    if isinstance(document, Mapping):
        if katib.is_experiment(document):
            return katib.NAME
        if wandb_sweeps.is_sweep(document):
            return wandb_sweeps.NAME
        if "space" in document and "algorithm" in document:
            raise InvalidInput("this is a study definition already", remedy="submit it with `hpo submit FILE`")
    raise InvalidInput(
        "a foreign definition is a W&B sweep (method, parameters) or a Katib Experiment (kind: Experiment), but this "
        f"is neither: it has {_keys(document)}",
        remedy="for trials of another tool use `hpo import optuna`, `ray-tune` or `csv`",
    )


def _keys(document: Any) -> str:
    if not isinstance(document, Mapping):
        return f"no keys, but is a {type(document).__name__}"
    return ", ".join(map(str, list(document)[:8])) or "no keys"


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise InvalidInput(
            f"the file must be readable, but {str(path)[:200]!r} is not ({error.strerror})", remedy="check the path"
        ) from None
    try:
        return load_yaml(text)  # JSON is YAML
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error.message}", remedy=error.remedy, problems=error.problems) from None


def _trainer(given: str | Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if given is None or isinstance(given, Mapping):
        return given
    kind, equals, name = given.partition("=")
    if given == "external":
        return {"external": True}
    if not equals or not name or kind not in TRAINER_KINDS or kind == "external":
        rule = f"a trainer is external or one of {_named(TRAINER_KINDS)}"
        raise InvalidInput.of(FieldProblem(path="trainer", rule=rule, value=given, remedy="write function=train:main"))
    return {kind: name}


def _named(kinds: Sequence[str]) -> str:
    return ", ".join(f"{kind}=NAME" for kind in kinds if kind != "external")
