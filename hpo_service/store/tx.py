"""One transaction: statements, the clock, bulk writes in each dialect's fastest plain form. Knows no verb."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    CursorResult,
    Double,
    Executable,
    Row,
    Table,
    any_,
    bindparam,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY

from hpo_service.core.events import Event
from hpo_service.store.turns import Check, Read, Turns

PAGE = 10_000
"""Rows that are fetched at once where many are read."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PG_NOW = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"


def to_datetime(us: int) -> datetime:
    """Microseconds since 1970 as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=us)


def to_datetime_or_none(us: int | None) -> datetime | None:
    return None if us is None else to_datetime(us)


def utc_us(moment: datetime) -> int:
    """Inverse of `to_datetime`."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


_strictly: Callable[[Any], str] = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def dump(value: Any) -> str:
    """Compact JSON. The caller has replaced what is not finite; raises ValueError where it has not."""
    try:
        found = orjson.dumps(value)
    except TypeError:  # numbers beyond 64 bits, lone surrogates: the standard library can
        return _strictly(value)
    return _strictly(value) if b"null" in found else found.decode()  # NaN would have become null without a word


def load_numbers(document: str) -> Any:
    """The JSON of metric values: numbers within a double, and words. Not for parameters: integers may be larger."""
    try:
        return orjson.loads(document)
    except orjson.JSONDecodeError:
        return json.loads(document)


def clean(text: str) -> str:
    """Text that every database can hold: no NUL, no lone surrogates."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


class Standing(NamedTuple):
    """How a trial stands."""

    number: int
    state: str
    fence: int


class Tx:
    """An open transaction. `now` is the database's clock, read once; `appended` are the events that it writes.

    On PostgreSQL bulk writes wait until something is read, or until the end, and go there in one turn (`turns`)."""

    def __init__(self, conn: Connection, clock: Callable[[], int] | None, *, writes: bool = False) -> None:
        self._conn = conn
        self.appended: list[Event] = []
        self.locked: dict[str, Any] = {}  # the studies whose rows it holds, as they stand in it; see `eventlog`
        self.at_end: list[Callable[[], None]] = []  # what is still to be written, once, when all is known
        self.moved: dict[str, set[str]] | None = None  # columns of studies that are written at the end; see `eventlog`
        self.events: list[tuple[Any, ...]] = []  # rows of events that are
        self.trials: dict[tuple[str, int], Standing] = {}  # of locked studies, as it has changed them last
        self.sqlite = conn.dialect.name == "sqlite"
        self._turns = Turns(conn, writes=writes)
        self._clock = clock
        self._now: int | None = None

    @property
    def conn(self) -> Connection:
        """SQLAlchemy's connection, with all done that waited."""
        self._turns.flush()
        return self._conn

    def settle(self) -> None:
        """Write what was left for the end."""
        ends, self.at_end = self.at_end, []
        for end in ends:
            end()

    def commit(self) -> None:
        """Have done what waits, on PostgreSQL in one turn with the commit; on SQLite whoever began it commits."""
        self._turns.commit()

    @property
    def now(self) -> int:
        """Microseconds since 1970. SQLite lives in this process, so its clock is this machine's."""
        if self._now is None:
            if self._clock is not None:
                self._now = self._clock()
            elif self.sqlite:
                self._now = time.time_ns() // 1000
            else:
                self._now = int(self.conn.exec_driver_sql(f"SELECT {PG_NOW}").scalar_one())
        return self._now

    def told_now(self, us: int) -> None:
        """The database's clock came with another answer."""
        if self._now is None and self._clock is None:
            self._now = us

    def execute(self, statement: Executable) -> CursorResult[Any]:
        result: CursorResult[Any] = self.conn.execute(statement)
        return result

    def all(self, statement: Executable) -> Sequence[Row[Any]]:
        return self.conn.execute(statement).all()

    def first(self, statement: Executable) -> Row[Any] | None:
        return self.conn.execute(statement).first()

    def text(self, sql: str, *values: Any) -> Sequence[Row[Any]]:
        """The rows of a statement written out, with a question mark for each value: where composing one costs more than
        running it."""
        return self.texts((sql, values))[0]

    def texts(self, *reads: Read) -> list[Sequence[Row[Any]]]:
        """The rows of several such statements, in one turn."""
        if self.sqlite:
            return [self._conn.exec_driver_sql(sql, tuple(values)).all() for sql, values in reads]
        found: list[Any] = self._turns.read([(_numbered(sql), values) for sql, values in reads])
        return found

    def raw(self, sql: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """The same, row by row as the driver gives them."""
        result = self.conn.exec_driver_sql(sql if self.sqlite else _percented(sql), values)
        cursor = result.cursor
        assert cursor is not None
        while rows := cursor.fetchmany(PAGE):
            yield from rows

    @property
    def in_list(self) -> str:
        """The condition of `text` and `raw` for a column of whole numbers that is to be among `listed` ones."""
        return "IN (SELECT value FROM json_each(?))" if self.sqlite else "= ANY(?::bigint[])"

    def listed(self, numbers: Iterable[int]) -> Any:
        """The value that belongs to `in_list`."""
        return json.dumps(list(numbers)) if self.sqlite else list(numbers)

    def write(self, sql: str, *values: Any) -> None:
        """Have a statement done that gives nothing, with a question mark for each value."""
        if self.sqlite:
            self._conn.exec_driver_sql(sql, values)
        else:
            self._turns.write(_numbered(sql), values)

    def among(self, column: ColumnElement[Any], values: Iterable[Any]) -> ColumnElement[bool]:
        """`column IN values` with one bound parameter, however many values there are."""
        listed = list(values)
        if self.sqlite:
            each = func.json_each(json.dumps(listed)).table_valued("value")
            return column.in_(select(each.c.value))
        return column == any_(bindparam(None, listed, ARRAY(column.type)))

    def insert(
        self, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], *, conflict: str = ""
    ) -> None:
        """Insert many rows. `conflict` is the tail of the statement: "ON CONFLICT DO NOTHING"."""
        if not rows:
            return
        if self.sqlite:
            names, marks = ", ".join(_quoted(c) for c in columns), ", ".join("?" * len(columns))
            self._conn.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({marks}) {conflict}", list(rows))
            return
        self._turns.write(_insert(table, tuple(columns), conflict), _arrays(rows))

    def update(
        self,
        table: Table,
        keys: Sequence[str],
        columns: Sequence[str],
        rows: Sequence[tuple[Any, ...]],
        *,
        where: str = "",
        check: Check | None = None,
    ) -> None:
        """Set `columns` of many rows found by `keys`; each row holds the columns' values, then the keys'.

        `where` is a further condition on the stored row, with the table as `t`. `check` is told how many rows were
        changed, before the transaction is committed.
        """
        if not rows:
            return
        if not self.sqlite:
            sql = _update(table, tuple(keys), tuple(columns), where)
            self._turns.write(sql, _arrays(rows), check)
            return
        sets = ", ".join(f"{_quoted(c)} = ?" for c in columns)
        found = " AND ".join(f"t.{_quoted(k)} = ?" for k in keys)
        sql = f"UPDATE {table.name} AS t SET {sets} WHERE {found}{_and(where)}"
        result = self._conn.exec_driver_sql(sql, list(rows))
        if check is not None:
            check(int(result.rowcount))


