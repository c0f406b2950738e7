"""Where two trials or two studies differ: what was asked for, code, data and environment, subject by subject.

Code is compared as text: bundles file by file, as they lie in storage (read, never unpacked or run), or what lay on top
of the git commit.
"""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo_service import storage
from hpo_service.api.access import ANY_PROJECT, Principal
from hpo_service.api.diffs import Diffs
from hpo_service.api.schemas import Answer
from hpo_service.api.state import Shared, find_visible
from hpo_service.bundles.archive import CODE
from hpo_service.core import analysis, seeds
from hpo_service.core.definition import parse
from hpo_service.errors import FieldProblem, InvalidInput
from hpo_service.store import bundles as bundles_store
from hpo_service.store import reading, studies, texts
from hpo_service.store.rows import AttemptRow, StudyRow, TrialRow

MOST_DIFF_CHARACTERS = 200_000
MOST_FILE_BYTES = 1 << 20
MOST_DIGITS = 15
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
            for name in ("code", "data", "environment"):  # known of one alone, so that nothing can be told apart
                sections[name] = []
            notes.append(f"nothing is recorded of where {side.name} ran: no attempt of it has begun on a worker")
    same = not files and not any(found for name, found in sections.items() if name != "result")
    found = {name: differences for name, differences in sections.items() if differences}
    return Comparison(a=a.name, b=b.name, same=same, sections=found, files=files, notes=notes)


def side(shared: Shared, caller: Principal, place: str) -> Side:
    """What `STUDY` or `STUDY/17` names; STUDY is an id or a name. Raises NotFound, Ambiguous."""
    name, slash, number = place.rpartition("/")
    is_trial = bool(slash) and number.isdecimal() and len(number) <= MOST_DIGITS
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
        yield from _between_bundles(shared, a, b, notes)
        return
    git = [_git(s) for s in (a, b)]
    if git[0].get("commit") != git[1].get("commit"):
        notes.append(f"the commits differ: git diff {git[0].get('commit')} {git[1].get('commit')}")
        return
    digests = [str(g.get("diff_sha256") or "") for g in git]
    if digests[0] != digests[1]:
        stored = texts.read(shared.db, [d for d in digests if d])
        name, (one, other) = "changes on top of the commit", (stored.get(d, "") for d in digests)
        if one != other:
            yield FileDifference(name=name, diff=Diffs().of(name, one, other))


def _git(side: Side) -> Mapping[str, Any]:
    git = _part(side, "code").get("git")
    return git if isinstance(git, Mapping) else {}


def _between_bundles(shared: Shared, a: Side, b: Side, notes: list[str]) -> Iterator[FileDifference]:
    """Files are told apart by their SHA-256; only those that differ are read, one after another."""
    diffs = Diffs()
    with contextlib.ExitStack() as stack:
        first, second = (_Code(shared, one.study, stack, notes) for one in (a, b))
        for name in sorted({*first.files, *second.files}):
            if first.files.get(name) != second.files.get(name):
                yield FileDifference(name=name, diff=diffs.of(name, first.text(name), second.text(name)))


class _Code:
    """The files of a study's bundle. What is no text, or large, is told by its digest."""

    def __init__(self, shared: Shared, study: StudyRow, stack: contextlib.ExitStack, notes: list[str]) -> None:
        digest = str(study.definition["trainer"]["bundle"])
        row = bundles_store.find_bundle(shared.db, digest, study.project)
        self.files: Mapping[str, Sequence[str | int]] = {}
        try:
            path = shared.settings.resolved_storage / storage.bundle_path(digest)
            self._archive = stack.enter_context(zipfile.ZipFile(path))
            self.files = row.files if row is not None else {}
        except (OSError, zipfile.BadZipFile):
            notes.append(f"the bundle {digest} is not in the storage folder any more")

    def text(self, name: str) -> str:
        """Empty for a file that is not there."""
        if name not in self.files:
            return ""
        digest, size = self.files[name]
        if int(size) > MOST_FILE_BYTES:
            return f"({size} bytes, SHA-256 {digest})\n"
        try:
            return self._archive.read(f"{CODE}/{name}").decode()
        except UnicodeDecodeError:
            return f"({size} bytes, no text, SHA-256 {digest})\n"
        except (OSError, KeyError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error):
            return f"({size} bytes, damaged in the storage folder, SHA-256 {digest})\n"


def _bounded(files: Iterator[FileDifference], notes: list[str]) -> Iterator[FileDifference]:
    left = MOST_DIFF_CHARACTERS
    for file in files:
        if len(file.diff) > left:
            notes.append(f"{file.name} and what follows differ by more than is shown here")
            return
        left -= len(file.diff)
        yield file
