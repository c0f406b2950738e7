"""Reading studies: by id, by id or name, in pages, and those that a controller must look at. Writes nothing."""

from __future__ import annotations

import difflib

from sqlalchemy import ColumnElement, Select, and_, func, or_, select

from hpo_service.core.states import StudyState
from hpo_service.errors import Ambiguous, NotFound
from hpo_service.store import cursors
from hpo_service.store.database import Database
from hpo_service.store.mapping import study_row
from hpo_service.store.rows import Page, StudyRow
from hpo_service.store.tables import studies, study_tags

MAX_NAMES = 2000


def get_study(db: Database, study_id: str) -> StudyRow:
    """The study with this id. Raises NotFound."""
    with db.read() as tx:
        row = tx.first(select(studies).where(studies.c.id == study_id, studies.c.deleted_at.is_(None)))
    if row is None:
        raise NotFound(f"there is no study {study_id!r}", remedy="list the studies with `hpo studies`")
    return study_row(row)


def find_study(db: Database, id_or_name: str, project: str | None = None) -> StudyRow:
    """The study with this id, or else this name. Raises NotFound with the nearest names, Ambiguous with the ids."""
    alive: list[ColumnElement[bool]] = [studies.c.deleted_at.is_(None)]
    if project is not None:
        alive.append(studies.c.project == project)
    with db.read() as tx:
        row = tx.first(select(studies).where(studies.c.id == id_or_name, *alive))
        if row is not None:
            return study_row(row)
        newest = studies.c.created_at.desc()
        rows = tx.all(select(studies).where(studies.c.name == id_or_name, *alive).order_by(newest).limit(11))
        if len(rows) == 1:
            return study_row(rows[0])
        names = [r.name for r in tx.all(select(studies.c.name).where(*alive).order_by(newest).limit(MAX_NAMES))]
    if rows:
        ids = ", ".join(r.id for r in rows[:10]) + (", …" if len(rows) > 10 else "")
        raise Ambiguous(
            f"a name must belong to one study here, but {id_or_name!r} is shared by {ids}", remedy="use an id"
        )
    close = difflib.get_close_matches(id_or_name, dict.fromkeys(names), n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "list the studies with `hpo studies`"
    raise NotFound(f"there is no study {id_or_name!r}", remedy=hint)


def list_studies(
    db: Database,
    *,
    state: StudyState | str | None = None,
    project: str | None = None,
    tag: str | None = None,
    search: str | None = None,
    name: str | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Page:
    """Studies, newest first. `search` is a piece of the name or the notes, in any case; `name` is the whole name.
    Raises InvalidInput for a broken cursor."""
    chosen = _chosen(state=state, project=project, tag=tag, search=search, name=name)
    statement = chosen.order_by(studies.c.created_at.desc(), studies.c.id.desc()).limit(limit + 1)
    if cursor is not None:
        at, last = cursors.unpack(cursor, "studies", (int, str))
        statement = statement.where(
            or_(studies.c.created_at < at, and_(studies.c.created_at == at, studies.c.id < last))
        )
    with db.read() as tx:
        rows = tx.all(statement)
        total = tx.execute(select(func.count()).select_from(chosen.subquery())).scalar_one()
    more = len(rows) > limit
    rows = rows[:limit]
    following = cursors.pack("studies", (rows[-1].created_at, rows[-1].id)) if more else None
    return Page(rows=tuple(study_row(row) for row in rows), next_cursor=following, total=int(total))


def confirming(db: Database, study_id: str) -> list[StudyRow]:
    """The studies that train trials of this one again with new seeds, oldest first."""
    c = studies.c
    statement = select(studies).where(c.confirms == study_id, c.confirms.is_not(None), c.deleted_at.is_(None))
    with db.read() as tx:
        return [study_row(row) for row in tx.all(statement.order_by(c.created_at, c.id))]


# Built once: the controller asks many times a second, and building a statement takes longer than running it.
_ACTIVE = (
    select(studies)
    .where(
        or_(
            studies.c.state.in_((StudyState.PREFLIGHT.value, StudyState.RUNNING.value)),
            and_(studies.c.state == StudyState.PAUSED.value, studies.c.open_attempts > 0),
        ),
        studies.c.deleted_at.is_(None),
    )
    .order_by(studies.c.created_at, studies.c.id)
)


def active_studies(db: Database) -> list[StudyRow]:
    """What a controller must look at: studies in preflight, running, or paused with open attempts; oldest first."""
    with db.read() as tx:
        return [study_row(row) for row in tx.all(_ACTIVE)]


def _chosen(
    *,
    state: StudyState | str | None,
    project: str | None,
    tag: str | None,
    search: str | None,
    name: str | None,
) -> Select[tuple[object, ...]]:
    statement = select(studies).where(studies.c.deleted_at.is_(None))
    if state is not None:
        statement = statement.where(studies.c.state == StudyState(state).value)
    if project is not None:
        statement = statement.where(studies.c.project == project)
    if name is not None:
        statement = statement.where(studies.c.name == name)
    if tag is not None:
        tagged = select(study_tags.c.study_id).where(study_tags.c.tag == tag)
        statement = statement.where(studies.c.id.in_(tagged))
    if search:
        statement = statement.where(
            or_(
                studies.c.name.icontains(search, autoescape=True),
                studies.c.notes.icontains(search, autoescape=True),
            )
        )
    return statement
