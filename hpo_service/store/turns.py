"""Turns of a PostgreSQL connection: what writes waits, and goes out with what is read next, all in one turn.

A turn costs two processes a switch each, many times what a small statement costs; and while a study's row is held,
everybody else of the study waits through it. So a transaction's statements go through libpq's pipeline mode, written as
text and prepared when they come again; the server works on them in order, as if each had been waited for. Only `Tx`
uses this, beside SQLAlchemy on the same connection. SQLite has no turns. Knows no table.
"""

from __future__ import annotations

import functools
import select
from collections import namedtuple
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    import psycopg
    from psycopg.pq.abc import PGconn, PGresult

Check = Callable[[int], None]
"""Is told how many rows a statement changed; raises where that is wrong."""
Read = tuple[str, Sequence[Any]]
PREPARED_AFTER = 3
"""A statement is prepared when a connection sends it for so manieth time."""
PREPARED_MOST = 256
_KEPT = "hpo_prepared"
_AS_IT_IS: tuple[bytes, ...] = ()
_BY_KEYS = (
    b"SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), "
    b"set_config('enable_mergejoin', 'off', true)",
)
"""Verbs that write find their rows by keys. A plan that is made while a table is small, and kept, would read all of it
when it is large."""
STALE = frozenset({"0A000", "26000"})
"""What the server says of a prepared statement whose table changed, or that it does not know any more."""


@dataclass(slots=True)
class _Prepared:
    """The statements that a connection's session has prepared, and how often others were sent."""

    names: dict[str, bytes] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    number: int = 0

    def due(self, sql: str) -> bytes | None:
        """The name under which the statement is to be prepared now; None where it is not."""
        count = self.sent[sql] = self.sent.get(sql, 0) + 1
        if count < PREPARED_AFTER or len(self.names) >= PREPARED_MOST:
            return None
        self.number += 1
        return b"hpo_%d" % self.number

    def forget(self) -> None:
        self.names.clear()
        self.sent.clear()


def watch(engine: Engine) -> None:
    """Know what sessions have prepared: psycopg has a session forget all of it after a rollback."""

    @event.listens_for(engine, "rollback")
    def forget(conn: Connection) -> None:
        if not conn.invalidated and (kept := conn.info.get(_KEPT)) is not None:
            kept.forget()

    @event.listens_for(engine, "reset")
    def forget_open(connection: Any, record: Any, _: Any) -> None:
        from psycopg.pq import TransactionStatus

        kept = record.info.get(_KEPT)
        if kept is not None and connection.info.transaction_status != TransactionStatus.IDLE:
            kept.forget()


class Turns:
    """The turns of one transaction on a connection that SQLAlchemy began and ends."""

    def __init__(self, conn: Connection, *, writes: bool) -> None:
        self._conn = conn
        self._settings = _BY_KEYS if writes else _AS_IT_IS
        self._waiting: list[tuple[str, Sequence[Any], Check | None]] = []
        self._loaded: Any = None

    def write(self, sql: str, values: Sequence[Any], check: Check | None = None) -> None:
        """Have a statement sent with the next turn. Its values are marked $1, $2 … in it."""
        self._waiting.append((sql, values, check))

    def read(self, reads: Sequence[Read]) -> list[list[Any]]:
        """The rows of each statement, named tuples, after all that waits has been done. Raises DBAPIError."""
        waiting, self._waiting = self._waiting, []
        statements = [(sql, values) for sql, values, _ in waiting] + list(reads)
        results = self._send(statements, commit=False)
        _check(waiting, results)
        return [self._rows(result) for result in results[len(waiting) :]]

    def flush(self) -> None:
        """Have done what waits."""
        if self._waiting:
            self.read(())

    def commit(self) -> None:
        """Have done what waits, and commit: in one turn, unless what was changed has to be looked at first."""
        if any(check is not None for _, _, check in self._waiting):
            self.flush()
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._send([(sql, values) for sql, values, _ in waiting], commit=True)

    def _send(self, statements: Sequence[Read], *, commit: bool) -> list[PGresult]:
        import psycopg  # lazy: SQLite does without

        dumped = [(sql, [_dumped(value) for value in values]) for sql, values in statements]
        raw: Any = self._conn.connection.driver_connection
        kept = self._conn.info.setdefault(_KEPT, _Prepared())
        try:
            return _turn(raw, kept, dumped, settings=self._settings, commit=commit)
        except psycopg.Error as error:
            if error.sqlstate in STALE:
                kept.forget()
            raise self._translated(raw, error) from error
        except BaseException as error:  # answers may be under way that nobody will read
            self._conn.invalidate(error)
            raise

    def _translated(self, raw: psycopg.Connection[Any], error: psycopg.Error) -> DBAPIError:
        """As SQLAlchemy would raise it."""
        gone = bool(raw.closed) or error.sqlstate is None
        if gone:
            self._conn.invalidate(error)
        dialect = self._conn.dialect
        base: Any = dialect.loaded_dbapi.Error
        found = DBAPIError.instance(None, None, error, base, connection_invalidated=gone, dialect=dialect)
        assert isinstance(found, DBAPIError)
        return found

    def _rows(self, result: PGresult) -> list[Any]:
        if self._loaded is None:
            from psycopg.adapt import Transformer

            self._loaded = Transformer(self._conn.connection.driver_connection)
        make = _row_class(tuple(result.fname(i) for i in range(result.nfields)))
        self._loaded.set_pgresult(result)
        rows: list[Any] = self._loaded.load_rows(0, result.ntuples, make)
        return rows


