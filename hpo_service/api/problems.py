"""Every refusal as an RFC 9457 problem document, the framework's own ones too. No rule is decided here."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from hpo_service.errors import FieldProblem, HpoError, InvalidInput, NotFound, Unavailable

MEDIA_TYPE = "application/problem+json"
UNKNOWN_FIELD = "unknown_field"
MAX_PROBLEMS = 20
_PLACES = frozenset({"body", "query", "path", "header"})
logger = logging.getLogger(__name__)


def problem_body(document: Mapping[str, Any], instance: str) -> bytes:
    """The bytes of a problem document about a request to `instance`."""
    return json.dumps({**document, "instance": instance}, allow_nan=False, ensure_ascii=False).encode()


def problem_response(error: HpoError, instance: str) -> Response:
    """The response that carries `error`; 401 names the scheme, 429 and 503 say when to come again."""
    headers: dict[str, str] = {}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    if error.status in (429, 503):
        headers["retry-after"] = "1"
    return Response(problem_body(error.to_problem(), instance), error.status, headers=headers, media_type=MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Make every exception that can leave a route a problem document."""
    app.add_exception_handler(HpoError, _on_hpo_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(OperationalError, _on_database_error)
    app.add_exception_handler(InterfaceError, _on_database_error)
    app.add_exception_handler(Exception, _on_bug)


def from_validation(errors: Sequence[Mapping[str, Any]]) -> InvalidInput:
    """Pydantic's findings as one `InvalidInput` that names every field, rule, value and remedy."""
    return InvalidInput.of(*(_field_problem(error) for error in errors[:MAX_PROBLEMS]))


def _field_problem(error: Mapping[str, Any]) -> FieldProblem:
    parts = [str(part) for part in error["loc"]]
    if parts[:1] == ["body"] or (len(parts) > 1 and parts[0] in _PLACES):
        parts = parts[1:]
    context = error.get("ctx") or {}
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == UNKNOWN_FIELD:
        return FieldProblem(
            path=".".join([*parts, context["name"]]),
            rule="unknown field",
            value=context["name"],
            remedy=context["remedy"],
        )
    rule = message[:1].lower() + message[1:]
    if error["type"] == "missing":
        return FieldProblem(path=".".join(parts), rule=rule, remedy="add it")
    return FieldProblem(path=".".join(parts), rule=rule, value=error.get("input"))


def _on_hpo_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HpoError)
    return problem_response(error, request.scope["path"])


def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return problem_response(from_validation(error.errors()), request.scope["path"])


def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    path = request.scope["path"]
    if error.status_code == 404:
        missing = NotFound(f"there is no route {path}", remedy="see /api/v1/openapi.json for the routes")
        return problem_response(missing, path)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("allow") or (error.headers or {}).get("Allow", "")
        detail = f"{path} does not serve {request.method}"
        remedy = f"use {allowed}" if allowed else "see /api/v1/openapi.json"
        slug, title = "method-not-allowed", "The route does not serve this method"
    else:
        detail, remedy = str(error.detail), "see /api/v1/openapi.json"
        slug, title = "http", "The request could not be served"
    document = {
        "type": f"urn:hpo:problem:{slug}",
        "title": title,
        "status": error.status_code,
        "detail": f"{detail}; {remedy}",
        "remedy": remedy,
    }
    return Response(
        problem_body(document, path),
        error.status_code,
        headers=dict(error.headers or {}),
        media_type=MEDIA_TYPE,
    )


def _on_database_error(request: Request, error: Exception) -> Response:
    logger.error("the database did not answer: %s", error)
    unavailable = Unavailable("the database does not answer", remedy="try again; see /readyz")
    return problem_response(unavailable, request.scope["path"])


def _on_bug(request: Request, _: Exception) -> Response:
    """The server that runs us logs the traceback: it is raised again after this answer."""
    bug = HpoError("the service met an error of its own", remedy="see the server's log; nothing was stored")
    return problem_response(bug, request.scope["path"])
