"""Reading YAML (and JSON, which is YAML) from people: safely, within limits, with the place of every mistake.

Here: text to plain Python values. Not here: what a study definition may say (that is `core.definition`).

Limits: at most 1 MiB of text, 50,000 values, 64 levels, and 10,000 values that aliases repeat (a few lines of aliases
can otherwise stand for billions of values). Values are built from the parser's events, so that a limit is met before
anything is built beyond it. Scalars are read by the YAML 1.2 core schema: `1e-6` is a number, and `on`, `no` and
`12:30` are text.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from hpo_service.errors import FieldProblem, InvalidInput

MAX_TEXT_BYTES = 1024 * 1024
MAX_VALUES = 50_000
MAX_REPEATED_VALUES = 10_000
MAX_LEVELS = 64
MAX_DIGITS = 400

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's parser is ten times as fast
_TAG = "tag:yaml.org,2002:"
_NUMBER = r"(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
_FLOAT = re.compile(rf"[-+]?(?:{_NUMBER}|\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


def load_yaml(text: str | bytes) -> Any:
    """The plain value (mappings, lists, text, numbers, booleans, None) of one YAML or JSON document.

    Raises `InvalidInput` with line and column for text that is not YAML, for anything over the limits above, for a key
    given twice, for keys that are not text and for tags other than those of plain values.
    """
    builder = _Builder()
    try:
        for event in events(_decoded(text)):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise _refused(_reason(error), error.problem_mark or error.context_mark) from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise _refused(f"the text is not YAML ({' '.join(str(error).split())})", None) from None
    return builder.root


def events(text: str) -> Iterator[Any]:
    """The parser's events of a YAML text. Raises `yaml.YAMLError` on the way."""
    return iter(yaml.parse(text, Loader=_LOADER))


def _decoded(text: str | bytes) -> str:
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_TEXT_BYTES:
        rule = f"a document has at most {MAX_TEXT_BYTES:,} bytes, but got {size:,}"
        raise _refused(rule, None, "shorten it, or load large data by path")
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        rule = f"a document is UTF-8 text, but byte {error.start} is not"
        raise _refused(rule, None, "save the file as UTF-8") from None


@dataclass(slots=True)
class _Open:
    """A mapping or list that is being read; `size` counts its values, aliases written out."""

    value: Any
    mark: Any
    anchor: str | None
    key: str | None = None
    has_key: bool = False
    size: int = 1