def _check(waiting: Iterable[tuple[str, Sequence[Any], Check | None]], results: Sequence[PGresult]) -> None:
    for (_, _, check), result in zip(waiting, results, strict=False):
        if check is not None:
            check(result.command_tuples or 0)


def _turn(
    raw: psycopg.Connection[Any], kept: _Prepared, statements: Sequence[tuple[str, Sequence[bytes | None]]], *,
    settings: Sequence[bytes], commit: bool,
) -> list[PGresult]:  # fmt: skip
    """Send it all at once, then read all answers; raises psycopg.Error for the first that fails."""
    from psycopg.pq import TransactionStatus

    pgconn = raw.pgconn
    pgconn.enter_pipeline_mode()
    told: list[bool] = []  # of each answer to come, whether it is one of the statements'
    fresh: dict[str, bytes] = {}
    if pgconn.transaction_status == TransactionStatus.IDLE:
        pgconn.send_query_params(b"BEGIN", None)
        told.append(False)
        for command in settings:
            pgconn.send_query_params(command, None)
            told.append(False)
    for sql, values in statements:
        name = kept.names.get(sql) or fresh.get(sql)
        if name is None and (name := kept.due(sql)) is not None:
            fresh[sql] = name
            pgconn.send_prepare(name, sql.encode())
            told.append(False)
        if name is not None:
            pgconn.send_query_prepared(name, values)
        else:
            pgconn.send_query_params(sql.encode(), values)
        told.append(True)
    if commit:
        pgconn.send_query_params(b"COMMIT", None)
        told.append(False)
    pgconn.pipeline_sync()
    results = _answers(raw, len(told))
    kept.names |= fresh
    return [result for result, wanted in zip(results, told, strict=True) if wanted]


def _answers(raw: psycopg.Connection[Any], count: int) -> list[PGresult]:
    """The answers to so many messages, and the end of the pipeline. Raises the first error among them."""
    from psycopg.errors import OperationalError, error_from_result
    from psycopg.pq import ExecStatus

    pgconn = raw.pgconn
    while pgconn.flush():
        _poll(pgconn.socket, select.POLLIN | select.POLLOUT)
        pgconn.consume_input()
    found: list[PGresult] = []
    failed: Exception | None = None
    for _ in range(count):
        result = _answer(pgconn)
        if result is None:
            raise OperationalError("the server closed the connection")
        _answer(pgconn)  # None: there is no more to this one
        if failed is None and result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
            failed = error_from_result(result, encoding=raw.info.encoding)
        found.append(result)
    _answer(pgconn)  # the end
    pgconn.exit_pipeline_mode()
    if failed is not None:
        raise failed
    return found


def _answer(pgconn: PGconn) -> PGresult | None:
    """The next answer. Others have the interpreter while it is waited for."""
    while pgconn.is_busy():
        _poll(pgconn.socket, select.POLLIN)
        pgconn.consume_input()
    return pgconn.get_result()


def _poll(descriptor: int, events: int) -> None:
    waiting = select.poll()
    waiting.register(descriptor, events)
    waiting.poll()


@functools.lru_cache(maxsize=512)
def _row_class(names: tuple[bytes | None, ...]) -> Callable[[Sequence[Any]], Any]:
    make: Any = namedtuple  # its names are known at run time only
    made: Callable[[Sequence[Any]], Any] = make("Row", [(name or b"").decode() for name in names], rename=True)._make
    return made


def _dumped(value: Any) -> bytes | None:
    """A value as the text that PostgreSQL reads; its type follows from where it stands."""
    if value is None:
        return None
    if isinstance(value, list):
        return ("{" + ",".join(map(_element, value)) + "}").encode()
    return _plain(value).encode()


def _plain(value: Any) -> str:
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("text holds no NUL in PostgreSQL")
        return value
    if isinstance(value, bool):
        return "t" if value else "f"
    return float.__repr__(value) if isinstance(value, float) else str(value)


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return '"' + _plain(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
    return _plain(value)
