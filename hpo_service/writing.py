"""Plain values as YAML for people: small mappings on one line, long texts as blocks. What `documents` reads back is
equal to what was written; text that it would take for a number, a truth value or nothing is quoted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from hpo_service.documents import is_text

WIDTH = 110


class _Writer(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True  # equal parts are written out

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)  # items of lists stand to the right of their key


def _text(writer: _Writer, value: str) -> yaml.ScalarNode:
    if not all(one.isprintable() or one == "\n" for one in value):
        style: str | None = '"'  # with escapes
    elif "\n" in value:
        style = "|"
    else:
        style = None if is_text(value) else "'"
    return writer.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _float(writer: _Writer, value: float) -> yaml.ScalarNode:
    text = repr(value)
    if "inf" in text or "nan" in text:
        return writer.represent_float(value)
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")  # 1e-06 is text to older readers of YAML
    return writer.represent_scalar("tag:yaml.org,2002:float", text)


def _mapping(writer: _Writer, value: dict[str, Any]) -> yaml.MappingNode:
    return writer.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=_small(value))


def _whole(writer: _Writer, value: _Whole) -> yaml.MappingNode:
    return writer.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style=False)


def _sequence(writer: _Writer, value: Sequence[Any]) -> yaml.SequenceNode:
    return writer.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=all(map(_plain, value)))


def _small(value: Mapping[str, Any]) -> bool:
    """Whether a mapping fits on a line: it begins with a plain value, and what it holds holds only plain values."""
    first, rest = list(value.values())[:1], list(value.values())[1:]
    return all(map(_plain, first)) and all(map(_flat, rest)) and len(repr(value)) < WIDTH


def _plain(value: Any) -> bool:
    return not isinstance(value, dict | list) and not (isinstance(value, str) and "\n" in value)


def _flat(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)
    return all(map(_plain, inner))


class _Whole(dict[str, Any]):
    """The document itself, which is never on one line."""


_Writer.add_representer(dict, _mapping)
_Writer.add_representer(_Whole, _whole)
_Writer.add_representer(list, _sequence)
_Writer.add_representer(str, _text)
_Writer.add_representer(float, _float)


def dump_yaml(value: Mapping[str, Any]) -> str:
    """The value as block YAML; collections that hold no others stand on one line. `load_yaml` gives it back."""
    text: str = yaml.dump(_Whole(value), Dumper=_Writer, sort_keys=False, allow_unicode=True, width=WIDTH)
    return text
