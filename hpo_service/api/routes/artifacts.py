"""`/studies/{id}/trials/{number}/artifacts`: files that trials kept. Listed, downloaded, shown where they are pictures,
and taken from external workers.

What a file holds is its maker's: nothing of it is ever run or rendered in the origin of the pages. A download is an
attachment of no type; a preview is a PNG or JPEG by its own first bytes, and nothing else has one.
"""

from __future__ import annotations

import contextlib
import hashlib
import mimetypes
import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from hpo_service.api import schemas, telling, uploads
from hpo_service.api.access import Role
from hpo_service.api.routes.studies import Cursor, Limit
from hpo_service.api.routes.trials import Number
from hpo_service.api.routing import role, router
from hpo_service.api.state import PrincipalDep, Shared, SharedDep, StudyDep
from hpo_service.artifact_files import PIECE, location_of
from hpo_service.errors import FieldProblem, InvalidInput, NotFound
from hpo_service.store import artifacts
from hpo_service.store.artifacts import ArtifactItem, ArtifactRow
from hpo_service.store.asking import require_external

routes: APIRouter = router(prefix="/studies/{study_id}/trials/{number}/artifacts", tag="artifacts")

PREVIEW_BYTES = 8 << 20
IMAGES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
UNTYPED = "application/octet-stream"
HARMLESS = {"content-security-policy": "default-src 'none'; sandbox", "x-content-type-options": "nosniff"}
ArtifactId = Annotated[str, Path(max_length=100)]


class Artifact(schemas.Answer):
    """A file that a trial kept."""

    id: str
    trial: int = Field(examples=[17])
    fence: int = Field(description="Of the attempt that kept it.", examples=[1])
    name: str = Field(examples=["confusion.png"])
    size_bytes: int = Field(examples=[20480])
    media_type: str = Field(description="What it is said to be; downloads have no type.", examples=["image/png"])
    digest: str = Field(description="SHA-256 of its bytes.")
    at: datetime
    preview: bool = Field(description="Whether it is a picture that `/preview` shows.")


@routes.get("", openapi_extra=role(Role.VIEWER))
def list_artifacts(
    study: StudyDep, number: Number, shared: SharedDep, cursor: Cursor = None, limit: Limit = 100
) -> schemas.Page[Artifact]:
    """A page of what a trial kept, of all its attempts, in the order in which it came."""
    page = artifacts.list_artifacts(shared.db, study.id, number, cursor=cursor, limit=limit)
    return schemas.Page[Artifact](items=[_answer(row) for row in page.rows], next_cursor=page.next_cursor)


@routes.get("/{artifact_id}", openapi_extra=role(Role.VIEWER), response_class=StreamingResponse)
def get_artifact(study: StudyDep, number: Number, artifact_id: ArtifactId, shared: SharedDep) -> Response:
    """An artifact's bytes, as a download; the ETag is their SHA-256."""
    row = artifacts.get_artifact(shared.db, study.id, number, artifact_id)
    headers = {
        **HARMLESS,
        "content-disposition": disposition(row.name),
        "content-length": str(row.size_bytes),
        "etag": f'"{row.digest}"',
    }
    return StreamingResponse(_pieces(shared, row), media_type=UNTYPED, headers=headers)


@routes.get("/{artifact_id}/preview", openapi_extra=role(Role.VIEWER))
def get_preview(study: StudyDep, number: Number, artifact_id: ArtifactId, shared: SharedDep) -> Response:
    """A picture, to be shown: PNG and JPEG by their first bytes, up to 8 MiB."""
    row = artifacts.get_artifact(shared.db, study.id, number, artifact_id)
    body = b"".join(_pieces(shared, row)) if row.size_bytes <= PREVIEW_BYTES else b""
    kind = _image(body)
    if kind is None:
        raise NotFound("only a PNG or JPEG of at most 8 MiB has a preview", remedy="download it")
    return Response(body, media_type=kind, headers={**HARMLESS, "content-disposition": "inline"})


