"""A study as one file: a zip of its rows as lines of JSON, the environments that its attempts ran in, and its code.

`manifest.json` says what the others hold, and the digest that the study must have again where it is restored. Archives
come from anywhere, so nothing in one is believed: names are looked up and never used as paths, lines and sizes are
bounded, values are checked against their columns, code as any that is uploaded. Not here: rows (`store.archiving`).
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from sqlalchemy import Table

from hpo_service import storage
from hpo_service.api import planning
from hpo_service.api.access import Principal
from hpo_service.api.routes import bundles as bundle_routes
from hpo_service.api.state import Shared
from hpo_service.bundles.checking import check
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.errors import Conflict, FieldProblem, HpoError, InvalidInput, NotFound
from hpo_service.store import archiving, bundles, studies
from hpo_service.store.archiving import Digest
from hpo_service.store.deleting import delete_hidden

FORMAT = 1
MANIFEST, STUDY, ENVIRONMENTS, TEXTS = "manifest.json", "study.json", "environments.jsonl", "texts.jsonl"
MOST_LINE_BYTES = 64 << 20
MOST_BYTES = 64 << 30  # of all members together
_BROKEN = (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, UnicodeDecodeError, json.JSONDecodeError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Archived:
    """What an archive holds: the study's digest, and how many rows of each table."""

    digest: str
    rows: Mapping[str, int]


