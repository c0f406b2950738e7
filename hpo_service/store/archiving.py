"""A study as rows to carry elsewhere, and back: all that the tables hold of it, but what belongs to this installation.

Left out are its id, project and lease, what lies in files (checkpoints, artifacts, predictions), and what was trained
again here (reproductions). `digest` is over the rest: a study that was carried elsewhere has the same one there. Not
here: what an archive may hold (`archive_checks`), its form, and who may read one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Column, Table, Text, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from hpo_service.errors import Conflict, InvalidInput, NotFound
from hpo_service.store import eventlog
from hpo_service.store import texts as texts_store
from hpo_service.store.archive_checks import (
    REMEDY,
    RESTING,
    Row,
    checked,
    checked_environment,
    checked_text,
    columns_of,
    trimmed,
)
from hpo_service.store.database import Database
from hpo_service.store.tables import (
    attempts,
    environments,
    events,
    improvements,
    log_chunks,
    reports,
    studies,
    study_tags,
    surrogate_views,
    texts,
    trial_params,
    trial_tags,
    trial_values,
    trials,
)
from hpo_service.store.tx import Tx

TABLES: tuple[Table, ...] = (
    study_tags,
    events,
    improvements,
    trials,
    trial_tags,
    trial_params,
    trial_values,
    attempts,
    reports,
    log_chunks,
    surrogate_views,
)
"""In an order in which every row finds what it refers to."""
ROWS = 5_000
"""Rows that are read or written in one transaction."""
CHARACTERS = 16 << 20
"""Of texts that are written in one transaction, or a row more."""


def study_of(db: Database, study_id: str) -> dict[str, Any]:
    """The study's own row. Raises NotFound; Conflict while something of it is under way."""
    with db.read() as tx:
        row = tx.first(select(studies).where(studies.c.id == study_id, studies.c.deleted_at.is_(None)))
    if row is None:
        raise NotFound(f"there is no study {study_id!r}", remedy="list the studies with `hpo studies`")
    if row.open_attempts or row.state not in RESTING:
        raise Conflict(
            f"a study is archived at rest, but study {study_id} is {row.state}, {row.open_attempts} attempts open",
            remedy="wait for its end, or pause it first with `hpo pause`",
        )
    return {name: getattr(row, name) for name in columns_of(studies)}


def rows_of(db: Database, study_id: str, table: Table) -> Iterator[Row]:
    """The study's rows of a table in the order of their keys, read piece by piece."""
    keys = [_ordered(db, column) for column in table.primary_key.columns if column.name != "study_id"]
    names = [column.name for column in table.primary_key.columns if column.name != "study_id"]
    chosen = columns_of(table)
    places = [chosen.index(name) for name in names]
    statement = select(*(table.c[name] for name in chosen)).where(table.c.study_id == study_id).order_by(*keys)
    last: Row | None = None
    while True:
        page = statement
        if last is not None and keys:
            page = statement.where(tuple_(*keys) > tuple_(*(last[place] for place in places)))
        with db.read() as tx:
            found = tx.all(page.limit(ROWS))
        yield from (trimmed(table, tuple(row)) for row in found)
        if len(found) < ROWS or not keys:
            return
        last = tuple(found[-1])


def environments_of(db: Database, study_id: str) -> Iterator[tuple[str, str]]:
    """(digest, document) of every environment in which the study's attempts ran."""
    known = select(attempts.c.environment_digest).where(attempts.c.study_id == study_id).distinct()
    with db.read() as tx:
        rows = tx.all(
            select(environments.c.digest, environments.c.document)
            .where(environments.c.digest.in_(known))
            .order_by(environments.c.digest)
        )
    for row in rows:
        yield row.digest, row.document


def texts_of(db: Database, study_id: str) -> Iterator[tuple[str, str]]:
    """(digest, content) of every text that those environments name."""
    digests = set()
    for _, document in environments_of(db, study_id):
        code = json.loads(document).get("code")
        git = code.get("git") if isinstance(code, dict) else None
        if isinstance(git, dict):
            digests.add(str(git.get("diff_sha256")))
    yield from sorted(texts_store.read(db, digests).items())


