"""Study definitions on their way to the server: from files, mappings, parameter objects and `path=value` changes.

Only shapes are handled here; whether a definition is right is the server's to say (`hpo validate`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hpo_service.client.protocol import plain
from hpo_service.documents import MAX_TEXT_BYTES, load_yaml
from hpo_service.errors import FieldProblem, InvalidInput
from hpo_service.positions import located


def prepare_definition(definition: Mapping[str, Any] | str | Path, *, name: str | None = None) -> dict[str, Any]:
    """The definition as plain JSON. Text and paths name a YAML or JSON file; `name` replaces the definition's."""
    document = read_definition(definition) if isinstance(definition, str | Path) else definition
    if not isinstance(document, Mapping):
        raise InvalidInput(
            f"a study definition is a mapping, but got {type(document).__name__}", remedy="see `hpo schema`"
        )
    try:
        found: dict[str, Any] = plain(with_space(document))
    except RecursionError:
        raise InvalidInput(
            "a study definition nests at most 32 levels, but got far more", remedy="flatten it"
        ) from None
    return found if name is None else {**found, "name": name}


def with_space(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A `SearchSpace` object stands for both `space` and `forbid`."""
    space: Any = document.get("space")
    if isinstance(space, Mapping) or not hasattr(space, "parameters"):
        return document
    written = space.to_dict()
    forbid = {"forbid": written["forbid"]} if written["forbid"] else {}
    return {**document, "space": written["parameters"], **forbid}


def read_definition(path: str | Path) -> Any:
    """The document in a YAML or JSON file; mistakes name file, line and column."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        raise InvalidInput(
            f"a study definition is a mapping or a readable file, but {str(path)[:200]!r} is not ({error.strerror})",
            remedy="check the path",
        ) from None
    try:
        return _read_json(text) if path.suffix.lower() == ".json" else load_yaml(text)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error.message}", remedy=error.remedy, problems=error.problems) from None


@contextlib.contextmanager
def naming_lines_of(path: Path) -> Iterator[None]:
    """What the server finds wrong in the definition of this file, told at the file's lines."""
    try:
        yield
    except InvalidInput as error:
        bare = [dataclasses.replace(problem, line=None, column=None) for problem in error.problems]
        plain_error = type(error)(error.message, remedy=error.remedy, problems=bare)
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        raise located(plain_error, text, is_json=path.suffix.lower() == ".json") from None


def _read_json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        line, column = getattr(error, "lineno", 1), getattr(error, "colno", 1)
        place = f"line {line}, column {column}"
        raise InvalidInput.of(FieldProblem(path=place, rule=f"the text is not JSON ({error})")) from None


def with_changes(document: Mapping[str, Any], changes: Iterable[str]) -> dict[str, Any]:
    """The document with `path=value` changes (`budget.trials=50`): dotted paths, values read as YAML."""
    found: dict[str, Any] = plain(document)
    for change in changes:
        path, value = parse_assignment(change)
        *parents, last = path.split(".")
        place: Any = found
        for part in parents:
            place = _inside(place, part, path)
        if isinstance(place, list):
            place[_index(place, last, path)] = value
        else:
            place[last] = value
    return found


def _inside(place: Any, part: str, path: str) -> Any:
    inner = place[_index(place, part, path)] if isinstance(place, list) else place.setdefault(part, {})
    if not isinstance(inner, dict | list):
        raise InvalidInput(f"a path leads through mappings and lists, but {part!r} of {path!r} is {inner!r}")
    return inner


def _index(place: list[Any], part: str, path: str) -> int:
    if not part.isdecimal() or int(part) >= len(place):
        raise InvalidInput(f"a list has {len(place)} items, but {path!r} asks for {part!r}", remedy="count from 0")
    return int(part)


def parse_assignment(text: str) -> tuple[str, Any]:
    """("lr", 0.1) of `lr=0.1`; the value is read as YAML."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise InvalidInput(f"an assignment is name=value, but got {text!r}", remedy="write for example lr=0.1")
    return name.strip(), load_yaml(value)
