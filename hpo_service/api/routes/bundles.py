"""`/bundles`: code on its way to the workers. It is checked and stored here, and never imported or unpacked."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from hpo_service import storage
from hpo_service.api.access import ANY_PROJECT, Principal, Role
from hpo_service.api.routing import role, router
from hpo_service.api.schemas import Answer
from hpo_service.api.state import PrincipalDep, Shared, SharedDep
from hpo_service.api.uploads import received
from hpo_service.bundles.archive import Limits
from hpo_service.bundles.checking import check
from hpo_service.errors import FieldProblem, Forbidden, InvalidInput, NotFound
from hpo_service.store import bundles
from hpo_service.store.bundles import BundleRow

routes: APIRouter = router(prefix="/bundles", tag="bundles")

TYPES = frozenset({"application/octet-stream", "application/zip"})
Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the archive.")]
Project = Annotated[str, Query(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}$", description="For studies of this one.")]


class BundleFile(Answer):
    """A file of a bundle."""

    name: str
    sha256: str
    size_bytes: int


class Bundle(Answer):
    """An archive of code, named by the SHA-256 of its bytes."""

    digest: str
    size_bytes: int
    project: str
    created_by: str
    created_at: datetime
    files: list[BundleFile]


def limits(shared: Shared) -> Limits:
    """How large a bundle may be here: it unpacks to at most four times as much as the archive may have."""
    most = shared.settings.max_bundle_bytes
    return Limits(archive_bytes=most, unpacked_bytes=4 * most)


ARCHIVE = {"schema": {"type": "string", "format": "binary"}}
BODY = {"requestBody": {"required": True, "content": dict.fromkeys(sorted(TYPES), ARCHIVE)}}


@routes.post("", status_code=201, openapi_extra={**role(Role.EDITOR, natural=True), **BODY})
async def upload_bundle(
    request: Request, response: Response, shared: SharedDep, caller: PrincipalDep, project: Project = "default"
) -> Bundle:
    """Upload an archive of code: 201, or 200 where the project has it already. Refused with the reason where it could
    do harm. Needs the permission to submit code."""
    _require_type(request.headers.get("content-type", ""))
    _require_code(caller)
    caller.require_project(project)
    digest, most = hashlib.sha256(), shared.settings.max_bundle_bytes
    remedy = "leave out what training does not import (.gitignore); HPO_MAX_BUNDLE_BYTES sets the limit"
    async with received(request, most_bytes=most, remedy=remedy, into=digest.update) as file:
        return await run_in_threadpool(_keep, shared, caller, project, digest.hexdigest(), file, response)


def _keep(shared: Shared, caller: Principal, project: str, digest: str, file: Any, response: Response) -> Bundle:
    """Check, know and store it, in this order: what is known has been checked, and a file without a row harms nobody.
    It is written even where it is there: one that was removed or damaged is whole again."""
    manifest = check(file, limits=limits(shared))
    if bundles.find_bundle(shared.db, digest, project) is not None and _stored(shared, digest):
        response.status_code = 200
    row = bundles.put_bundle(
        shared.db,
        digest=digest,
        size_bytes=file.seek(0, 2),
        files={name: (one.sha256, one.size) for name, one in manifest.items()},
        project=project,
        created_by=caller.name,
    )
    storage.store(shared.settings.resolved_storage, storage.bundle_path(digest), file)
    return answer(row)


@routes.get("/{digest}", openapi_extra=role(Role.VIEWER))
def get_bundle(digest: Digest, shared: SharedDep, caller: PrincipalDep, project: Project | None = None) -> Bundle:
    """What is in a bundle, and who brought it."""
    return answer(visible(shared, caller, digest, project))


@routes.head("/{digest}", openapi_extra=role(Role.VIEWER), response_class=Response)
def has_bundle(digest: Digest, shared: SharedDep, caller: PrincipalDep, project: Project | None = None) -> Response:
    """Whether a bundle is there, so that it need not be sent again: 200 or 404."""
    visible(shared, caller, digest, project)
    return Response()


@routes.get("/{digest}/archive", openapi_extra=role(Role.VIEWER), response_class=FileResponse)
def get_archive(digest: Digest, shared: SharedDep, caller: PrincipalDep) -> Response:
    """The archive itself, a zip file; its digest is its ETag."""
    visible(shared, caller, digest)
    path = storage.confined(shared.settings.resolved_storage, storage.bundle_path(digest))
    headers = {"etag": f'"{digest}"'}
    return FileResponse(path, media_type="application/zip", filename=f"code-{digest[:12]}.zip", headers=headers)


def visible(shared: Shared, caller: Principal, digest: str, project: str | None = None) -> BundleRow:
    """The bundle, if a project that the caller sees has it and its archive is there. Raises NotFound."""
    own = None if caller.project == ANY_PROJECT else caller.project
    wanted = project if project is not None and caller.sees(project) else own
    row = bundles.find_bundle(shared.db, digest, wanted)
    if row is None or (project is not None and row.project != project) or not _stored(shared, digest):
        raise NotFound(f"there is no bundle {digest}", remedy="upload it: hpo submit --code, or client.upload_code")
    return row


def answer(row: BundleRow) -> Bundle:
    """The wire form of a bundle."""
    return Bundle(
        digest=row.digest,
        size_bytes=row.size_bytes,
        project=row.project,
        created_by=row.created_by,
        created_at=row.created_at,
        files=[
            BundleFile(name=name, sha256=str(sha256), size_bytes=int(size))
            for name, (sha256, size) in row.files.items()
        ],
    )


def _stored(shared: Shared, digest: str) -> bool:
    return (shared.settings.resolved_storage / storage.bundle_path(digest)).is_file()


def _require_code(caller: Principal) -> None:
    if not caller.may_submit_code:
        raise Forbidden(
            f"a bundle is code that runs on the workers, which the token {caller.name!r} may not submit",
            remedy="use a token made with hpo token create --code",
        )


def _require_type(content_type: str) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in TYPES:
        rule = "a bundle is sent as application/octet-stream or application/zip"
        raise InvalidInput.of(
            FieldProblem(path="header.Content-Type", rule=rule, value=kind or None, remedy="set Content-Type")
        )
