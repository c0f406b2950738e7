"""Pages of trials: filters, any sort, keyset cursors that survive inserts. Writes nothing.

A sort is a chain of stretches, each one walk along an index: trials whose value is a number, then (parameters) those
whose value is text, then those without one, by number. Failed trials and values that are not finite count as without
one wherever a metric or the objective is the key. By the objective what keeps all constraints comes first, and what
does not, or is not known to, after all of it. A page is filled from the stretch that its cursor names onwards.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    FromClause,
    Row,
    Select,
    and_,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
)

from hpo_service.core.states import TrialState
from hpo_service.errors import FieldProblem, InvalidInput, NotFound
from hpo_service.store import cursors
from hpo_service.store.database import Database
from hpo_service.store.mapping import trial_row
from hpo_service.store.rows import Page
from hpo_service.store.tables import TRIAL_STATES, studies, trial_params, trial_tags, trial_values, trials
from hpo_service.store.tx import Tx

MAX_LIMIT = 1000
FEW = 500
"""So few matching trials are found first: a walk along the sort's index would read the whole study to meet them."""
RARE = 1000
"""So few trials that a parameter's or metric's filter finds are listed first, at about a microsecond each."""
_NUMBER = (int, float)
_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "state": trials.c.state,
    "number": trials.c.number,
    "origin": trials.c.origin,
    "bracket": trials.c.bracket,
    "rung": trials.c.rung,
    "value": trials.c.sort_value,
    "resource": trials.c.resource,
    "cost": trials.c.cost_microdollars,
    "seconds": trials.c.seconds,
    "violation": trials.c.violation,
}
_NULLABLE = frozenset({"bracket", "rung", "value", "violation"})
FEASIBLE = ("yes", "no", "unknown")
"""Whether a trial keeps all constraints."""
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """A condition on trials. `field`: state, number, origin, bracket, rung, value, resource, cost, seconds, violation,
    feasible, tag, param.NAME or metric.NAME; `op`: = != < <= > >= in; `value`: a JSON scalar, a sequence of them for
    `in`; of feasible one of `FEASIBLE`."""

    field: str
    op: str
    value: Any


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A walk along one index: rows of `source` under `where`, ordered by `key` (None: by number) and number."""

    source: FromClause
    key: ColumnElement[Any] | None
    number: ColumnElement[Any]
    where: tuple[ColumnElement[bool], ...]
    kinds: tuple[type, ...] = (type(None),)  # of the key, in cursors
    turns: bool = False  # without a key: whether a descending sort turns it round


def _listing(sort: str) -> str:
    """The name of the listing in its cursors."""
    return f"trials:{sort}"


def trials_page(
    db: Database,
    study_id: str,
    *,
    filters: Sequence[Filter] = (),
    sort: str = "number",
    cursor: str | None = None,
    limit: int = 50,
) -> Page:
    """A page of trials that meet every filter. `sort` is a field with an optional leading minus; missing values and
    failed trials come last either way; ties by number. Raises NotFound, and InvalidInput for an unknown field, an
    operator that does not fit or a broken cursor."""
    limit = max(1, min(limit, MAX_LIMIT))
    descending, field = sort.startswith("-"), sort.removeprefix("-")
    conditions = [_condition(study_id, f) for f in filters]
    rows: list[tuple[int, Any]] = []
    with db.read() as tx:
        study = _study(tx, study_id)
        stretches = _stretches(study_id, field, constrained=study.constraints is not None)
        begin, key, number = _position(cursor, _listing(sort), stretches)
        total = _total(study, filters)
        if total == 0:
            return Page(rows=(), next_cursor=None, total=0)
        if filters and total is not None and total <= FEW:
            conditions.append(_among_few(tx, study_id, conditions))
        else:
            conditions += _rare(tx, study_id, filters)
        for index in range(begin, len(stretches)):
            after = (key, number) if index == begin else (None, None)
            need = limit + 1 - len(rows)
            rows += [(index, row) for row in _walk(tx, stretches[index], conditions, descending, after, need)]
            if len(rows) > limit:
                break
    following = None
    if len(rows) > limit:
        index, last = rows[limit - 1]
        last_key = None if stretches[index].key is None else last.sort_key
        following = cursors.pack(_listing(sort), (index, last_key, last.number))
        rows = rows[:limit]
    return Page(rows=tuple(trial_row(row) for _, row in rows), next_cursor=following, total=total)


def _among_few(tx: Tx, study_id: str, conditions: Sequence[ColumnElement[bool]]) -> ColumnElement[bool]:
    """The condition to be one of the matching trials, by number, which every stretch can look up."""
    found = tx.all(select(trials.c.number).where(trials.c.study_id == study_id, *conditions))
    return trials.c.number.in_([row.number for row in found])


def _rare(tx: Tx, study_id: str, filters: Sequence[Filter]) -> list[ColumnElement[bool]]:
    """The condition to be one of the trials that a parameter's or metric's filter finds, where those are few: the walk
    along a sort's index would else look at every trial that does not match."""
    for f in filters:
        prefix, _, name = f.field.partition(".")
        if f.op == "!=" or not name or prefix not in ("param", "metric"):
            continue
        p, v = trial_params.c, trial_values.c
        if prefix == "param":
            column = p.text if _is_text(f.value) else p.number
            found = select(p.trial).where(p.study_id == study_id, p.name == name, _compare(column, f))
        else:
            found = select(v.trial).where(v.study_id == study_id, v.name == name, _compare(v.number, f))
        numbers = [row.trial for row in tx.all(found.limit(RARE + 1))]
        if len(numbers) <= RARE:
            return [tx.among(trials.c.number, numbers)]
    return []


