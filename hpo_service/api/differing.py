"""Where two trials or two studies differ: what was asked for, code, data and environment, subject by subject.

Code is compared as text: bundles file by file, as they lie in storage (read, never unpacked or run), or what lay on top
of the git commit.
"""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo_service import storage
from hpo_service.api.access import ANY_PROJECT, Principal
from hpo_service.api.schemas import Answer
from hpo_service.api.state import Shared, find_visible
from hpo_service.bundles.archive import CODE
from hpo_service.core import analysis, seeds
from hpo_service.core.definition import parse
from hpo_service.errors import FieldProblem, InvalidInput
from hpo_service.store import reading, studies, texts
from hpo_service.store.rows import AttemptRow, StudyRow, TrialRow

MOST_DIFF_CHARACTERS = 200_000
MOST_FILE_BYTES = 1 << 20
_LABELS = frozenset({"name", "notes", "tags", "project"})
_APART = ("code", "data", "digest", "run")


class Difference(Answer):
    """A place at which the two differ; null where one has nothing there."""

    path: str
    values: tuple[Any, Any]


class FileDifference(Answer):
    """A file of code that differs, as a unified diff."""

    name: str
    diff: str


class Comparison(Answer):
    """Where two things differ, by subject; `notes` say what could not be compared."""

    a: str
    b: str
    same: bool
    sections: dict[str, list[Difference]]
    files: list[FileDifference]
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two. `environment` is of the newest attempt that began, of the trial or of the study's best one."""

    name: str
    study: StudyRow
    trial: TrialRow | None
    attempt: AttemptRow | None
    environment: Mapping[str, Any] = field(default_factory=dict)


def compare(shared: Shared, a: Side, b: Side) -> Comparison:
    """Both must be trials, or both studies. Raises InvalidInput."""
    if (a.trial is None) != (b.trial is None):
        rule = "a trial is compared with a trial, and a study with a study"
        raise InvalidInput.of(FieldProblem(path="b", rule=rule, value=b.name, remedy="name two of a kind: A/17 B/3"))
    pairs = {
        "definition": _definitions(a, b),
        "configuration": (_params(a), _params(b)),
        "training": (_training(a), _training(b)),
        "result": (_result(a), _result(b)),
        "code": (_part(a, "code"), _part(b, "code")),
        "data": (_part(a, "data"), _part(b, "data")),
        "environment": tuple({k: v for k, v in s.environment.items() if k not in _APART} for s in (a, b)),
    }
    sections = {
        name: [Difference(path=d.path, values=(d.values[0], d.values[1])) for d in analysis.differences(both)]
        for name, both in pairs.items()
    }
    notes: list[str] = []
    files = list(_bounded(_code(shared, a, b, notes), notes))
    for side in (a, b):
        if not side.environment:
            notes.append(f"nothing is recorded of where {side.name} ran: no attempt of it has begun on a worker")
    same = not files and not any(found for name, found in sections.items() if name != "result")
    found = {name: differences for name, differences in sections.items() if differences}
    return Comparison(a=a.name, b=b.name, same=same, sections=found, files=files, notes=notes)


def side(shared: Shared, caller: Principal, place: str) -> Side:
    """What `STUDY` or `STUDY/17` names; STUDY is an id or a name. Raises NotFound, Ambiguous."""
    name, slash, number = place.rpartition("/")
    is_trial = bool(slash) and number.isdecimal()
    study = _study(shared, caller, name if is_trial else place)
    trial = reading.trial(shared.db, study.id, int(number)) if is_trial else None
    chosen = trial.number if trial is not None else study.best_trial
    attempt = None if chosen is None else _attempt(shared, study.id, chosen)
    digest = attempt.environment_digest if attempt is not None else None
    found = reading.environment(shared.db, digest) if digest else {}
    return Side(name=place, study=study, trial=trial, attempt=attempt, environment=found)


