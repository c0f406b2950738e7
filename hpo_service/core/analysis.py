"""Where the definitions of studies differ. Pure; how their values differ is `core.comparison`'s."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One path where documents differ, with the value of each (None where it is missing)."""

    path: str
    values: tuple[Any, ...]


def differences(documents: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """Where study definitions differ, by dotted path, sorted. Lists are compared as wholes."""
    flat = [dict(_flatten(document, "")) for document in documents]
    found = []
    for path in sorted(set().union(*flat)) if flat else ():
        values = tuple(one.get(path) for one in flat)
        if any(value != values[0] for value in values[1:]):
            found.append(Difference(path=path, values=values))
    return found


def _flatten(document: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for name, value in document.items():
        path = f"{prefix}.{name}" if prefix else str(name)
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, path)
        else:
            yield path, value
