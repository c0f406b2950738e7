"""Positions of values in documents: every path leads to the line that holds it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.documents import load_yaml
from hpo_service.errors import FieldProblem, InvalidInput, Unsupported
from hpo_service.positions import Position, Positions, located, positions

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cn")), max_size=12)
KEY = TEXT.filter(lambda key: key != "" and "." not in key and len(key) < 100)
LEAF = (
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
DOCUMENT = st.dictionaries(
    KEY,
    st.recursive(LEAF, lambda one: st.lists(one, max_size=4) | st.dictionaries(KEY, one, max_size=4), max_leaves=20),
    min_size=1,
    max_size=5,
)
DEFINITION = """\
# a study
name: digits
space:
  lr:
    type: loguniform
    low: 3
    high: 1
  kind: {type: choice,
    values: [a, b]}
  a.b: {type: uniform, low: 0, high: 1}
forbid:
- {lr: 1}
- lr: 2
  kind: a
other: &x
  deep: 1
again: *x
"""


def found(text: str, *, is_json: bool = False) -> Positions:
    result = positions(text, is_json=is_json)
    assert result is not None
    return result


@pytest.mark.parametrize(
    ("path", "line", "column"),
    [
        ("", 2, 1),
        ("name", 2, 1),
        ("space", 3, 1),
        ("space.lr", 4, 3),
        ("space.lr.low", 6, 5),
        ("space.lr.step", 4, 3),
        ("space.lr.low.lower", 6, 5),
        ("space.kind.values", 9, 5),
        ("space.kind.values.1", 9, 17),
        ("space.a.b", 10, 3),
        ("space.a.b.high", 10, 32),
        ("forbid.0.lr", 12, 4),
        ("forbid.1", 13, 3),
        ("forbid.1.kind", 14, 3),
        ("forbid.7.kind", 11, 1),
        ("again.deep", 17, 1),
        ("nothing.at.all", 2, 1),
    ],
)
def test_a_path_leads_to_its_key_or_to_its_nearest_parent(path: str, line: int, column: int) -> None:
    assert found(DEFINITION).of(path) == Position(line, column)


def _nodes(node: yaml.Node, path: tuple[str, ...] = ()) -> Iterator[tuple[str, int]]:
    """Paths and lines by another reader: PyYAML's own composer, in Python."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield ".".join([*path, key.value]), key.start_mark.index
            yield from _nodes(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for place, value in enumerate(node.value):
            yield ".".join([*path, str(place)]), value.start_mark.index
            yield from _nodes(value, (*path, str(place)))


@given(document=DOCUMENT, flow=st.booleans() | st.none(), unicode=st.booleans())
@settings(deadline=None, max_examples=100)
def test_every_path_of_a_yaml_document_leads_to_the_line_that_holds_it(
    document: dict[str, Any], flow: bool | None, unicode: bool
) -> None:
    text = "# first\n" + yaml.safe_dump(document, default_flow_style=flow, allow_unicode=unicode)
    where = found(text)
    nodes = list(_nodes(yaml.compose(text, Loader=yaml.SafeLoader)))
    assert nodes
    for path, index in nodes:
        before = text[:index]
        line, column = before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1
        assert where.of(path) == Position(line, column), path
        assert where.of(f"{path}.nowhere") == Position(line, column), path


def _paths(document: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    items = document.items() if isinstance(document, dict) else enumerate(document) if type(document) is list else ()
    for key, value in items:
        yield (*path, str(key)), value
        yield from _paths(value, (*path, str(key)))


@given(document=DOCUMENT, indent=st.sampled_from([None, 0, 2]), ascii_only=st.booleans())
@settings(deadline=None, max_examples=100)
def test_every_path_of_a_json_document_leads_to_its_key(
    document: dict[str, Any], indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    where, rows = found(text, is_json=True), text.split("\n")
    for path, value in _paths(document):
        at = where.of(".".join(path))
        rest = "\n".join([rows[at.line - 1][at.column - 1 :], *rows[at.line :]])
        begins = [json.dumps(path[-1], ensure_ascii=ascii_only)]
        begins += [json.dumps(value, ensure_ascii=ascii_only)[:1]] if path[-1].isdecimal() else []
        assert rest.startswith(tuple(begins)), path


@given(text=st.text(max_size=200), path=st.text(alphabet="ab.01", max_size=12), is_json=st.booleans())
@settings(deadline=None, max_examples=100)
def test_any_text_has_positions_within_it_or_none(text: str, path: str, is_json: bool) -> None:
    where = positions(text, is_json=is_json)
    if where is not None:
        at = where.of(path)
        rows = text.removeprefix("\ufeff").split("\n")
        assert 1 <= at.line <= len(rows)
        assert 1 <= at.column <= len(rows[at.line - 1]) + 1


def test_an_error_keeps_its_kind_and_its_own_places() -> None:
    error = Unsupported(
        "no", remedy="do", problems=[FieldProblem(path="space.lr", rule="r"), FieldProblem(path="", rule="s", line=9)]
    )
    placed = located(error, DEFINITION)
    assert type(placed) is Unsupported
    assert (placed.message, placed.remedy) == ("no", "do")
    assert [(p.line, p.column) for p in placed.problems] == [(4, 3), (9, None)]
    assert located(error, "a: [") is error


def test_a_text_that_cannot_be_read_says_its_place_too() -> None:
    with pytest.raises(InvalidInput) as caught:
        load_yaml("space:\n  a: 1\n  a: 2\n")
    problem = caught.value.problems[0]
    assert (problem.line, problem.column) == (3, 3)


def test_keys_of_many_dots_are_found_at_once() -> None:
    key = ".".join("a" * 20_000)
    text = "{" + f'"{key}": {{"b": 1}}' + "}"
    assert found(text, is_json=True).of(f"{key}.b").column == len(key) + 7
