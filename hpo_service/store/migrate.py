"""The schema's revision: read it, refuse newer ones, back a SQLite file up, upgrade. The steps are in `migrations`."""

from __future__ import annotations

import logging
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect

from hpo_service.errors import Conflict, Unavailable

log = logging.getLogger(__name__)
MIGRATIONS = Path(__file__).parent / "migrations"
HEAD = "0010"
"""The newest revision that this program knows; a test holds it to be the scripts' head."""
_ADVISORY_LOCK = 0x48504F


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; no file."""
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    if connection is not None:
        made.attributes["connection"] = connection
    return made


def revision(connection: Connection) -> str | None:
    """The schema's revision; None for an empty database."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def upgrade(engine: Engine, *, create: bool = True, backup: bool = True) -> None:
    """Bring the schema to `HEAD`. See `open_database` for the errors."""
    path = _file(engine)
    if path is not None and not path.exists():
        if not create:
            raise Unavailable(f"there is no database at {path}", remedy="start the server, which makes it")
        path.parent.mkdir(parents=True, exist_ok=True)
    if path is not None:
        _use_wal(engine)
    with engine.connect() as connection, connection.begin():
        found = revision(connection)
    if found == HEAD:
        return
    if found is None and not create:
        raise Unavailable("the database is empty", remedy="start the server, which makes the tables")
    with engine.connect().execution_options(hpo_write=True) as connection, connection.begin():
        _upgrade_locked(connection, path if backup else None)


def _upgrade_locked(connection: Connection, backup: Path | None) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})")
    found = revision(connection)
    if found == HEAD:
        return
    known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
    if found is not None and found not in known:
        raise Conflict(
            f"the database's schema must be one that this program knows, but its revision is {found} and the newest "
            f"known is {HEAD}",
            remedy="upgrade hpo-service, or restore a backup",
        )
    if found is not None and backup is not None:
        log.warning("upgrading the schema from %s to %s; backup: %s", found, HEAD, back_up(backup, found))
    command.upgrade(config(connection), "head")


def downgrade(connection: Connection, target: str) -> None:
    """Take the schema back to revision `target` ("base" for nothing), inside the caller's transaction."""
    command.downgrade(config(connection), target)


def back_up(path: Path, label: str) -> Path:
    """Copy the SQLite file beside itself while it is in use; returns the copy's path."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    target = path.with_name(f"{path.name}.backup-{label}-{stamp}")
    source, copy = sqlite3.connect(path), sqlite3.connect(target)
    try:
        source.backup(copy)
    finally:
        copy.close()
        source.close()
    return target


def _file(engine: Engine) -> Path | None:
    return Path(str(engine.url.database)) if engine.dialect.name == "sqlite" else None


def _use_wal(engine: Engine) -> None:
    """Write-ahead logging is a property of the file; changing it needs the file for a moment alone."""
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        mode = cursor.execute("PRAGMA journal_mode").fetchone()
        if mode is None or mode[0] != "wal":
            cursor.execute("PRAGMA journal_mode=WAL")
        cursor.close()
    finally:
        raw.close()
