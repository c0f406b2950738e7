"""The way in: an engine that speaks SQLite or PostgreSQL, transactions, the database's clock, fail-points.

Every writing verb runs through `Database.run_write`: one transaction, retried where the database asks for it.
SQLite: BEGIN IMMEDIATE, one writer at a time. PostgreSQL: rows are locked by the verbs, 40001 and 40P01 are retried.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hpo_service.errors import InvalidInput, Unavailable
from hpo_service.store import migrate, turns
from hpo_service.store.recent import RecentEvents
from hpo_service.store.statistics import Statistics
from hpo_service.store.tx import Tx, to_datetime, utc_us

T = TypeVar("T")
log = logging.getLogger(__name__)
BUSY_TIMEOUT_MS = 30_000
RETRY_S = 30.0
STALE_TRIES = 3
SERIALIZATION = frozenset({"40001", "40P01"})
_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}",
    "PRAGMA foreign_keys=ON",
    "PRAGMA synchronous=FULL",
    "PRAGMA cache_size=-65536",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA wal_autocheckpoint=16384",
)
WAL_MOST = 256 * 2**20
"""Bytes of SQLite's write-ahead log from which on it is made to start over. It does so by itself a few checkpoints
earlier, unless there is always somebody reading."""
WAL_LOOK_S = 1.0
WAL_WAIT_MS = 2_000
"""How long readers are waited for, while nobody writes."""


def _nothing(name: str) -> None:
    """The fail-point of ordinary life."""


class Database:
    """An open database. `clock` (microseconds since 1970) replaces the database's own in tests; `failpoint` is called
    before and after every commit of a writing verb with "commit:before:VERB", "commit:after:VERB". `recent` holds the
    events that were committed here last."""

    def __init__(self, engine: Engine, *, clock: Callable[[], int] | None = None) -> None:
        self.engine = engine
        self.dialect = engine.dialect.name
        self.clock = clock
        self.failpoint: Callable[[str], None] = _nothing
        self.recent = RecentEvents()
        self.statistics = None if self.is_sqlite else Statistics(engine)
        self._writer = threading.Lock()
        self._next_look = 0.0
        self._jitter = random.Random()

    @property
    def is_sqlite(self) -> bool:
        return self.dialect == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A reading transaction: on SQLite one snapshot, on PostgreSQL one per statement."""
        with _translated(), self.engine.connect() as conn, conn.begin():
            yield Tx(conn, self.clock)

    def run_write(self, name: str, work: Callable[[Tx], T]) -> T:
        """`work` in one writing transaction, again from the start where the database asks for it.

        Raises Unavailable when the database cannot be reached or stays locked for 30 s.
        """
        deadline = time.monotonic() + RETRY_S
        attempt = 0
        while True:
            try:
                result = self._write_once(name, work)
            except DBAPIError as error:
                attempt += 1
                stale = getattr(error.orig, "sqlstate", None) in turns.STALE and attempt < STALE_TRIES
                if not (stale or _retryable(error)) or time.monotonic() >= deadline:
                    raise _translate(error) from error
                time.sleep(self._jitter.uniform(0.5, 1.0) * min(0.005 * 2**attempt, 0.5))
                continue
            except PoolTimeout as error:
                raise Unavailable(f"no database connection became free: {error}", remedy="try again") from error
            self.failpoint(f"commit:after:{name}")
            return result

    def _write_once(self, name: str, work: Callable[[Tx], T]) -> T:
        if not self.is_sqlite:
            return self._transaction(name, work)
        with self._writer:
            result = self._transaction(name, work)
            self._shorten_log()
            return result

    def _shorten_log(self) -> None:
        """Readers that overlap would keep the write-ahead log growing for ever. What is committed stays committed."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + WAL_LOOK_S
        try:
            if os.stat(f"{self.engine.url.database}-wal").st_size > WAL_MOST:
                self._start_log_over()
        except FileNotFoundError:
            pass  # nothing was written since it started over
        except Exception as error:  # the transaction before is committed: it must not seem to have failed
            log.warning("the write-ahead log could not start over, which is tried again: %s", error)

    def _start_log_over(self) -> None:
        with contextlib.closing(self.engine.raw_connection()) as raw, contextlib.closing(raw.cursor()) as cursor:
            cursor.execute(f"PRAGMA busy_timeout={WAL_WAIT_MS}")
            try:
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")

    def _transaction(self, name: str, work: Callable[[Tx], T]) -> T:
        with self.engine.connect().execution_options(hpo_write=True) as conn, conn.begin():
            tx = Tx(conn, self.clock, writes=True)
            result = work(tx)
            tx.settle()
            self.failpoint(f"commit:before:{name}")
            tx.commit()
        if tx.appended:
            self.recent.add(tx.appended)
            if self.statistics is not None:
                self.statistics.wrote(len(tx.appended))
        return result

    def now(self) -> datetime:
        """The database's clock, UTC."""
        with self.read() as tx:
            return to_datetime(tx.now)

    def close(self) -> None:
        """Close every connection."""
        if self.statistics is not None:
            self.statistics.wait()
        self.engine.dispose()


