"""A study as rows to carry elsewhere, and back: all that the tables hold of it, but what belongs to this installation.

Left out are its id, project and lease, and what lies in files (checkpoints, artifacts). `digest` is over the rest:
a study that was carried elsewhere has the same one there. Not here: the archive's form, and who may read one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import orjson
from sqlalchemy import BigInteger, Boolean, Column, Double, Table, Text, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from hpo_service.core.states import ENDED_STUDY, StudyState
from hpo_service.errors import Conflict, InvalidInput, NotFound
from hpo_service.store import eventlog
from hpo_service.store import texts as texts_store
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
WHOLE_TEXT_BYTES = 256 << 10
"""Of longer texts the beginning alone may be stored, under the digest of all."""
_OF_ATTEMPTS = ("code", "data", "run", "variables")
_OWN = frozenset({"id", "project", "lease_holder", "lease_expires_at", "deleted_at", "purged"})
_KINDS: Mapping[type[Any], tuple[type, ...]] = {
    BigInteger: (int,),
    Double: (int, float),
    Text: (str,),
    Boolean: (bool,),
}
Row = Sequence[Any]


def columns_of(table: Table) -> list[str]:
    """The columns that are carried, in their order."""
    skipped = _OWN if table is studies else {"study_id"}
    return [column.name for column in table.columns if column.name not in skipped]


def study_of(db: Database, study_id: str) -> dict[str, Any]:
    """The study's own row. Raises NotFound; Conflict while something of it is under way."""
    with db.read() as tx:
        row = tx.first(select(studies).where(studies.c.id == study_id, studies.c.deleted_at.is_(None)))
    if row is None:
        raise NotFound(f"there is no study {study_id!r}", remedy="list the studies with `hpo studies`")
    state = StudyState(row.state)
    if row.open_attempts or not (state in ENDED_STUDY or state is StudyState.PAUSED):
        raise Conflict(
            f"a study is archived at rest, but study {study_id} is {state.value}, {row.open_attempts} attempts open",
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
        yield from (tuple(row) for row in found)
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
        git = (json.loads(document).get("code") or {}).get("git") or {}
        digests.add(str(git.get("diff_sha256")))
    yield from sorted(texts_store.read(db, digests).items())


class Digest:
    """SHA-256 over a study's row and those of its tables, told in the order of `TABLES`."""

    def __init__(self, study: Mapping[str, Any]) -> None:
        self._sha = hashlib.sha256()
        self._tell("studies", [study[name] for name in columns_of(studies)])

    def take(self, table: Table, row: Row) -> None:
        """The next row."""
        self._tell(table.name, list(row))

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
    values = checked(studies, [study.get(name) for name in columns_of(studies)])
    row = dict(zip(columns_of(studies), values, strict=True))

    def work(tx: Tx) -> None:
        if tx.first(select(studies.c.id).where(studies.c.id == study_id)) is not None:
            raise Conflict(f"a study's id is given once, but there is or was a study {study_id}")
        tx.execute(insert(studies).values({**row, "id": study_id, "project": project, "deleted_at": tx.now}))

    db.run_write("archiving.begin", work)


def put(db: Database, study_id: str, table: Table, rows: Iterable[Row]) -> int:
    """Write rows of a hidden study, `ROWS` at a time; how many there were. Raises InvalidInput for values that do not
    belong in their columns."""
    names = ("study_id", *columns_of(table))
    count, given = 0, iter(rows)
    while some := [(study_id, *checked(table, row)) for row in islice(given, ROWS)]:
        try:
            db.run_write("archiving.put", lambda tx, some=some: tx.insert(table, names, some))  # type: ignore[misc]
        except IntegrityError as error:
            raise InvalidInput(
                f"rows of {table.name} refer to rows that are there, each once, but {error.orig}",
                remedy="archive the study again",
            ) from None
        count += len(some)
    return count


def put_environments(db: Database, documents: Sequence[tuple[str, str]], named: Sequence[tuple[str, str]] = ()) -> None:
    """Keep environments, and the texts that they name; those that are known stay as they are. Raises InvalidInput for
    one that is not what its digest says: others would be told of it."""
    for name, document in documents:
        if not _proven(name, document):
            raise InvalidInput(f"an environment has the digest of what it holds, but {name!r:.80} has not")
    for name, content in named:
        whole = len(content.encode()) < WHOLE_TEXT_BYTES
        if whole and hashlib.sha256(content.encode()).hexdigest() != name:
            raise InvalidInput(f"a text is named by its SHA-256, but {name!r:.80} is not")

    def work(tx: Tx) -> None:
        rows = [(name, document, tx.now) for name, document in documents]
        tx.insert(environments, ("digest", "document", "created_at"), rows, conflict="ON CONFLICT DO NOTHING")
        more = [(name, content, tx.now) for name, content in named]
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


def checked(table: Table, row: Row) -> list[Any]:
    """The row's values, each of the kind that its column holds. Raises InvalidInput."""
    names = columns_of(table)
    if len(row) != len(names):
        raise InvalidInput(f"a row of {table.name} has {len(names)} values, but got {len(row)}")
    return [_value(table.c[name], value) for name, value in zip(names, row, strict=True)]


def _proven(digest: str, document: str) -> bool:
    """Whether an environment is the one that its digest names: `workers.environment` makes them."""
    try:
        found = json.loads(document)
        if found.pop("digest", None) is None:
            return hashlib.sha256(document.encode()).hexdigest() == digest
        own = {name: found.pop(name) for name in _OF_ATTEMPTS if name in found}
        return _sha256({"base": _sha256(found), **own}) == digest
    except (ValueError, AttributeError):
        return False


def _sha256(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _value(column: Column[Any], value: Any) -> Any:
    if value is None and column.nullable:
        return None
    kinds = next(kinds for kind, kinds in _KINDS.items() if isinstance(column.type, kind))
    if type(value) not in kinds:
        raise InvalidInput(
            f"{column.table.name}.{column.name} holds {kinds[-1].__name__}, but got {value!r:.80}",
            remedy="archive the study again",
        )
    return float(value) if isinstance(column.type, Double) else value


def _ordered(db: Database, column: Column[Any]) -> Any:
    """The column as it is compared byte by byte, whatever the database's own rules for text are."""
    if isinstance(column.type, Text) and db.engine.dialect.name != "sqlite":
        return column.collate("C")
    return column