@routes.post("", status_code=201, openapi_extra=role(Role.RUNNER, natural=True))
async def add_artifact(
    request: Request,
    study: StudyDep,
    number: Number,
    shared: SharedDep,
    caller: PrincipalDep,
    fence: Annotated[int, Query(ge=1, lt=2**53, description="Of the attempt that it belongs to.")],
    name: Annotated[str, Query(min_length=1, max_length=255, description="What it is called in lists.")],
) -> Artifact:
    """Keep a file with a trial of an external study; the body is the file. Sent again under the same Idempotency-Key
    it is the same artifact."""
    require_external(study)
    if not name.isprintable() or not name.strip(" ./\\"):
        rule = "an artifact's name has 1 to 255 printable characters"
        raise InvalidInput.of(FieldProblem(path="query.name", rule=rule, value=name, remedy="name the file"))
    await run_in_threadpool(lambda: telling.raise_refused(artifacts.require_newest(shared.db, study.id, number, fence)))
    key = request.headers.get("idempotency-key")
    artifact_id = uuid.uuid4().hex if key is None else _named(caller.id, study.id, number, fence, key)
    digest = hashlib.sha256()
    remedy = "keep less; HPO_ARTIFACT_MAX_BYTES sets the limit"
    most = shared.settings.artifact_max_bytes
    async with uploads.received(request, most_bytes=most, remedy=remedy, into=digest.update) as file:
        row = await run_in_threadpool(
            lambda: _keep(
                shared,
                file,
                ArtifactItem(
                    id=artifact_id,
                    study_id=study.id,
                    trial=number,
                    fence=fence,
                    name=name,
                    location=location_of(study.id, number, artifact_id),
                    digest=digest.hexdigest(),
                    size_bytes=file.seek(0, 2),
                    media_type=_said(name, _start(file)),
                ),
            )
        )
    return _answer(row)


def disposition(name: str) -> str:
    """The header that makes a browser save a file under (nearly) this name, and never open it."""
    last = re.split(r"[/\\]", name)[-1].strip() or "artifact"
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", last)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(last, safe='')}"


def _keep(shared: Shared, file: IO[bytes], item: ArtifactItem) -> ArtifactRow:
    """Write the file, then its record: a record never names what is not there."""
    with contextlib.suppress(NotFound):
        return artifacts.get_artifact(shared.db, item.study_id, item.trial, item.id)
    file.seek(0)
    shared.artifacts.put(item.location, file)
    (result,) = artifacts.add_artifacts(shared.db, [item])
    if result.status not in ("stored", "repeated"):
        shared.artifacts.remove([item.location])
    telling.raise_refused(result)
    return artifacts.get_artifact(shared.db, item.study_id, item.trial, item.id)


def _named(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


def _start(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read(16)


def _image(start: bytes) -> str | None:
    return next((kind for magic, kind in IMAGES.items() if start.startswith(magic)), None)


def _said(name: str, start: bytes) -> str:
    guessed = mimetypes.guess_type(name)[0] or UNTYPED
    return _image(start) or (UNTYPED if guessed in IMAGES.values() else guessed)


def _pieces(shared: Shared, row: ArtifactRow) -> Iterator[bytes]:
    """The file in pieces. Opened at once, so that one that is gone is a 404."""
    stack = contextlib.ExitStack()
    file = stack.enter_context(shared.artifacts.opened(row.location))

    def pieces() -> Iterator[bytes]:
        with stack:
            while piece := file.read(PIECE):
                yield piece

    return pieces()


def _answer(row: ArtifactRow) -> Artifact:
    return Artifact(
        id=row.id,
        trial=row.trial,
        fence=row.fence,
        name=row.name,
        size_bytes=row.size_bytes,
        media_type=row.media_type,
        digest=row.digest,
        at=row.at,
        preview=row.media_type in IMAGES.values() and row.size_bytes <= PREVIEW_BYTES,
    )