def write(shared: Shared, study_id: str, file: IO[bytes]) -> Archived:
    """Write the study's archive. Raises NotFound; Conflict while something of it is under way."""
    study = archiving.study_of(shared.db, study_id)
    found, rows = Digest(study), {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.writestr(STUDY, json.dumps(study))
        for table in archiving.TABLES:
            with archive.open(_member(table), "w", force_zip64=True) as lines:
                rows[table.name] = 0
                for row in archiving.rows_of(shared.db, study_id, table):
                    found.take(table, row)
                    lines.write(json.dumps(list(row)).encode() + b"\n")
                    rows[table.name] += 1
        with archive.open(ENVIRONMENTS, "w") as lines:
            for one in archiving.environments_of(shared.db, study_id):
                lines.write(json.dumps(list(one)).encode() + b"\n")
        with archive.open(TEXTS, "w") as lines:
            for one in archiving.texts_of(shared.db, study_id):
                lines.write(json.dumps(list(one)).encode() + b"\n")
        bundle = parse(json.loads(study["definition"])).trainer.bundle
        if bundle is not None:
            _add_code(shared, archive, bundle)
        if archiving.study_of(shared.db, study_id)["last_seq"] != study["last_seq"]:
            raise Conflict(f"study {study_id} moved while it was archived", remedy="archive it again when it rests")
        done = Archived(digest=found.hexdigest(), rows=rows)
        archive.writestr(MANIFEST, json.dumps(_manifest(study_id, done, bundle), indent=2))
    return done


def restore(shared: Shared, file: IO[bytes], caller: Principal) -> str:
    """Make the archived study anew, in the project that its definition names; nothing, where the very study is here
    already. Its id, the old one where that is free.

    Raises InvalidInput for what is no whole archive; Forbidden for code from a caller who may not submit any.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            return _restored(shared, _Reader(archive), caller)
    except _BROKEN as error:
        raise _refused("an archive is a zip file as `hpo archive` writes it", str(error)) from None


def _restored(shared: Shared, reader: _Reader, caller: Principal) -> str:
    manifest, study = reader.document(MANIFEST), reader.document(STUDY)
    if manifest.get("format") != FORMAT:
        raise _refused(f"this program reads archives of format {FORMAT}", repr(manifest.get("format")))
    definition = _definition(study)
    caller.require_project(definition.project)
    planning.require_permission(definition, caller)
    there = _already(shared, str(manifest.get("study", "")), str(manifest.get("digest", "")), caller)
    if there is not None:
        return there
    study_id = _free_id(shared, str(manifest.get("study", "")))
    _take_code(shared, reader, definition, caller)
    planning.require_code(shared.db, shared.settings, definition)
    archiving.begin(shared.db, study_id, study, project=definition.project)
    try:
        found = Digest(study)
        for table in archiving.TABLES:
            archiving.put(shared.db, study_id, table, _told(found, table, reader.lines(_member(table))))
        environments = [(str(digest), str(text)) for digest, text in reader.lines(ENVIRONMENTS)]
        texts = [(str(digest), str(text)) for digest, text in reader.lines(TEXTS)]
        archiving.put_environments(shared.db, environments, texts)
        if found.hexdigest() != manifest.get("digest"):
            raise _refused("an archive's rows have the digest that its manifest tells", str(manifest.get("digest")))
        with shared.decider.lock(study_id):
            archiving.reveal(shared.db, study_id)
    except BaseException:
        delete_hidden(shared.db, study_id)
        raise
    _require_foldable(shared, study_id)
    return study_id


def _require_foldable(shared: Shared, study_id: str) -> None:
    """A study whose log makes no sense would trouble the controller for ever."""
    try:
        with shared.decider.lock(study_id):
            shared.decider.fold(study_id)
    except Exception as error:
        studies.delete_study(shared.db, study_id)
        raise _refused("an archived log can be folded", f"{type(error).__name__}: {error}") from error


def _told(found: Digest, table: Table, rows: Iterator[list[Any]]) -> Iterator[list[Any]]:
    for row in rows:
        checked = archiving.checked(table, row)
        found.take(table, checked)
        yield checked


def _definition(study: Mapping[str, Any]) -> StudyDefinition:
    try:
        document = json.loads(study["definition"])
    except (KeyError, TypeError, ValueError):
        raise _refused("an archived study has a definition", None) from None
    return parse(document)


def _already(shared: Shared, study_id: str, digest: str, caller: Principal) -> str | None:
    """The very study, where it is here: restoring it again changes nothing."""
    try:
        row = studies.get_study(shared.db, study_id)
        same = caller.sees(row.project) and archiving.digest(shared.db, study_id) == digest
    except (NotFound, Conflict):
        return None
    return study_id if same else None


def _free_id(shared: Shared, wanted: str) -> str:
    """The archive's own id where it can be one and was never given here."""
    if not studies.is_id(wanted):
        return studies.new_id("s")
    return studies.new_id("s") if studies.was_given(shared.db, wanted) else wanted


def _add_code(shared: Shared, archive: zipfile.ZipFile, digest: str) -> None:
    path = shared.settings.resolved_storage / storage.bundle_path(digest)
    if not path.is_file():
        raise NotFound(
            f"the study's code, bundle {digest}, is not in the storage folder any more",
            remedy="upload it again: hpo submit --code uploads a folder",
        )
    archive.write(path, f"bundles/{digest}.zip", compress_type=zipfile.ZIP_STORED)


def _take_code(shared: Shared, reader: _Reader, definition: StudyDefinition, caller: Principal) -> None:
    digest = definition.trainer.bundle
    if digest is None:
        return
    data = reader.read(f"bundles/{digest}.zip", shared.settings.max_bundle_bytes)
    if hashlib.sha256(data).hexdigest() != digest:
        raise _refused("a bundle is named by the SHA-256 of its bytes", digest)
    manifest = check(io.BytesIO(data), limits=bundle_routes.limits(shared))
    bundles.put_bundle(
        shared.db,
        digest=digest,
        size_bytes=len(data),
        files={name: (one.sha256, one.size) for name, one in manifest.items()},
        project=definition.project,
        created_by=caller.name,
    )
    storage.store(shared.settings.resolved_storage, storage.bundle_path(digest), io.BytesIO(data))


class _Reader:
    """The members of an archive, each bounded, and all of them together."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._left = MOST_BYTES

    def read(self, name: str, most: int) -> bytes:
        """All of a member."""
        with self._open(name) as member:
            data = member.read(most + 1)
        if len(data) > most:
            raise _refused(f"{name} has at most {most} bytes", None)
        self._take(len(data))
        return data

    def document(self, name: str) -> dict[str, Any]:
        """A member that is one JSON object."""
        found = json.loads(self.read(name, MOST_LINE_BYTES))
        if not isinstance(found, dict):
            raise _refused(f"{name} is a JSON object", type(found).__name__)
        return found

    def lines(self, name: str) -> Iterator[list[Any]]:
        """A member's lines, each a JSON array."""
        with self._open(name) as member:
            while line := member.readline(MOST_LINE_BYTES + 1):
                if len(line) > MOST_LINE_BYTES:
                    raise _refused(f"a line of {name} has at most {MOST_LINE_BYTES} bytes", None)
                self._take(len(line))
                row = json.loads(line)
                if not isinstance(row, list):
                    raise _refused(f"a line of {name} is a JSON array", type(row).__name__)
                yield row

    def _open(self, name: str) -> IO[bytes]:
        try:
            return self._archive.open(name)
        except (KeyError, RuntimeError) as error:  # not there; encrypted
            raise _refused(f"an archive holds {name}", str(error)) from None

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _refused(f"an archive unpacks to at most {MOST_BYTES} bytes", None)


def _manifest(study_id: str, done: Archived, bundle: str | None) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "study": study_id,
        "digest": done.digest,
        "rows": dict(done.rows),
        "bundle": bundle,
        "left_out": ["checkpoints", "artifacts"],
    }


def _member(table: Table) -> str:
    return f"tables/{table.name}.jsonl"


def _refused(rule: str, value: str | None) -> HpoError:
    problem = FieldProblem(path="body", rule=rule, value=value, remedy="archive the study again with `hpo archive`")
    return InvalidInput.of(problem)
