"""`/tokens`: who may call. Admins only; the first one is made by `hpo token create` on the server's machine."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Request, Response

from hpo_service.api import schemas
from hpo_service.api.access import ANY_PROJECT, Principal, Role
from hpo_service.api.requests import CreateToken
from hpo_service.api.routing import role, router
from hpo_service.api.state import PrincipalDep, SharedDep
from hpo_service.errors import Forbidden, NotFound
from hpo_service.store import access

routes: APIRouter = router(prefix="/tokens", tag="tokens")


@routes.get("", openapi_extra=role(Role.ADMIN))
def list_tokens(shared: SharedDep, caller: PrincipalDep) -> schemas.Items[schemas.Token]:
    """All tokens of the caller's project, without their secrets."""
    rows = [row for row in access.list_tokens(shared.db) if caller.sees(row.project)]
    return schemas.Items[schemas.Token](items=[schemas.token_answer(row) for row in rows])


@routes.post("", status_code=201, openapi_extra=role(Role.ADMIN, secret=True))
def create_token(request: Request, body: CreateToken, shared: SharedDep, caller: PrincipalDep) -> schemas.NewToken:
    """Make a token. The answer holds the secret, this once: it is stored hashed only."""
    caller.require_project(body.project)
    if body.may_submit_code and not caller.may_submit_code:
        raise Forbidden(
            f"the token {caller.name!r} may not submit code, so neither may one that it makes",
            remedy="ask an admin who may",
        )
    row, secret = access.create_token(
        shared.db,
        name=body.name,
        role=body.role,
        project=body.project,
        may_submit_code=body.may_submit_code,
        ttl=timedelta(days=body.days) if body.days is not None else None,
    )
    return schemas.NewToken(token=schemas.token_answer(row), secret=secret)


@routes.delete("/{token_id}", status_code=204, openapi_extra=role(Role.ADMIN))
def revoke_token(token_id: str, shared: SharedDep, caller: PrincipalDep) -> Response:
    """Revoke a token, at once and for good."""
    _require_known(shared, caller, token_id)
    access.revoke_token(shared.db, token_id)
    return Response(status_code=204)


def _require_known(shared: SharedDep, caller: Principal, token_id: str) -> None:
    for row in access.list_tokens(shared.db):
        if row.id == token_id and (caller.project == ANY_PROJECT or caller.sees(row.project)):
            return
    raise NotFound(f"there is no token {token_id[:200]!r}", remedy="list them with GET /api/v1/tokens")
