"""Live notices as server-sent events, and the event log that they point into."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse

from hpo_service.api import schemas
from hpo_service.api.access import Role
from hpo_service.api.routing import role, router
from hpo_service.api.state import PrincipalDep, Shared, SharedDep, StudyDep
from hpo_service.core.events import PAYLOADS, Event, Reported
from hpo_service.errors import FieldProblem, InvalidInput
from hpo_service.store import decisions, reportlog
from search_spaces.errors import nearest

routes: APIRouter = router(tag="events")

LastId = Annotated[str | None, Header(max_length=200, description="`study:seq` of the last notice that was seen.")]
EXAMPLE = 'id: s7h2k9x:12\nevent: notice\ndata: {"study":"s7h2k9x","seq":12}\n\n'
STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {"example": EXAMPLE}}}}
MAX_LISTED = 20
HEADERS = {"x-accel-buffering": "no", "cache-control": "no-store"}


@routes.get("/events", openapi_extra=role(Role.VIEWER), response_class=StreamingResponse, responses=STREAM)
async def watch_all(shared: SharedDep, caller: PrincipalDep, last_event_id: LastId = None) -> Response:
    """Notices of every study that the caller may see. With Last-Event-ID each study's newest one is told at once,
    for one id cannot say what was missed of the others."""
    if last_event_id is not None:
        _parse_id(last_event_id)
    return _stream(shared, lambda _, project: caller.sees(project), {} if last_event_id is not None else None)


@routes.get(
    "/studies/{study_id}/events", openapi_extra=role(Role.VIEWER), response_class=StreamingResponse, responses=STREAM
)
async def watch_study(study: StudyDep, shared: SharedDep, last_event_id: LastId = None) -> Response:
    """Notices of one study: its newest at once (with Last-Event-ID only if it moved since), then whenever it moves."""
    seen = _parse_id(last_event_id) if last_event_id is not None else (study.id, 0)
    after = seen[1] if seen[0] == study.id else 0
    return _stream(shared, lambda one, _: one == study.id, {study.id: after})


@routes.get("/studies/{study_id}/log", openapi_extra=role(Role.VIEWER))
def read_events(
    study: StudyDep,
    shared: SharedDep,
    after: Annotated[int, Query(ge=0, lt=2**53, description="The last sequence number that you have.")] = 0,
    before: Annotated[
        int | None, Query(ge=0, lt=2**53, description="Newest first, before this sequence number; 0: from the end.")
    ] = None,
    kind: Annotated[str, Query(max_length=1000, description="Of these kinds only, comma separated.")] = "",
    limit: Annotated[int, Query(ge=1, le=1000)] = 500,
    metrics: Annotated[bool, Query(description="Forwards: each report's metrics as its sixth element.")] = False,
) -> schemas.Items[schemas.LogEvent]:
    """The study's events after a sequence number, in order, or with `before` backwards from one, for people to read:
    `reported` then has only its `count`, and of long lists the first 20 are told. Fewer than `limit` means: that is
    all. With `metrics` each row of `reported` ends with all metrics of that report."""
    kinds = _kinds(kind)
    if before is None and kinds:
        rule = "kinds are chosen when reading backwards"
        raise InvalidInput.of(FieldProblem(path="query.kind", rule=rule, value=kind, remedy="add before=0"))
    if before is not None and after:
        rule = "a log is read either forwards or backwards"
        raise InvalidInput.of(FieldProblem(path="query.after", rule=rule, value=after, remedy="leave one out"))
    if before is not None:
        entries = decisions.latest_entries(shared.db, study.id, before=before, kinds=kinds, limit=limit)
        read = [
            schemas.LogEvent(seq=e.seq, kind=e.kind, at=e.at, epoch=e.epoch, payload=_shortened(e.payload))
            for e in entries
        ]
        return schemas.Items[schemas.LogEvent].model_construct(items=read)
    events = decisions.load_events(shared.db, study.id, after_seq=after, limit=limit)
    payloads = [event.payload.to_json() for event in events]
    if metrics:
        _add_metrics(shared, study.id, events, payloads)
    items = [
        schemas.LogEvent(seq=event.seq, kind=event.payload.kind, at=event.at, epoch=event.epoch, payload=payload)
        for event, payload in zip(events, payloads, strict=True)
    ]
    return schemas.Items[schemas.LogEvent].model_construct(items=items)


def _add_metrics(shared: Shared, study_id: str, events: list[Event], payloads: list[dict[str, Any]]) -> None:
    """Adds to each row of `reported` all metrics of that report."""
    told = [event.seq for event in events if event.payload.kind == Reported.kind]
    if not told:
        return
    found = reportlog.metrics_between(shared.db, study_id, told[0], told[-1])
    for event, payload in zip(events, payloads, strict=True):
        if event.payload.kind == Reported.kind:
            payload["reports"] = [[*row, found[row[0], row[1], row[2]]] for row in payload["reports"]]


def _shortened(payload: dict[str, Any]) -> dict[str, Any]:
    """The payload with at most `MAX_LISTED` of any list in it; `NAME_more` says how many are left out, `NAME_counts`
    of how many kinds they all are, where they have any: of proposals and methods, and states of attempts that ended."""
    found: dict[str, Any] = {}
    for name, value in payload.items():
        if name == "prior":  # results of past studies, for models alone
            found["prior_more"] = len(value)
        elif isinstance(value, list) and len(value) > MAX_LISTED:
            found |= {name: value[:MAX_LISTED], f"{name}_more": len(value) - MAX_LISTED}
            counts = Counter(kind for kind in map(_kind_of, value) if kind is not None)
            found |= {f"{name}_counts": dict(counts)} if counts else {}
        else:
            found[name] = value
    return found


def _kind_of(item: Any) -> str | None:
    if isinstance(item, dict):
        return item.get("kind") or item.get("method")
    return str(item[3]) if isinstance(item, list) and len(item) > 3 else None


def _kinds(text: str) -> tuple[str, ...]:
    kinds = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for kind in kinds:
        if kind not in PAYLOADS:
            rule = "unknown kind of event"
            remedy = nearest(kind, sorted(PAYLOADS))
            raise InvalidInput.of(FieldProblem(path="query.kind", rule=rule, value=kind, remedy=remedy))
    return kinds


def _stream(shared: Shared, wanted: Callable[[str, str], bool], seen: dict[str, int] | None) -> Response:
    return StreamingResponse(shared.notices.stream(wanted, seen), media_type="text/event-stream", headers=HEADERS)


def _parse_id(text: str) -> tuple[str, int]:
    study, _, seq = text.rpartition(":")
    if not study or not seq.isdecimal() or len(seq) > 18:
        rule = "Last-Event-ID is study:seq"
        raise InvalidInput.of(
            FieldProblem(path="header.Last-Event-ID", rule=rule, value=text, remedy="send an id as it was received")
        )
    return study, int(seq)
