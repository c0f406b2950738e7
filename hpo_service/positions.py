"""Where each value of a YAML or JSON document stands: dotted paths to lines and columns, for messages about a document.

Asked for when something is wrong, and only then: reading a document (`documents`, `json`) keeps no positions.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import yaml

from hpo_service.documents import MAX_VALUES, events
from hpo_service.errors import FieldProblem, InvalidInput

_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s{}\[\]:,"]+', re.DOTALL)


@dataclass(frozen=True, order=True)
class Position:
    """A place in a text, both counted from 1, columns in characters."""

    line: int
    column: int


@dataclass(slots=True)
class _Node:
    """One value: where it stands (a mapping's value stands where its key does) and what it holds."""

    at: int
    children: dict[str, _Node] = field(default_factory=dict)
    dotted: list[str] = field(default_factory=list)  # keys that hold dots themselves: found by looking at each


class Positions:
    """The positions of one document's values."""

    def __init__(self, text: str, root: _Node) -> None:
        self._root = root
        self._line_starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def of(self, path: str) -> Position:
        """Where the value at `path` (`space.lr.low`, `forbid.0.x`) stands; where there is none, its nearest parent."""
        at = self._deepest(path).at
        line = bisect_right(self._line_starts, at)
        return Position(line, at - self._line_starts[line - 1] + 1)

    def _deepest(self, path: str) -> _Node:
        best, most = self._root, 0
        waiting = [(self._root, path)] if path else []
        while waiting:
            node, rest = waiting.pop()
            for key in _leading(node, rest):
                child, left = node.children[key], rest[len(key) + 1 :]
                if len(path) - len(left) > most:
                    best, most = child, len(path) - len(left)
                if left:
                    waiting.append((child, left))
        return best


def _leading(node: _Node, rest: str) -> Iterator[str]:
    """The keys of `node` with which `rest` may begin."""
    first = rest.partition(".")[0]
    if first in node.children:
        yield first
    yield from (key for key in node.dotted if rest == key or rest.startswith(f"{key}."))


def positions(text: str, *, is_json: bool = False) -> Positions | None:
    """The positions of the values of a document that can be read; None where it cannot. `is_json`: the text is JSON,
    whose escapes differ from YAML's."""
    text = text.removeprefix("\ufeff")
    tree = _Tree()
    try:
        (_read_json if is_json else _read_yaml)(tree, text)
    except (yaml.YAMLError, ValueError):
        return None
    return Positions(text, tree.root) if tree.root is not None else None


def located(error: InvalidInput, text: str, *, is_json: bool = False) -> InvalidInput:
    """The same error with the line and column of each problem in the document `text` that it is about."""
    found = positions(text, is_json=is_json)
    if found is None:
        return error
    problems = [_placed(problem, found) for problem in error.problems]
    return type(error)(error.message, remedy=error.remedy, problems=problems)


def _placed(problem: FieldProblem, found: Positions) -> FieldProblem:
    if problem.line is not None:
        return problem
    at = found.of(problem.path)
    return replace(problem, line=at.line, column=at.column)


@dataclass(slots=True)
class _Tree:
    """Builds the nodes of a document from what its reader meets."""

    root: _Node | None = None
    stack: list[tuple[_Node, bool]] = field(default_factory=list)  # open collections; True: a mapping
    keys: list[tuple[str, int] | None] = field(default_factory=list)  # of each open mapping, the key that waits
    size: int = 0

    def open(self, at: int, *, mapping: bool) -> None:
        self.stack.append((self._add(at), mapping))
        self.keys.append(None)

    def close(self) -> None:
        if not self.stack:
            raise ValueError("nothing is open")
        self.stack.pop()
        self.keys.pop()

    def scalar(self, text: str, at: int) -> None:
        if self.stack and self.stack[-1][1] and self.keys[-1] is None:
            self.keys[-1] = (text, at)
        else:
            self._add(at)

    def _add(self, at: int) -> _Node:
        self.size += 1
        if self.size > MAX_VALUES:
            raise ValueError("too many values")
        if not self.stack:
            self.root = self.root or _Node(at)
            return self.root
        parent, mapping = self.stack[-1]
        key, place = (self.keys[-1] or ("", at)) if mapping else (str(len(parent.children)), at)
        self.keys[-1] = None
        node = parent.children[key] = _Node(place)
        if "." in key:
            parent.dotted.append(key)
        return node


def _read_yaml(tree: _Tree, text: str) -> None:
    anchors: dict[str | None, str] = {}
    for event in events(text):
        at = event.start_mark.index
        if isinstance(event, yaml.ScalarEvent):
            anchors[event.anchor] = event.value
            tree.scalar(event.value, at)
        elif isinstance(event, yaml.AliasEvent):
            tree.scalar(anchors.get(event.anchor, ""), at)
        elif isinstance(event, yaml.CollectionStartEvent):
            tree.open(at, mapping=isinstance(event, yaml.MappingStartEvent))
        elif isinstance(event, yaml.CollectionEndEvent):
            tree.close()


def _read_json(tree: _Tree, text: str) -> None:
    for token in _JSON_TOKEN.finditer(text):
        sign, at = token[0], token.start()
        if sign in "{[":
            tree.open(at, mapping=sign == "{")
        elif sign in "}]":
            tree.close()
        else:
            tree.scalar(_unquoted(sign), at)


def _unquoted(token: str) -> str:
    found = json.loads(token, strict=False) if token.startswith('"') else token
    return found if isinstance(found, str) else token
