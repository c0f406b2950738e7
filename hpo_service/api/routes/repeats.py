"""The same study again: its log asked anew, and the whole of it carried elsewhere in one file."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from typing import IO, Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from hpo_service import replaying
from hpo_service.api import archives, differing, schemas
from hpo_service.api.access import Role
from hpo_service.api.routes import studies as study_routes
from hpo_service.api.routing import role, router
from hpo_service.api.schemas import Answer
from hpo_service.api.state import PrincipalDep, Shared, SharedDep, StudyDep
from hpo_service.api.uploads import received
from hpo_service.store import archiving, studies

routes: APIRouter = router(prefix="/studies", tag="studies")
side_by_side: APIRouter = router(prefix="", tag="compare")
Place = Annotated[str, Query(min_length=1, max_length=300, description="STUDY, an id or a name; or STUDY/17.")]
WAIT_S = 2.0
PIECE = 1 << 20


class ReplayDifference(Answer):
    """A decision that would be another one now; proposals as the event log tells them."""

    decision: int
    seq: int
    stored: list[dict[str, Any]]
    now: list[dict[str, Any]]
    cause: str


class Replay(Answer):
    """What came of folding the log again. While `computing`, only `events` (so far) and `of` are told: ask again."""

    computing: bool
    events: int
    of: int
    same: bool | None = None
    algorithm: str | None = None
    version: int | None = None
    decisions: int | None = None
    by_hand: int | None = None
    proposals: int | None = None
    differing: int | None = None
    differences: list[ReplayDifference] = Field(default_factory=list)


@routes.get("/{study_id}/replay", openapi_extra=role(Role.VIEWER))
def get_replay(
    study: StudyDep,
    shared: SharedDep,
    of: Annotated[
        int | None, Query(ge=1, lt=2**53, description="What the first answer told: that far will do, if it moved on.")
    ] = None,
) -> Replay:
    """Fold the study's log again and ask the algorithm at every decision: does it decide alike? That takes as long as
    deciding took; `computing` says to ask again, with that answer's `of`: a study under way is never caught up."""
    far = shared.replayed.setdefault(study.id, [0])

    def make() -> replaying.Replayed:
        def seen(seq: int) -> None:
            far[0] = seq

        return replaying.replay(shared.db, study.id, seen=seen)

    reach = study.last_seq if of is None else min(of, study.last_seq)
    result = shared.replays.get(study.id, reach, make, wait_s=WAIT_S)
    if result is None or not result.fresh:
        return Replay(computing=True, events=far[0], of=reach)
    return Replay(computing=False, of=reach, **result.made.to_json())


class StudyDigest(Answer):
    """SHA-256 over all that an archive of the study holds but its code."""

    digest: str


@routes.get("/{study_id}/digest", openapi_extra=role(Role.VIEWER))
def get_digest(study: StudyDep, shared: SharedDep) -> StudyDigest:
    """The digest of a study at rest: the same wherever it was restored."""
    return StudyDigest(digest=archiving.digest(shared.db, study.id))


@routes.get("/{study_id}/archive", openapi_extra=role(Role.VIEWER), response_class=StreamingResponse)
def get_archive(study: StudyDep, shared: SharedDep) -> Response:
    """The whole study in one file: definition, events, trials, reports, logs, environments, code. Checkpoints,
    artifacts, predictions and reproductions are left out. Refused while something of it is under way."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile())
        done = archives.write(shared, study.id, file)
        size = file.tell()
        file.seek(0)
        kept = stack.pop_all()
    headers = {
        "content-disposition": f'attachment; filename="{study.id}.hpo"',
        "content-length": str(size),
        "x-study-digest": done.digest,
    }
    return StreamingResponse(_pieces(file, kept), media_type="application/zip", headers=headers)


def _pieces(file: IO[bytes], kept: contextlib.ExitStack) -> Iterator[bytes]:
    with kept:
        while piece := file.read(PIECE):
            yield piece


@routes.post("/restore", status_code=201, openapi_extra=role(Role.EDITOR, natural=True))
async def restore_study(request: Request, shared: SharedDep, caller: PrincipalDep) -> schemas.Study:
    """Make an archived study anew, in the project that its definition names: all its rows, the same digest, its old id
    where that is free. The body is the archive's bytes."""
    remedy = "HPO_MAX_ARCHIVE_BYTES sets the limit"
    async with received(request, most_bytes=shared.settings.max_archive_bytes, remedy=remedy) as file:
        return await run_in_threadpool(_restore, shared, file, caller)


def _restore(shared: Shared, file: IO[bytes], caller: Any) -> schemas.Study:
    study_id = archives.restore(shared, file, caller)
    shared.notify(study_id)
    return study_routes.answer(shared, studies.get_study(shared.db, study_id))


@side_by_side.get("/diff", openapi_extra=role(Role.VIEWER))
def get_diff(shared: SharedDep, caller: PrincipalDep, a: Place, b: Place) -> differing.Comparison:
    """Where two trials or two studies differ: definition, configuration, training, result, code (as a diff), data,
    environment. `same` is about all of it but the result."""
    return differing.compare(shared, differing.side(shared, caller, a), differing.side(shared, caller, b))