def _position(cursor: str | None, kind: str, stretches: Sequence[_Stretch]) -> tuple[int, Any, int | None]:
    """The stretch to begin with, and after which key and number."""
    if cursor is None:
        return 0, None, None
    index, key, number = cursors.unpack(cursor, kind, (int, (int, float, str, type(None)), int))
    if not 0 <= index < len(stretches) or not isinstance(key, stretches[index].kinds):
        raise InvalidInput.of(
            FieldProblem(path="cursor", rule="a cursor is what the page before gave as next_cursor", value=cursor)
        )
    return index, key, number


def _walk(
    tx: Tx,
    stretch: _Stretch,
    conditions: Sequence[ColumnElement[bool]],
    descending: bool,
    after: tuple[Any, int | None],
    need: int,
) -> list[Any]:
    """At most `need` rows of a stretch in order, from behind a position on. Every query walks an index in its own
    direction: equal keys go by ascending number either way, so they are walked apart from the others."""
    key, number = stretch.key, stretch.number
    after_key, after_number = after
    base = select(trials) if key is None else select(trials, key.label("sort_key"))
    base = base.select_from(stretch.source).where(*stretch.where, *conditions)
    if key is None:
        backwards = descending and stretch.turns
        if after_number is not None:
            base = base.where(number < after_number if backwards else number > after_number)
        return list(tx.all(base.order_by(number.desc() if backwards else number).limit(need)))
    rows: list[Any] = []
    if after_number is not None:
        equal = base.where(key == after_key, number > after_number)
        rows = list(tx.all(equal.order_by(number).limit(need)))
    if len(rows) < need:
        beyond = base
        if after_number is not None:
            beyond = base.where(key < after_key if descending else key > after_key)
        if descending:
            rows += _descend(tx, base, beyond, key, number, need - len(rows))
        else:
            rows += tx.all(beyond.order_by(key, number).limit(need - len(rows)))
    return rows


def _descend(
    tx: Tx, base: Select[Any], beyond: Select[Any], key: ColumnElement[Any], number: ColumnElement[Any], need: int
) -> list[Any]:
    """Rows of `beyond` by falling key and rising number: read backwards, each key's rows turned round; of the last
    key, whose rows may be cut off at the wrong end, the smallest numbers are read from `base`."""
    rows = list(tx.all(beyond.order_by(key.desc(), number.desc()).limit(need)))
    groups: dict[Any, list[Any]] = {}
    for row in rows:
        groups.setdefault(row.sort_key, []).append(row)
    if len(rows) == need:
        last = rows[-1].sort_key
        cut = len(groups.pop(last))
        groups[last] = list(reversed(tx.all(base.where(key == last).order_by(number).limit(cut))))
    return [row for group in groups.values() for row in reversed(group)]


def _stretches(study_id: str, field: str, *, constrained: bool) -> list[_Stretch]:
    t = trials.c
    mine = t.study_id == study_id
    if field == "number":
        return [_Stretch(trials, None, t.number, (mine,), turns=True)]
    if field in _COLUMNS:
        column = _COLUMNS[field]
        kinds = (str,) if field in ("state", "origin") else _NUMBER
        if field not in _NULLABLE:
            return [_Stretch(trials, column, t.number, (mine,), kinds)]
        if field == "value" and constrained:
            known = (mine, column.is_not(None))
            return [
                _Stretch(trials, column, t.number, (*known, t.violation == 0), kinds),
                _Stretch(trials, column, t.number, (*known, or_(t.violation > 0, t.violation.is_(None))), kinds),
                _Stretch(trials, None, t.number, (mine, column.is_(None))),
            ]
        return [
            _Stretch(trials, column, t.number, (mine, column.is_not(None)), kinds),
            _Stretch(trials, None, t.number, (mine, column.is_(None))),
        ]
    prefix, _, name = field.partition(".")
    if prefix == "param" and name:
        return _param_stretches(study_id, name)
    if prefix == "metric" and name:
        return _metric_stretches(study_id, name)
    raise _unknown("sort", field)


def _param_stretches(study_id: str, name: str) -> list[_Stretch]:
    p, t = trial_params.c, trials.c
    source = trial_params.join(trials, and_(t.study_id == p.study_id, t.number == p.trial))
    mine = (p.study_id == study_id, p.name == name)
    given = exists().where(p.study_id == t.study_id, p.trial == t.number, p.name == name)
    known = given.where(or_(p.number.is_not(None), p.text.is_not(None)))
    return [
        _Stretch(source, p.number, p.trial, (*mine, p.number.is_not(None)), _NUMBER),
        _Stretch(source, p.text, p.trial, (*mine, p.text.is_not(None)), (str,)),
        _Stretch(trials, None, t.number, (t.study_id == study_id, not_(known))),
    ]