class Digest:
    """SHA-256 over a study's row and those of its tables, told in the order of `TABLES`."""

    def __init__(self, study: Mapping[str, Any]) -> None:
        self._sha = hashlib.sha256()
        self.take(studies, [study[name] for name in columns_of(studies)])

    def take(self, table: Table, row: Row) -> None:
        """The next row."""
        self._tell(table.name, list(trimmed(table, row)))

    def _tell(self, name: str, values: list[Any]) -> None:
        """Zero has no sign: SQLite keeps none."""
        plain = [value + 0.0 if type(value) is float else value for value in values]
        self._sha.update(orjson.dumps([name, plain]) + b"\n")

    def hexdigest(self) -> str:
        return self._sha.hexdigest()


def digest(db: Database, study_id: str) -> str:
    """The digest of a study at rest. Raises NotFound, Conflict."""
    found = Digest(study_of(db, study_id))
    for table in TABLES:
        for row in rows_of(db, study_id, table):
            found.take(table, row)
    return found.hexdigest()


def begin(db: Database, study_id: str, study: Mapping[str, Any], *, project: str) -> None:
    """Put the study's row, hidden as a deleted one is: what is left of a restoring that broke off is removed as a
    deletion that broke off. Raises Conflict where a study has, or had, this id."""
    row = {name: study[name] for name in columns_of(studies)}

    def work(tx: Tx) -> None:
        tx.execute(insert(studies).values({**row, "id": study_id, "project": project, "deleted_at": tx.now}))

    try:
        db.run_write("archiving.begin", work)
    except IntegrityError:
        raise Conflict(
            f"a study's id is given once, but there is or was a study {study_id}", remedy="restore it again"
        ) from None


def put(db: Database, study_id: str, table: Table, rows: Iterable[Row]) -> int:
    """Write rows of a hidden study, `ROWS` at a time or fewer long ones; how many there were. Raises InvalidInput for
    values that do not belong in their columns."""
    names, count = ("study_id", *columns_of(table)), 0
    for some in _portions((study_id, *checked(table, row)) for row in rows):
        try:
            db.run_write("archiving.put", lambda tx, some=some: tx.insert(table, names, some))  # type: ignore[misc]
        except IntegrityError as error:
            raise InvalidInput(
                f"rows of {table.name} refer to rows that are there, each once, but {error.orig}", remedy=REMEDY
            ) from None
        count += len(some)
    return count


def _portions(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    some: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        some.append(row)
        size += sum(len(value) for value in row if isinstance(value, str))
        if len(some) == ROWS or size > CHARACTERS:
            yield some
            some, size = [], 0
    if some:
        yield some


def put_environments(db: Database, documents: Sequence[tuple[str, str]], named: Sequence[tuple[str, str]] = ()) -> None:
    """Keep environments, and the texts that they name; those that are known stay as they are. Raises InvalidInput for
    one that is not what its digest says: others would be told of it."""
    environments_told = [checked_environment(name, document) for name, document in documents]
    texts_told = [checked_text(name, content) for name, content in named]

    def work(tx: Tx) -> None:
        rows = [(name, document, tx.now) for name, document in environments_told]
        tx.insert(environments, ("digest", "document", "created_at"), rows, conflict="ON CONFLICT DO NOTHING")
        more = [(name, content, tx.now) for name, content in texts_told]
        tx.insert(texts, ("digest", "content", "created_at"), more, conflict="ON CONFLICT DO NOTHING")

    db.run_write("archiving.put_environments", work)


def reveal(db: Database, study_id: str) -> None:
    """Show a hidden study, whole by now."""

    def work(tx: Tx) -> None:
        shown = update(studies).where(studies.c.id == study_id, studies.c.purged.is_(False))
        if tx.execute(shown.values(deleted_at=None)).rowcount != 1:
            raise Conflict(f"study {study_id} was removed while it was restored", remedy="restore it again")
        eventlog.lock_study(tx, study_id)

    db.run_write("archiving.reveal", work)


def _ordered(db: Database, column: Column[Any]) -> Any:
    """The column as it is compared byte by byte, whatever the database's own rules for text are."""
    if isinstance(column.type, Text) and db.engine.dialect.name != "sqlite":
        return column.collate("C")
    return column
