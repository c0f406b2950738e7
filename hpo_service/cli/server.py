"""Commands of the service itself: serve, controller, doctor, schema, workers, version, and the `token` group."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from hpo_service.cli.base import session_of
from hpo_service.errors import HpoError, InvalidInput, NotFound, Unavailable
from hpo_service.settings import load_settings


class Role(StrEnum):
    """What a token may do: each role includes those before it."""

    VIEWER = "viewer"
    RUNNER = "runner"
    EDITOR = "editor"
    ADMIN = "admin"


Data = Annotated[Path | None, typer.Option("--data", help="Folder of database, storage and logs. [HPO_DATA]")]
Database = Annotated[str | None, typer.Option("--database-url", help="PostgreSQL or SQLite. [HPO_DATABASE_URL]")]
Storage = Annotated[Path | None, typer.Option("--storage", help="Folder of checkpoints. [HPO_STORAGE]")]
RayAddress = Annotated[str | None, typer.Option("--ray-address", help="An existing Ray cluster. [HPO_RAY_ADDRESS]")]
LogLevel = Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error. [HPO_LOG_LEVEL]")]


def needs(module: str, extra: str) -> Any:
    """A module of an extra; raises `Unavailable` with the command that installs it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"this command needs the extra {extra!r}, but {error.name} is not installed",
            remedy=f"pip install 'hpo-service[{extra}]'",
        ) from None


def serve(
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on. [HPO_HOST]")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on. [HPO_PORT]")] = None,
    data: Data = None,
    database_url: Database = None,
    storage: Storage = None,
    ray_address: RayAddress = None,
    log_level: LogLevel = None,
    supervise: Annotated[
        bool, typer.Option("--controller/--no-controller", help="Supervise a controller, or leave that to another.")
    ] = True,
) -> None:
    """Run the server: the API, the page, and a controller that it supervises."""
    settings = load_settings(
        host=host,
        port=port,
        data=data,
        database_url=database_url,
        storage=storage,
        ray_address=ray_address,
        log_level=log_level,
    )
    _exit_with(needs("hpo_service.server", "server").serve(settings, supervise=supervise))


def controller(
    data: Data = None,
    database_url: Database = None,
    storage: Storage = None,
    ray_address: RayAddress = None,
    log_level: LogLevel = None,
) -> None:
    """Run a controller alone: it decides and launches, without an API."""
    settings = load_settings(
        data=data, database_url=database_url, storage=storage, ray_address=ray_address, log_level=log_level
    )
    _exit_with(needs("hpo_service.controller.process", "server").main(settings))


def _exit_with(code: object) -> None:
    if isinstance(code, int) and code:
        raise typer.Exit(code)


def doctor(context: typer.Context, data: Data = None, database_url: Database = None, storage: Storage = None) -> None:
    """Check packages, settings, database, storage, port, accelerators, Ray and the server; each with a remedy."""
    from hpo_service.cli.checks import all_checks
    from hpo_service.cli.render import checks_table

    session = session_of(context)
    settings = load_settings(data=data, database_url=database_url, storage=storage)
    found = all_checks(settings, lambda: session.client)
    broken = sum(not check.ok for check in found)
    if session.json:
        session.emit({"checks": [check.to_json() for check in found]})
    else:
        session.console.print(checks_table(found))
        session.say("everything is in order" if not broken else f"{broken} of {len(found)} checks are broken")
    if broken:
        raise typer.Exit(1)


def schema(context: typer.Context) -> None:
    """Print the JSON Schema of a study definition, for editors."""
    from hpo_service.core.definition import json_schema

    session_of(context).emit(json_schema())


def workers(context: typer.Context) -> None:
    """List the warm workers."""
    from hpo_service.cli.render import workers_table

    session = session_of(context)
    found = session.client.workers()
    if session.json:
        session.emit([worker.to_json() for worker in found])
    elif found:
        session.console.print(workers_table(found))
    else:
        session.say("no workers: they come with the first trial and go when idle")


def version(context: typer.Context) -> None:
    """Print the version."""
    from hpo_service.client.connection import version as installed

    session = session_of(context)
    if session.json:
        session.emit({"version": installed(), "python": sys.version.split()[0]})
    else:
        session.say(f"hpo-service {installed()}")