def _metric_stretches(study_id: str, name: str) -> list[_Stretch]:
    v, t = trial_values.c, trials.c
    source = trial_values.join(trials, and_(t.study_id == v.study_id, t.number == v.trial))
    failed = t.state == TrialState.FAILED.value
    mine = (v.study_id == study_id, v.name == name, v.number.is_not(None), not_(failed))
    given = exists().where(v.study_id == t.study_id, v.trial == t.number, v.name == name, v.number.is_not(None))
    return [
        _Stretch(source, v.number, v.trial, mine, _NUMBER),
        _Stretch(trials, None, t.number, (t.study_id == study_id, or_(failed, not_(given)))),
    ]


def _condition(study_id: str, f: Filter) -> ColumnElement[bool]:
    t = trials.c
    prefix, _, name = f.field.partition(".")
    if f.field == "tag":
        tagged = exists().where(trial_tags.c.study_id == study_id, trial_tags.c.trial == t.number)
        positive = Filter(field=f.field, op="=" if f.op == "!=" else f.op, value=f.value)
        found = tagged.where(_compare(trial_tags.c.tag, positive))
        return not_(found) if f.op == "!=" else found
    if f.field == "feasible":
        return _feasible(f)
    if f.field in _COLUMNS:
        column = _COLUMNS[f.field]
        return _compare(trials.c.value if f.field == "value" else column, f)
    if prefix == "param" and name:
        p = trial_params.alias().c  # an alias, for the list may be sorted by rows of the same table
        column = p.text if _is_text(f.value) else p.number
        return exists().where(p.study_id == study_id, p.trial == t.number, p.name == name, _compare(column, f))
    if prefix == "metric" and name:
        v = trial_values.alias().c
        return exists().where(v.study_id == study_id, v.trial == t.number, v.name == name, _compare(v.number, f))
    raise _unknown("filter", f.field)


def _feasible(f: Filter) -> ColumnElement[bool]:
    column = trials.c.violation
    conditions = {"yes": column == 0, "no": column > 0, "unknown": column.is_(None)}
    return or_(false(), *(conditions[word] for word in words_of(f)))


def words_of(f: Filter) -> list[str]:
    """The words of `FEASIBLE` that such a filter means."""
    named = f.value if f.op == "in" else (f.value,)
    return [word for word in FEASIBLE if (word in named) is not (f.op == "!=")]


def _is_text(value: Any) -> bool:
    first = value[0] if isinstance(value, Sequence) and not isinstance(value, str) and value else value
    return isinstance(first, bool | str) or first is None


def _plain(value: Any) -> Any:
    """The value as the tables hold it: truth values and null as JSON's words, numbers as real numbers of their own, so
    that no database rounds them to the column's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return literal(float(value), Double) if isinstance(value, int | float) else value


def _compare(column: ColumnElement[Any], f: Filter) -> ColumnElement[bool]:
    if f.op == "in":
        return or_(false(), *(column == _plain(v) for v in f.value))
    if f.op not in _OPERATORS:
        raise InvalidInput.of(
            FieldProblem(path="filter", rule=f"an operator is one of {' '.join(_OPERATORS)} in", value=f.op)
        )
    found: ColumnElement[bool] = _OPERATORS[f.op](column, _plain(f.value))
    return found


def _study(tx: Tx, study_id: str) -> Row[Any]:
    """Its counts of trials by state, and its constraints."""
    columns = (*(studies.c[state] for state in TRIAL_STATES), studies.c.constraints)
    row = tx.first(select(*columns).where(studies.c.id == study_id, studies.c.deleted_at.is_(None)))
    if row is None:
        raise NotFound(f"there is no study {study_id!r}", remedy="list the studies with `hpo studies`")
    return row


def _total(study: Row[Any], filters: Sequence[Filter]) -> int | None:
    """How many trials there are, where the study's counters know it: without filters, or by one state."""
    counts = {state: getattr(study, state) for state in TRIAL_STATES}
    if not filters:
        return int(sum(counts.values()))
    only = filters[0] if len(filters) == 1 else None
    return counts.get(only.value) if only is not None and only.field == "state" and only.op == "=" else None


def _unknown(path: str, field: str) -> InvalidInput:
    return InvalidInput.of(
        FieldProblem(
            path=path,
            rule="unknown field",
            value=field,
            remedy=f"use one of {', '.join(_COLUMNS)}, param.NAME, metric.NAME",
        )
    )


def count(db: Database, study_id: str, filters: Sequence[Filter]) -> int:
    """How many trials meet every filter, by counting them."""
    statement = select(func.count()).select_from(trials).where(trials.c.study_id == study_id)
    with db.read() as tx:
        return int(tx.execute(statement.where(*(_condition(study_id, f) for f in filters))).scalar_one())
