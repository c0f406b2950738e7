"""The language of `?filter=` and `?sort=`: `lr>1e-3 state:failed optimizer:sgd tag:x value>=0.9 param.lr<1`.

Text in, the store's `Filter`s out. A bare name is a trial's field, else a parameter, else a metric; `param.` and
`metric.` say which. `:` and `=` are the same; `state:failed,stopped` means one of them. What a term selects is the
store's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from hpo_service.core.states import Origin, TrialState
from hpo_service.errors import FieldProblem, InvalidInput
from hpo_service.store.reading import Filter
from hpo_service.store.trial_pages import FEASIBLE
from search_spaces.errors import nearest

FIELDS = ("state", "number", "origin", "bracket", "rung", "value", "resource", "cost", "seconds", "tag")
OF_CONSTRAINTS = ("feasible", "violation")
"""Fields where the study has constraints; elsewhere such names are a parameter's or a metric's."""
SORTABLE = tuple(field for field in FIELDS if field != "tag")
MAX_TERMS = 32
MAX_TEXT = 4096
MAX_WHOLE = 2**53
"""Larger whole numbers are compared as real ones, as the tables hold them."""
_WORDS = {
    "state": [s.value for s in TrialState],
    "origin": [o.value for o in Origin],
    "feasible": list(FEASIBLE),
}
_ORDERED = frozenset({"<", "<=", ">", ">="})
_TERM = re.compile(
    r"""(?P<name>[^\s:=!<>"',]+)\s*(?P<op>!=|<=|>=|==|[:=<>])\s*(?P<value>"[^"]*"|'[^']*'|[^\s"'<>=!]+)(?=\s|$)"""
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """What a bare name may mean in one study, beside the trial's fields."""

    params: tuple[str, ...]
    metrics: tuple[str, ...]
    constrained: bool = False

    @property
    def fields(self) -> tuple[str, ...]:
        """Of trials."""
        return (*FIELDS, *OF_CONSTRAINTS) if self.constrained else FIELDS

    def all(self) -> list[str]:
        return [*self.fields, *self.params, *self.metrics]


def parse_filters(text: str, names: Names) -> tuple[Filter, ...]:
    """The filters in `text`; all must hold. Raises InvalidInput saying where (characters from 1) and what instead."""
    if len(text) > MAX_TEXT:
        _refuse("filter", f"a filter has at most {MAX_TEXT} characters", len(text), "shorten it")
    found: list[Filter] = []
    position = _skip_space(text, 0)
    while position < len(text):
        term = _TERM.match(text, position)
        if term is None:
            rest = text[position:].split(maxsplit=1)[0]
            _refuse(
                "filter", f"at position {position + 1} a term must be NAME OP VALUE with OP one of : = != < <= > >=",
                rest, "write for example lr>1e-3 state:failed",
            )  # fmt: skip
        if len(found) == MAX_TERMS:
            _refuse("filter", f"a filter has at most {MAX_TERMS} terms", None, "leave some out")
        found.append(_filter(term, names))
        position = _skip_space(text, term.end())
    return tuple(found)


def parse_sort(text: str, names: Names) -> str:
    """The store's sort key of `text`, a name with an optional leading minus."""
    descending, name = text.startswith("-"), text.removeprefix("-")
    field = _resolve(name, names, where="sort", position=None)
    if field == "tag":
        _refuse("sort", "trials sort by one value each, and have many tags", name, f"use one of {', '.join(SORTABLE)}")
    if field == "feasible":
        field = "violation"
    return f"-{field}" if descending else field


def _filter(term: re.Match[str], names: Names) -> Filter:
    position = term.start() + 1
    field = _resolve(term["name"], names, where="filter", position=position)
    op = "=" if term["op"] in (":", "==", "=") else term["op"]
    raw = term["value"]
    quoted = raw[0] in "\"'"
    values: list[Any] = [raw[1:-1]] if quoted else [_scalar(part) for part in raw.split(",") if part]
    if field in _WORDS or field == "tag":
        values = [raw[1:-1]] if quoted else [part for part in raw.split(",") if part]
    _check(field, op, values, position)
    if len(values) == 1:
        return Filter(field=field, op=op, value=values[0])
    return Filter(field=field, op="in", value=tuple(values))


def _check(field: str, op: str, values: list[Any], position: int) -> None:
    where = f"at position {position}"
    if not values:
        _refuse("filter", f"{where} a value is missing", None, "write for example state:failed")
    if len(values) > 1 and op != "=":
        _refuse("filter", f"{where} several values go with : only", op, f"write {field}:a,b")
    words = _WORDS.get(field)
    if (words or field == "tag") and op in _ORDERED:
        _refuse("filter", f"{where} {field} has no order", op, "use : or !=")
    for value in values:
        if words and value not in words:
            _refuse("filter", f"{where} unknown {field}", value, nearest(value, words))
        if op in _ORDERED and (isinstance(value, bool) or not isinstance(value, int | float)):
            _refuse("filter", f"{where} {op} compares with a number", value, "write for example lr>1e-3")
        numeric = field in (*FIELDS, "violation") and field not in _WORDS and field != "tag"
        if numeric and (isinstance(value, bool) or not isinstance(value, int | float)):
            _refuse("filter", f"{where} {field} is a number", value, f"write for example {field}>1")


def _resolve(name: str, names: Names, *, where: str, position: int | None) -> str:
    if name in names.fields:
        return name
    for prefix in ("param.", "metric."):
        if name.startswith(prefix) and len(name) > len(prefix):
            if prefix == "param." and name.removeprefix(prefix) not in names.params:
                break
            return name
    if name in names.params:
        return f"param.{name}"
    if name in names.metrics:
        return f"metric.{name}"
    at = f"at position {position} " if position is not None else ""
    bare = name.removeprefix("param.")
    known = list(names.params) if name.startswith("param.") else names.all()
    _refuse(where, f"{at}unknown name, neither a field of trials nor a parameter or metric of this study",
            name, nearest(bare, known))  # fmt: skip


def _scalar(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    try:
        whole = int(text)
    except ValueError:
        pass
    else:
        return whole if abs(whole) <= MAX_WHOLE else float(text)
    try:
        number = float(text)
    except ValueError:
        return text
    return text if text.strip("+-").lower() in ("nan", "inf", "infinity") else number


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _refuse(path: str, rule: str, value: Any, remedy: str) -> NoReturn:
    raise InvalidInput.of(FieldProblem(path=path, rule=rule, value=value, remedy=remedy))


def known_names(space: Iterable[str], metrics: Iterable[str], *, constrained: bool = False) -> Names:
    """Names without repetition, in their order."""
    return Names(params=tuple(dict.fromkeys(space)), metrics=tuple(dict.fromkeys(metrics)), constrained=constrained)
