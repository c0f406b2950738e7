"""Who calls, and what they may do: principals, roles, projects. The tokens themselves live in `store.access`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hpo_service.errors import Forbidden, Unauthorized
from hpo_service.store import access as tokens
from hpo_service.store.database import Database

ANY_PROJECT = "*"


class Role(StrEnum):
    """From least to most: each may do what those before it may. PUBLIC routes ask for no token at all."""

    PUBLIC = "public"
    VIEWER = "viewer"  # reads
    RUNNER = "runner"  # asks, tells, reports: an external worker
    EDITOR = "editor"  # creates and steers studies
    ADMIN = "admin"  # deletes others' studies, manages tokens


_RANK = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """A caller: the token's holder, or whoever sits at a loopback server without one."""

    id: str
    name: str
    role: Role
    project: str
    may_submit_code: bool

    def sees(self, project: str) -> bool:
        return self.project in (ANY_PROJECT, project)

    def require(self, role: Role) -> None:
        """Raises Forbidden unless the principal has at least this role."""
        if _RANK[self.role] < _RANK[role]:
            raise Forbidden(
                f"this needs the role {role.value}, but the token {self.name!r} has {self.role.value}",
                remedy=f"use a token made with hpo token create --role {role.value}",
            )

    def require_project(self, project: str) -> None:
        """Raises Forbidden unless the principal's token is for this project."""
        if not self.sees(project):
            raise Forbidden(
                f"the token {self.name!r} is for the project {self.project!r}, but this is in {project!r}",
                remedy="use a token of that project, or one for all projects",
            )


LOCAL = Principal(id="local", name="local", role=Role.ADMIN, project=ANY_PROJECT, may_submit_code=True)
ANONYMOUS = Principal(id="anonymous", name="anonymous", role=Role.PUBLIC, project="", may_submit_code=False)


def authenticate(db: Database, authorization: str | None, *, needs_token: bool) -> Principal:
    """The caller that the Authorization header names. Without one: the local user where no token is needed.

    Raises Unauthorized where a token is missing, unknown, expired or revoked. A wrong token is refused on loopback too.
    """
    if authorization is None:
        if needs_token:
            raise Unauthorized(
                "this server needs a bearer token",
                remedy="send Authorization: Bearer TOKEN; hpo token create makes one",
            )
        return LOCAL
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthorized("the Authorization header must be of the form Bearer TOKEN", remedy="correct the header")
    token = tokens.find_token(db, secret.strip())
    if token is None:
        raise Unauthorized("the token is unknown, expired or revoked", remedy="make another with hpo token create")
    return Principal(
        id=f"token:{token.id}",
        name=token.name,
        role=Role(token.role),
        project=token.project,
        may_submit_code=token.may_submit_code,
    )
