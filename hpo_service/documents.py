"""Reading YAML (and JSON, which is YAML) from people: safely, within limits, with the place of every mistake.

Here: text to plain Python values. Not here: what a study definition may say (that is `core.definition`).

Limits: at most 1 MiB of text, 100,000 values, 64 levels, and 10,000 values that aliases repeat (a few lines of aliases
can otherwise stand for billions of values). Scalars are read by the YAML 1.2 core schema, so that `1e-6` is a
number and `on`, `no` and `12:30` are text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from hpo_service.errors import FieldProblem, InvalidInput

MAX_TEXT_BYTES = 1024 * 1024
MAX_VALUES = 100_000
MAX_REPEATED_VALUES = 10_000
MAX_LEVELS = 64
MAX_DIGITS = 400

_TAG = "tag:yaml.org,2002:"
_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
_INTEGER = re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$")
_BOOLEAN = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_NULL = re.compile(r"^(?:~|null|Null|NULL|)$")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2; nothing but plain values can come out of it."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own class attribute


_Loader.add_implicit_resolver(f"{_TAG}null", _NULL, ["~", "n", "N", ""])
_Loader.add_implicit_resolver(f"{_TAG}bool", _BOOLEAN, list("tTfF"))
_Loader.add_implicit_resolver(f"{_TAG}int", _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver(f"{_TAG}float", _FLOAT, list("-+.0123456789"))


def load_yaml(text: str | bytes) -> Any:
    """The plain value (mappings, lists, text, numbers, booleans, None) of one YAML or JSON document.

    Raises `InvalidInput` with line and column for text that is not YAML, for anything over the limits above, for a key
    given twice, for keys that are not text and for tags other than those of plain values.
    """
    loader = _Loader(_decoded(text))
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        _Limits().check(root)
        return _value(root)
    except yaml.MarkedYAMLError as error:
        raise _refused(_reason(error), error.problem_mark or error.context_mark) from None
    except yaml.YAMLError as error:
        raise _refused(f"the text is not YAML ({error})", None) from None
    except RecursionError:
        raise _refused(f"a document nests at most {MAX_LEVELS} levels", None, "flatten it") from None
    finally:
        loader.dispose()


def _decoded(text: str | bytes) -> str:
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_TEXT_BYTES:
        rule = f"a document has at most {MAX_TEXT_BYTES:,} bytes, but got {size:,}"
        raise _refused(rule, None, "shorten it, or load large data by path")
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            rule = f"a document is UTF-8 text, but byte {error.start} is not"
            raise _refused(rule, None, "save the file as UTF-8") from None
    _check_flow_depth(text)
    return text


def _check_flow_depth(text: str) -> None:
    """Refuses absurd nesting before PyYAML's recursive composer meets it."""
    depth, longest = 0, 0
    for sign in re.finditer(r"[\[{\]}]", text):
        depth = depth + 1 if sign[0] in "[{" else max(0, depth - 1)
        longest = max(longest, depth)
        if longest > 4 * MAX_LEVELS:
            raise _refused(f"a document nests at most {MAX_LEVELS} levels", None, "flatten it")


class _Limits:
    """Counts the values of a document as they would stand after aliases are written out, without doing so."""

    def __init__(self) -> None:
        self.sizes: dict[int, int] = {}
        self.open: set[int] = set()
        self.distinct = 0
        self.repeated = 0

    def check(self, node: Node, level: int = 0) -> int:
        """The number of values in `node`, aliases expanded."""
        if level > MAX_LEVELS:
            raise _refused(f"a document nests at most {MAX_LEVELS} levels", node.start_mark, "flatten it")
        known = self.sizes.get(id(node))
        if id(node) in self.open:
            raise _refused("an alias may not contain itself", node.start_mark, "write the value out")
        if known is not None:
            self.repeated += known
            if self.repeated > MAX_REPEATED_VALUES:
                rule = f"aliases may repeat at most {MAX_REPEATED_VALUES:,} values"
                raise _refused(rule, node.start_mark, "write the values out")
            return known
        self.distinct += 1
        if self.distinct > MAX_VALUES:
            raise _refused(f"a document has at most {MAX_VALUES:,} values", node.start_mark, "shorten it")
        self.open.add(id(node))
        size = 1 + sum(self.check(child, level + 1) for child in _children(node))
        self.open.discard(id(node))
        self.sizes[id(node)] = size
        return size


def _children(node: Node) -> list[Node]:
    if isinstance(node, MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, SequenceNode) else []


def _value(node: Node) -> Any:
    tag = node.tag.removeprefix(_TAG)
    if isinstance(node, MappingNode) and tag == "map":
        return _mapping(node)
    if isinstance(node, SequenceNode) and tag == "seq":
        return [_value(item) for item in node.value]
    if isinstance(node, ScalarNode) and tag in ("str", "null", "bool", "int", "float"):
        return _scalar(node, tag)
    rule = f"values are mappings, lists, text, numbers, booleans and null, but got the tag {node.tag!r}"
    raise _refused(rule, node.start_mark, "remove the tag")


def _mapping(node: MappingNode) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key: Hashable = _value(key_node) if isinstance(key_node, ScalarNode) else None
        if isinstance(key, bool | int | float) or (key is None and isinstance(key_node, ScalarNode)):
            key = str(key_node.value)
        if not isinstance(key, str):
            raise _refused("a key must be text", key_node.start_mark, "write it as plain text")
        if key in found:
            raise _refused(
                f"a key may stand once in a mapping, but {key!r} stands twice",
                key_node.start_mark,
                "remove one",
            )
        found[key] = _value(value_node)
    return found


def _scalar(node: ScalarNode, tag: str) -> Any:
    text: str = node.value
    try:
        if tag == "null":
            return None
        if tag == "bool":
            return {"true": True, "false": False}[text.lower()]
        if tag == "int":
            return _integer(text)
        if tag == "float":
            return _float(text)
    except (ValueError, KeyError):
        raise _refused(f"{text[:40]!r} is not a {tag}", node.start_mark, "quote it to mean text") from None
    return text


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
    place = f"line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    return InvalidInput.of(FieldProblem(path=place, rule=rule, remedy=remedy or "correct the text at that place"))
