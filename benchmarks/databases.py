"""Databases to measure on: a fresh one by URL, and what it weighs, by table. SQLite files, and PostgreSQL where it is.

PostgreSQL is the server that the tests use too: the one that HPO_TEST_POSTGRESQL_URL names, else a temporary one from
the installed binaries. That one does not wait for the disk (`fsync=off`): its CPU, bytes and transactions count, its
waiting does not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import text

from hpo_service.store.database import Database

SQLITE, POSTGRESQL = "SQLite", "PostgreSQL"
_SQLITE_SIZES = """
    SELECT m.tbl_name, SUM(d.pgsize) FROM dbstat AS d JOIN sqlite_master AS m ON m.name = d.name GROUP BY m.tbl_name
"""
_POSTGRESQL_SIZES = """
    SELECT c.relname, pg_total_relation_size(c.oid) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname = 'public'
"""


@contextlib.contextmanager
def fresh(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database, removed afterwards. Raises RuntimeError where there is no PostgreSQL."""
    if kind == SQLITE:
        folder.mkdir(parents=True, exist_ok=True)
        yield f"sqlite:///{folder / 'hpo.db'}"
        return
    from tests import postgresql  # lazy: it needs a driver that SQLite does without

    url = postgresql.fresh_database()
    try:
        yield url
    finally:
        postgresql.drop_database(url)


def missing() -> str | None:
    """Why there is no PostgreSQL here; None where there is."""
    try:
        from tests import postgresql

        postgresql.server_url()
    except (ImportError, RuntimeError, OSError) as error:
        return str(error)
    return None


def sizes(db: Database) -> dict[str, int]:
    """Bytes of each table with its indexes."""
    with db.engine.connect() as connection:
        if db.is_sqlite:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        found = connection.execute(text(_SQLITE_SIZES if db.is_sqlite else _POSTGRESQL_SIZES))
        return {str(name): int(size) for name, size in found}


def rows(db: Database, names: list[str]) -> dict[str, int]:
    """Rows of each of the tables."""
    with db.engine.connect() as connection:
        return {name: int(connection.execute(text(f'SELECT COUNT(*) FROM "{name}"')).scalar_one()) for name in names}


def logged(db: Database) -> int:
    """Bytes that PostgreSQL has written to its write-ahead log in all; 0 on SQLite."""
    if db.is_sqlite:
        return 0
    with db.engine.connect() as connection:
        return int(connection.execute(text("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn")).scalar_one())


def server_cpu_seconds(db: Database) -> float:
    """CPU seconds so far of the PostgreSQL server and its processes; 0 on SQLite, or where it runs elsewhere."""
    if db.is_sqlite:
        return 0.0
    from benchmarks.server import tree_cpu_seconds

    with db.engine.connect() as connection:
        pid = int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
    with contextlib.suppress(OSError):
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        return tree_cpu_seconds(parent)
    return 0.0
