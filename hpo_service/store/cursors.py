"""Opaque cursors of keyset pages: where a page ended, as URL-safe text. Knows no table."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

from hpo_service.errors import FieldProblem, InvalidInput


def pack(kind: str, position: Sequence[Any]) -> str:
    """The cursor of a position (JSON scalars) in the listing `kind`, which names its sort too."""
    document = json.dumps([kind, *position], separators=(",", ":"))
    return base64.urlsafe_b64encode(document.encode()).decode().rstrip("=")


def unpack(cursor: str, kind: str, types: Sequence[type | tuple[type, ...]]) -> list[Any]:
    """Inverse of `pack`. Raises InvalidInput for a cursor that is broken or belongs to another listing or sort."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found = json.loads(base64.b64decode(padded.encode(), altchars=b"-_", validate=True))
        named, *position = found
    except (binascii.Error, ValueError, TypeError, UnicodeError):
        _refuse(cursor, "a cursor is what the page before gave as next_cursor")
    if named != kind:
        _refuse(cursor, "a cursor goes on with the sort that it began with")
    fits = len(position) == len(types) and all(
        isinstance(value, kinds) and not isinstance(value, bool) for value, kinds in zip(position, types, strict=False)
    )
    if not fits:
        _refuse(cursor, "a cursor is what the page before gave as next_cursor")
    return list(position)


def _refuse(cursor: str, rule: str) -> None:
    raise InvalidInput.of(FieldProblem(path="cursor", rule=rule, value=cursor, remedy="leave it out to start over"))
