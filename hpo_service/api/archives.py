"""A study as one file: a zip of its rows as lines of JSON, the environments that its attempts ran in, and its code.

`manifest.json` says what the others hold, and the digest that the study must have again where it is restored. Archives
come from anywhere, so nothing in one is believed: names are looked up and never used as paths, lines and sizes are
bounded (`unpacking`), values are checked against their columns, the study and its log against each other (a study comes
at rest, and runs the code that was looked at), code as any that is uploaded. Not here: rows (`store.archiving`).
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

from sqlalchemy import Table

from hpo_service import storage
from hpo_service.api import planning
from hpo_service.api.access import Principal
from hpo_service.api.routes import bundles as bundle_routes
from hpo_service.api.state import Shared
from hpo_service.api.unpacking import Unpacked, refused, unpacked
from hpo_service.bundles.checking import check
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.errors import Conflict, NotFound
from hpo_service.store import archiving, bundles, studies
from hpo_service.store.archive_checks import Log, checked, checked_study, columns_of
from hpo_service.store.archiving import Digest
from hpo_service.store.deleting import delete_hidden
from hpo_service.store.tables import events

FORMAT = 1
MANIFEST, STUDY, ENVIRONMENTS, TEXTS = "manifest.json", "study.json", "environments.jsonl", "texts.jsonl"
PAIRS = 100
"""Environments and texts that are kept in one transaction; each has up to some megabytes."""


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
    with unpacked(file) as reader:
        return _restored(shared, reader, caller)


def _restored(shared: Shared, reader: Unpacked, caller: Principal) -> str:
    manifest, told = reader.document(MANIFEST), reader.document(STUDY)
    if manifest.get("format") != FORMAT:
        raise refused(f"this program reads archives of format {FORMAT}", repr(manifest.get("format")))
    definition = _definition(told)
    caller.require_project(definition.project)
    planning.require_permission(definition, caller)
    study = checked_study(told, definition)
    _require_confirms_its_own(shared, definition)
    there = _already(shared, str(manifest.get("study", "")), str(manifest.get("digest", "")), caller)
    if there is not None:
        return there
    study_id = _free_id(shared, str(manifest.get("study", "")))
    _take_code(shared, reader, definition, caller)
    planning.require_code(shared.db, shared.settings, definition)
    archiving.begin(shared.db, study_id, study, project=definition.project)
    try:
        found, log = Digest(study), Log()
        for table in archiving.TABLES:
            archiving.put(shared.db, study_id, table, _told(found, log, table, reader.lines(_member(table))))
        log.require_of(study)
        _put_environments(shared, reader)
        if found.hexdigest() != manifest.get("digest"):
            raise refused("an archive's rows have the digest that its manifest tells", str(manifest.get("digest")))
        with shared.decider.lock(study_id):
            archiving.reveal(shared.db, study_id)
    except BaseException:
        delete_hidden(shared.db, study_id)
        raise
    _require_foldable(shared, study_id)
    return study_id


def _put_environments(shared: Shared, reader: Unpacked) -> None:
    """A few at a time: how many there are, nobody has checked."""
    environments, texts = reader.pairs(ENVIRONMENTS), reader.pairs(TEXTS)
    while some := list(islice(environments, PAIRS)):
        archiving.put_environments(shared.db, some)
    while some := list(islice(texts, PAIRS)):
        archiving.put_environments(shared.db, [], some)


def _require_confirms_its_own(shared: Shared, definition: StudyDefinition) -> None:
    """A confirmation shows what its search saw, and the search lists it."""
    if definition.confirms is None:
        return
    try:
        search = studies.get_study(shared.db, definition.confirms.study)
    except NotFound:
        return
    if search.project != definition.project:
        raise refused("a confirmation is in the project of the study that it confirms", definition.confirms.study)


def _require_foldable(shared: Shared, study_id: str) -> None:
    """A study whose log makes no sense would trouble the controller for ever."""
    try:
        with shared.decider.lock(study_id):
            shared.decider.fold(study_id)
    except Exception as error:
        studies.delete_study(shared.db, study_id)
        raise refused("an archived log can be folded", f"{type(error).__name__}: {error}") from error


def _told(found: Digest, log: Log, table: Table, rows: Iterator[list[Any]]) -> Iterator[list[Any]]:
    for row in rows:
        values = checked(table, row)
        found.take(table, values)
        if table is events:
            log.take(dict(zip(columns_of(table), values, strict=True)))
        yield values


def _definition(study: Mapping[str, Any]) -> StudyDefinition:
    try:
        document = json.loads(study["definition"])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise refused("an archived study has a definition", None) from None
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


def _take_code(shared: Shared, reader: Unpacked, definition: StudyDefinition, caller: Principal) -> None:
    digest = definition.trainer.bundle
    if digest is None:
        return
    data = reader.read(f"bundles/{digest}.zip", shared.settings.max_bundle_bytes)
    if hashlib.sha256(data).hexdigest() != digest:
        raise refused("a bundle is named by the SHA-256 of its bytes", digest)
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


def _manifest(study_id: str, done: Archived, bundle: str | None) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "study": study_id,
        "digest": done.digest,
        "rows": dict(done.rows),
        "bundle": bundle,
        "left_out": ["checkpoints", "artifacts", "predictions", "reproductions"],
    }


def _member(table: Table) -> str:
    return f"tables/{table.name}.jsonl"