tokens = typer.Typer(no_args_is_help=True, help="Make, list and revoke access tokens, in the database directly.")


@tokens.command("create")
def token_create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    role: Annotated[Role, typer.Option("--role", help="viewer, runner, editor or admin.")] = Role.EDITOR,
    project: Annotated[str, typer.Option("--project", help="One project; * for all.")] = "*",
    days: Annotated[float, typer.Option("--days", min=0, help="Lifetime; 0: until revoked.")] = 90,
    code: Annotated[
        bool, typer.Option("--code", help="May submit functions and own recipes: a shell on the workers.")
    ] = False,
    data: Data = None,
    database_url: Database = None,
) -> None:
    """Make a token; its secret is printed once."""
    session = session_of(context)
    with _database(data, database_url) as (access, database):
        row, secret = access.create_token(
            database,
            name=name,
            role=role.value,
            project=project,
            may_submit_code=code,
            ttl=timedelta(days=days) if days else None,
        )
    if session.json:
        session.emit({"id": row.id, "name": row.name, "role": row.role, "project": row.project, "secret": secret})
        return
    session.say(secret)
    until = f"until {row.expires_at:%Y-%m-%d}" if row.expires_at else "until it is revoked"
    sys.stderr.write(f"token {row.id} for {name!r}: role {row.role}, project {row.project}, {until}\n")
    sys.stderr.write("use it: export HPO_TOKEN=…  (it is not shown again)\n")


@tokens.command("list")
def token_list(context: typer.Context, data: Data = None, database_url: Database = None) -> None:
    """List tokens; their secrets are not stored."""
    from hpo_service.cli.render import table

    session = session_of(context)
    with _database(data, database_url) as (access, database):
        rows = list(access.list_tokens(database))
    if session.json:
        fields = (
            "id",
            "name",
            "role",
            "project",
            "may_submit_code",
            "created_at",
            "expires_at",
            "revoked_at",
            "used_at",
        )
        session.emit([{field: _jsonable(getattr(row, field)) for field in fields} for row in rows])
        return
    made = table("id", "name", "role", "project", "code", "state", "expires", "last used")
    for row in rows:
        expires = f"{row.expires_at:%Y-%m-%d}" if row.expires_at else "never"
        used = f"{row.used_at:%Y-%m-%d %H:%M}" if row.used_at else "–"
        made.add_row(
            row.id, row.name, row.role, row.project, "yes" if row.may_submit_code else "no", _state(row), expires, used
        )
    session.console.print(made) if rows else session.say("no tokens; make one with `hpo token create NAME`")


@tokens.command("revoke")
def token_revoke(
    context: typer.Context,
    token: Annotated[str, typer.Argument(metavar="ID", help="As `hpo token list` shows it.")],
    data: Data = None,
    database_url: Database = None,
) -> None:
    """Revoke a token at once."""
    session = session_of(context)
    with _database(data, database_url) as (access, database):
        if token not in {row.id for row in access.list_tokens(database)}:
            raise NotFound(f"no token has the id {token!r}", remedy="see `hpo token list`")
        access.revoke_token(database, token)
    session.say(f"revoked {token}")
    if session.json:
        session.emit({"revoked": token})


def _state(row: Any) -> str:
    if row.revoked_at is not None:
        return "revoked"
    return "expired" if row.expires_at is not None and row.expires_at <= datetime.now(UTC) else "valid"


def _jsonable(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


@contextlib.contextmanager
def _database(data: Path | None, database_url: str | None) -> Iterator[tuple[Any, Any]]:
    """The store's access verbs and an open database, closed at the end."""
    settings = load_settings(data=data, database_url=database_url)
    store = needs("hpo_service.store.database", "server")
    access = needs("hpo_service.store.access", "server")
    url = settings.resolved_database_url
    if url.startswith("sqlite"):
        _make_folder(settings.data)
    try:
        opened = store.open_database(url)
    except HpoError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Unavailable(f"the database cannot be opened ({reason})", remedy="check HPO_DATABASE_URL") from None
    try:
        yield access, opened
    finally:
        opened.close()


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(
            f"HPO_DATA must be a folder, but {folder} is not ({error.strerror})", remedy="choose another"
        ) from None