@dataclass
class _Builder:
    """Builds the value of a document from its events, holding it to the limits."""

    root: Any = None
    documents: int = 0
    values: int = 0
    repeated: int = 0
    stack: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[Any, int]] = field(default_factory=dict)

    def take(self, event: Any) -> None:
        """The next event of the parser."""
        handler = _HANDLERS.get(type(event))  # a table, for a document has tens of thousands of events
        if handler is not None:
            handler(self, event)

    def _scalar(self, event: Any) -> None:
        self.values += 1
        if self.values > MAX_VALUES:
            raise _too_many(event.start_mark)
        value = _scalar(event)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 1)
        self._add(value, 1, event.start_mark, key=event.value)

    def _close(self, event: Any) -> None:
        done = self.stack.pop()
        if done.anchor is not None:
            self.anchors[done.anchor] = (done.value, done.size)
        self._add(done.value, done.size, done.mark)

    def _document(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            raise _refused("a file holds a single document, but another begins", event.start_mark, "remove it")

    def _open(self, event: Any) -> None:
        mapping = isinstance(event, yaml.MappingStartEvent)
        self.values += 1
        if self.values > MAX_VALUES:
            raise _too_many(event.start_mark)
        if len(self.stack) >= MAX_LEVELS:
            raise _refused(f"a document nests at most {MAX_LEVELS} levels", event.start_mark, "flatten it")
        if event.tag not in (None, "!", f"{_TAG}map" if mapping else f"{_TAG}seq"):
            raise _bad_tag(event)
        if event.anchor is not None:
            self.anchors.pop(event.anchor, None)
        self.stack.append(_Open({} if mapping else [], event.start_mark, event.anchor))

    def _alias(self, event: Any) -> None:
        if any(one.anchor == event.anchor for one in self.stack):
            raise _refused("an alias may not contain itself", event.start_mark, "write the value out")
        if event.anchor not in self.anchors:
            rule = f"an alias repeats an earlier value, but *{event.anchor} names none"
            raise _refused(rule, event.start_mark, "write the value out")
        value, size = self.anchors[event.anchor]
        self.repeated += size
        if self.repeated > MAX_REPEATED_VALUES:
            rule = f"aliases may repeat at most {MAX_REPEATED_VALUES:,} values"
            raise _refused(rule, event.start_mark, "write the values out")
        self._add(copy.deepcopy(value), size, event.start_mark, key=str(value) if _is_key(value) else None)

    def _add(self, value: Any, size: int, mark: Any, *, key: str | None = None) -> None:
        if not self.stack:
            self.root = value
            return
        place = self.stack[-1]
        place.size += size
        if isinstance(place.value, list):
            place.value.append(value)
        elif place.has_key:
            place.value[place.key] = value
            place.has_key = False
        elif key is None:
            raise _refused("a key must be text", mark, "write it as plain text")
        elif key in place.value:
            raise _refused(f"a key may stand once in a mapping, but {key!r} stands twice", mark, "remove one")
        else:
            place.key, place.has_key = key, True


_HANDLERS: dict[type[Any], Callable[[_Builder, Any], None]] = {
    yaml.ScalarEvent: _Builder._scalar,
    yaml.AliasEvent: _Builder._alias,
    yaml.MappingStartEvent: _Builder._open,
    yaml.SequenceStartEvent: _Builder._open,
    yaml.MappingEndEvent: _Builder._close,
    yaml.SequenceEndEvent: _Builder._close,
    yaml.DocumentStartEvent: _Builder._document,
}


def _too_many(mark: Any) -> InvalidInput:
    return _refused(f"a document has at most {MAX_VALUES:,} values", mark, "shorten it")


def _is_key(value: Any) -> bool:
    """Keys are text; numbers, booleans and null count as they are written."""
    return not isinstance(value, dict | list)


def _scalar(event: Any) -> Any:
    text: str = event.value
    kind = _implicit(text) if event.implicit[0] and event.tag in (None, "!") else _explicit(event)
    try:
        if kind == "null":
            return None
        if kind == "bool":
            return _BOOLEANS[text]
        if kind == "int":
            return _integer(text)
        return _float(text) if kind == "float" else text
    except (ValueError, KeyError):
        raise _refused(f"{text[:40]!r} is not {_A[kind]}", event.start_mark, "quote it to mean text") from None


_A = {"int": "a whole number that is read here", "float": "a number", "bool": "true or false"}


def _implicit(text: str) -> str:
    if text in _NULLS:
        return "null"
    if text in _BOOLEANS:
        return "bool"
    if text[0] not in "+-.0123456789":
        return "str"
    if _INTEGER.fullmatch(text):
        return "int"
    return "float" if _FLOAT.fullmatch(text) else "str"


def is_text(plain: str) -> bool:
    """Whether a plain scalar, one without quotes, is read as text."""
    return _implicit(plain) == "str"


def _explicit(event: Any) -> str:
    if event.tag in (None, "!"):
        return "str"
    kind: str = event.tag.removeprefix(_TAG)
    if kind == event.tag or kind not in ("str", "null", "bool", "int", "float"):
        raise _bad_tag(event)
    return kind


def _bad_tag(event: Any) -> InvalidInput:
    rule = f"values are mappings, lists, text, numbers, booleans and null, but got the tag {event.tag!r}"
    return _refused(rule, event.start_mark, "remove the tag")


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("too many digits")
    base = {"0o": 8, "0x": 16}.get(text[:2].lower(), 10)
    return int(text, base)


def _float(text: str) -> float:
    plain = text.lower()
    if plain.lstrip("+-") == ".inf":
        return -math.inf if plain.startswith("-") else math.inf
    return math.nan if plain == ".nan" else float(text)


def _reason(error: yaml.MarkedYAMLError) -> str:
    parts = [part for part in (error.context, error.problem) if part]
    return f"the text is not YAML ({', '.join(parts)})"


def _refused(rule: str, mark: Any, remedy: str = "") -> InvalidInput:
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
    place = f"line {line}, column {column}" if mark is not None else ""
    remedy = remedy or "correct the text at that place"
    return InvalidInput.of(FieldProblem(path=place, rule=rule, remedy=remedy, line=line, column=column))