def _study(shared: Shared, caller: Principal, name: str) -> StudyRow:
    project = None if caller.project == ANY_PROJECT else caller.project
    if studies.is_id(name):
        return find_visible(shared, caller, name)
    return studies.find_study(shared.db, name, project)


def _attempt(shared: Shared, study_id: str, number: int) -> AttemptRow | None:
    begun = [a for a in reading.attempts(shared.db, study_id, number) if a.environment_digest]
    return max(begun, key=lambda a: a.fence, default=None)


def _definitions(a: Side, b: Side) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    first, second = ({k: v for k, v in s.study.definition.items() if k not in _LABELS} for s in (a, b))
    return first, second


def _params(side: Side) -> Mapping[str, Any]:
    return {} if side.trial is None else side.trial.params


def _training(side: Side) -> Mapping[str, Any]:
    if side.trial is None:
        return {}
    attempt, trial = side.attempt, side.trial
    return {
        "seed": seeds.trial_seed(parse(side.study.definition).seed, trial.number),
        "resource": trial.resource,
        "method": attempt.method if attempt else None,
        "width": attempt.width if attempt else None,
        "device": attempt.device if attempt else None,
        "run": _part(side, "run"),
    }


def _result(side: Side) -> Mapping[str, Any]:
    if side.trial is None:
        return {"best_value": side.study.best_value, "best_resource": side.study.best_resource}
    return {"state": side.trial.state.value, "value": side.trial.value, **dict(side.trial.values)}


def _part(side: Side, name: str) -> Mapping[str, Any]:
    part = side.environment.get(name)
    return part if isinstance(part, Mapping) else {}


def _code(shared: Shared, a: Side, b: Side, notes: list[str]) -> Iterator[FileDifference]:
    bundles = [s.study.definition.get("trainer", {}).get("bundle") for s in (a, b)]
    if all(bundles) and bundles[0] != bundles[1]:
        yield from _between(_files(shared, bundles[0], notes), _files(shared, bundles[1], notes))
        return
    git = [_part(s, "code").get("git") or {} for s in (a, b)]
    if git[0].get("commit") != git[1].get("commit"):
        notes.append(f"the commits differ: git diff {git[0].get('commit')} {git[1].get('commit')}")
        return
    digests = [g.get("diff_sha256") for g in git]
    if digests[0] != digests[1]:
        stored = texts.read(shared.db, [d for d in digests if d])
        first, second = (stored.get(d or "", "") for d in digests)
        yield from _between({"changes on top of the commit": first}, {"changes on top of the commit": second})


def _files(shared: Shared, digest: str, notes: list[str]) -> dict[str, str]:
    """The text files of a bundle; what is no text, or large, is told by its digest."""
    path = shared.settings.resolved_storage / storage.bundle_path(digest)
    found: dict[str, str] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if entry.is_dir():
                    continue
                name = entry.filename.removeprefix(f"{CODE}/")
                if entry.file_size > MOST_FILE_BYTES:
                    found[name] = f"({entry.file_size} bytes, CRC {entry.CRC:08x})\n"
                    continue
                data = archive.read(entry)
                try:
                    found[name] = data.decode()
                except UnicodeDecodeError:
                    found[name] = f"({len(data)} bytes, no text, CRC {entry.CRC:08x})\n"
    except (OSError, zipfile.BadZipFile):
        notes.append(f"the bundle {digest} is not in the storage folder any more")
    return found


def _between(first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[FileDifference]:
    for name in sorted({*first, *second}):
        one, other = first.get(name, ""), second.get(name, "")
        if one != other:
            lines = difflib.unified_diff(
                one.splitlines(), other.splitlines(), f"a/{name}", f"b/{name}", lineterm="", n=3
            )
            yield FileDifference(name=name, diff="\n".join(lines))


def _bounded(files: Iterator[FileDifference], notes: list[str]) -> Iterator[FileDifference]:
    left = MOST_DIFF_CHARACTERS
    for file in files:
        if len(file.diff) > left:
            notes.append(f"{file.name} and what follows differ by more than is shown here")
            return
        left -= len(file.diff)
        yield file
