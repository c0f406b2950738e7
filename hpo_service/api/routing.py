"""The one route class: authenticates, refuses unknown query parameters, parses the body strictly, and keeps
idempotency keys. A route without a role cannot be made.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from hpo_service.api.access import ANONYMOUS, Principal, Role, authenticate
from hpo_service.api.bodies import located_in, parse_body
from hpo_service.api.state import Shared, served_study
from hpo_service.api.uploads import takes_files
from hpo_service.errors import FieldProblem, InvalidInput
from hpo_service.store.rows import Remember
from search_spaces.errors import nearest

ROLE, NATURAL, SECRET, LOCATED = "x-role", "x-idempotent", "x-secret", "x-located"
API = "/api/v1"
"""Where all of it is, but for what operators' tools look for at the root."""
MAX_KEY = 200
SMALL = 4096
"""Bytes of a JSON body that are read on the spot."""
Handler = Callable[[Request], Coroutine[Any, Any, Response]]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Coroutine[Any, Any, Response]])
_BUSY = "__busy__"


def role(least: Role, *, natural: bool = False, secret: bool = False, located: bool = False) -> dict[str, Any]:
    """The `openapi_extra` of a route that callers of at least this role may use. `natural`: told again, it does nothing
    more by itself; `secret`: its answer must not be stored; `located`: its refusals say at which line of the body."""
    marks = {NATURAL: natural, SECRET: secret, LOCATED: located}
    return {ROLE: least.value, **{name: True for name, given in marks.items() if given}}


class Route(APIRoute):
    """Authentication comes before the body is parsed, so that strangers cost nothing."""

    def get_route_handler(self) -> Handler:
        extra = self.openapi_extra or {}
        least = Role(extra[ROLE])
        original = super().get_route_handler()
        body = getattr(self.endpoint, _BUSY, None)
        if body is not None:
            original = _straight(self.endpoint, body, original)
        if extra.get(LOCATED):
            original = _locating(original)
        names = frozenset(_query_names(self.dependant))
        natural, secret = bool(extra.get(NATURAL)), bool(extra.get(SECRET))
        bodiless = self.body_field is None

        async def handle(request: Request) -> Response:
            shared: Shared = request.app.state.shared
            caller = await _caller(shared, request.headers.get("authorization"), least)
            request.state.principal = caller
            request.state.remember = None
            _refuse_unknown(request, names)
            if takes_files(request.method, request.scope["path"]):
                return await original(request)
            prepared = await _with_document(request)
            prepared.state.content_type = request.headers.get("content-type", "")
            if bodiless and request.method in ("POST", "PATCH"):
                _refuse_body(prepared)
            key = request.headers.get("idempotency-key")
            if request.method != "POST" or key is None:
                return await original(prepared)
            remember = await _remember(request, caller, key)
            request.state.remember = None if natural else remember
            answer = functools.partial(original, prepared)
            return await shared.replay.run(remember, answer, natural=natural, secret=secret)

        return handle


def busy(body: type[BaseModel]) -> Callable[[Endpoint], Endpoint]:
    """Marks the endpoint of a route that is called all the time: an async one that takes a study's id (`ServedDep`), a
    body of this model, what is shared and who calls, in this order, and gives a response."""

    def mark(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _BUSY, body)
        return endpoint

    return mark


def _straight(endpoint: Callable[..., Any], body: type[BaseModel], whole: Handler) -> Handler:
    """Calls the endpoint itself: resolving four dependencies anew each time takes longer than it does. What is not as
    it should be goes the whole way, and is refused there as everywhere."""

    async def handle(request: Request) -> Response:
        document = getattr(request, "_json", None)
        if not isinstance(document, dict):
            return await whole(request)
        shared, caller = request.app.state.shared, request.state.principal
        study_id = await served_study(request.path_params["study_id"], shared, caller)
        try:
            told = body.model_validate(document)
        except ValidationError:
            return await whole(request)
        response: Response = await endpoint(study_id, told, shared, caller)
        return response

    return handle


def _locating(handler: Handler) -> Handler:
    """The handler, its refusals naming the lines of the body that they are about."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except InvalidInput as error:
            kind = request.state.content_type
            raise await run_in_threadpool(located_in, await request.body(), kind, error) from None

    return handle


def router(*, prefix: str = "", tag: str, root: str = API) -> APIRouter:
    """A router whose routes are of this module's class, and know their whole paths: an application takes them as they
    are. One that includes a router works out each of its routes anew, when it is first called."""
    return APIRouter(prefix=root + prefix, tags=[tag], route_class=Route)


async def _caller(shared: Shared, authorization: str | None, least: Role) -> Principal:
    """Who calls; only a token is looked up in the database, on a thread."""
    if authorization is None or least is Role.PUBLIC:
        return _admit(shared, None, least)
    return await run_in_threadpool(_admit, shared, authorization, least)


def _admit(shared: Shared, authorization: str | None, least: Role) -> Principal:
    if least is Role.PUBLIC:
        return ANONYMOUS
    caller = authenticate(shared.db, authorization, needs_token=not shared.settings.is_loopback)
    caller.require(least)
    return caller


def _query_names(dependant: Dependant) -> Iterable[str]:
    for field in dependant.query_params:
        yield field.alias
    for child in dependant.dependencies:
        yield from _query_names(child)


def _refuse_unknown(request: Request, names: frozenset[str]) -> None:
    if not request.scope["query_string"]:
        return
    for name in request.query_params:
        if name not in names:
            remedy = nearest(name, sorted(names))
            raise InvalidInput.of(
                FieldProblem(path=f"query.{name}"[:200], rule="unknown query parameter", value=name, remedy=remedy)
            )


def _refuse_body(request: Request) -> None:
    """What a route would not look at is not taken in silence."""
    document = getattr(request, "_json", None)
    names = list(document) if isinstance(document, dict) else [""] if document is not None else []
    if names:
        rule, remedy = "this request takes no body", "leave the body out"
        raise InvalidInput.of(*(FieldProblem(path=str(name)[:200], rule=rule, remedy=remedy) for name in names[:20]))


async def _with_document(request: Request) -> Request:
    """The request with its body parsed; what follows sees JSON whatever the client wrote."""
    body = await request.body()
    if not body:
        return request
    kind = request.headers.get("content-type", "")
    if len(body) <= SMALL and kind == "application/json":
        document = parse_body(body, kind)  # a thread would take longer than reading it
    else:
        document = await run_in_threadpool(parse_body, body, kind)
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
    scope = {**request.scope, "headers": [*headers, (b"content-type", b"application/json")]}
    prepared = Request(scope, request.receive)
    prepared._body = body
    prepared._json = document
    return prepared


async def _remember(request: Request, caller: Principal, key: str) -> Remember:
    if not 0 < len(key) <= MAX_KEY or not key.isprintable():
        rule = f"an Idempotency-Key has 1 to {MAX_KEY} printable characters"
        raise InvalidInput.of(FieldProblem(path="header.Idempotency-Key", rule=rule, value=key, remedy="use a UUID"))
    digest = hashlib.sha256(request.url.query.encode() + b"\0" + await request.body()).hexdigest()
    return Remember(scope=f"{caller.id} POST {request.scope['path']}", key=key, request_digest=digest)