@functools.lru_cache(maxsize=256)
def _insert(table: Table, columns: tuple[str, ...], conflict: str) -> str:
    names = ", ".join(_quoted(c) for c in columns)
    return f"INSERT INTO {table.name} ({names}) SELECT * FROM {_unnest(table, columns)} AS v {conflict}"


@functools.lru_cache(maxsize=256)
def _update(table: Table, keys: tuple[str, ...], columns: tuple[str, ...], where: str) -> str:
    names = (*columns, *keys)
    places = ", ".join(f"c{i}" for i in range(len(names)))
    sets = ", ".join(f"{_quoted(c)} = v.c{i}" for i, c in enumerate(columns))
    found = " AND ".join(f"t.{_quoted(k)} = v.c{len(columns) + i}" for i, k in enumerate(keys))
    values = f"{_unnest(table, names)} AS v({places})"
    return f"UPDATE {table.name} AS t SET {sets} FROM {values} WHERE {found}{_and(where)}"


def _and(where: str) -> str:
    return f" AND ({where})" if where else ""


@functools.lru_cache(maxsize=256)
def _percented(sql: str) -> str:
    return sql.replace("?", "%s")


@functools.lru_cache(maxsize=512)
def _numbered(sql: str) -> str:
    first, *others = sql.split("?")
    return first + "".join(f"${number}{part}" for number, part in enumerate(others, start=1))


def _quoted(name: str) -> str:
    return f'"{name}"'


def _pg_type(table: Table, column: str) -> str:
    kind = table.c[column].type
    if isinstance(kind, BigInteger):
        return "bigint"
    if isinstance(kind, Double):
        return "double precision"
    return "boolean" if isinstance(kind, Boolean) else "text"


def _unnest(table: Table, columns: Sequence[str]) -> str:
    return f"unnest({', '.join(f'${i}::{_pg_type(table, c)}[]' for i, c in enumerate(columns, start=1))})"


def _arrays(rows: Sequence[tuple[Any, ...]]) -> tuple[list[Any], ...]:
    """The rows' columns, as lists."""
    return tuple(map(list, zip(*rows, strict=True)))