def open_database(
    url: str, *, create: bool = True, backup: bool = True, clock: Callable[[], int] | None = None
) -> Database:
    """Open the database at `url` (`sqlite:///path` or `postgresql://…`) and bring its schema up to date.

    `create=False` refuses an empty database. Before an upgrade a SQLite file is copied beside itself (`backup`).
    Raises InvalidInput for an unknown kind of URL, Conflict where the schema is newer than this program, Unavailable
    where the database cannot be reached.
    """
    parsed = _url(url)
    engine = _sqlite_engine(parsed) if parsed.get_backend_name() == "sqlite" else _postgresql_engine(parsed)
    try:
        with _translated():
            migrate.upgrade(engine, create=create, backup=backup)
    except BaseException:
        engine.dispose()
        raise
    return Database(engine, clock=clock)


def _url(url: str) -> URL:
    parsed = make_url(url)
    name = parsed.get_backend_name()
    if name in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if name == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed
    raise InvalidInput(
        f"a database URL is sqlite:///PATH or postgresql://…, but got {parsed.render_as_string()!r}",
        remedy="set HPO_DATABASE_URL; SQLite needs a file, for processes share it",
    )


def _postgresql_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        pool_size=16,
        max_overflow=16,
        pool_timeout=30,
        connect_args={"connect_timeout": 10, "application_name": "hpo-service", "options": "-c timezone=UTC"},
    )

    @event.listens_for(engine, "checkout")
    def require_open(connection: Any, _: Any, __: Any) -> None:
        """A server that ended has said so: an idle connection has nothing else to read. Asking it would be one more
        turn for every transaction."""
        if connection.closed or something_to_read(connection.fileno()):
            raise DisconnectionError("the server closed the connection")

    turns.watch(engine)
    return engine


def something_to_read(descriptor: int) -> bool:
    """Whether the socket has something to read, or its end. `select` would know the first 1,024 descriptors only, and a
    server holds more while many listen to it."""
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(0))


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url, pool_size=16, max_overflow=48, pool_timeout=60, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # we write BEGIN ourselves
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        writing = connection.get_execution_options().get("hpo_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _retryable(error: DBAPIError) -> bool:
    if getattr(error.orig, "sqlstate", None) in SERIALIZATION:
        return True
    return isinstance(error, OperationalError) and "database is locked" in str(error.orig)


def _translate(error: DBAPIError) -> Exception:
    """The error as ours where the database is out of reach; else unchanged."""
    state = getattr(error.orig, "sqlstate", None)
    if _retryable(error):
        return Unavailable("the database is busy: other writers hold it for too long", remedy="try again")
    out_of_reach = isinstance(error, OperationalError) and (state is None or state[:2] in ("08", "53", "57"))
    if error.connection_invalidated or out_of_reach:
        return Unavailable(f"the database cannot be reached: {error.orig}", remedy="check HPO_DATABASE_URL")
    return error


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise _translate(error) from error


__all__ = ["Database", "open_database", "utc_us"]
