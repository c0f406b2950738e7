"""Constants as source: plain values, containers of them, and a few others that a line can make again."""

from __future__ import annotations

import logging
import math
from pathlib import PurePath
from typing import Any

LONGEST = 64 * 1024
"""Characters of a constant's source."""


def source_of(value: Any) -> tuple[str | None, tuple[str, ...]]:
    """The source of a value, None where it has none, and the modules that the source needs."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, PurePath):
        return f"pathlib.{type(value).__name__}({str(value)!r})", ("pathlib",)
    if isinstance(value, logging.Logger):
        return f"logging.getLogger({value.name!r})", ("logging",)
    if kind == "torch.dtype":
        return str(value), ("torch",)
    if kind == "torch.device":
        return f"torch.device({str(value)!r})", ("torch",)
    try:
        return literal(value), ()
    except (ValueError, RecursionError):
        return None, ()


def literal(value: Any) -> str:
    """Source of plain values and of containers of them. Raises ValueError for anything else."""
    if value is None or (isinstance(value, bool | int | str | bytes | range) and type(value).__module__ == "builtins"):
        return repr(value)
    if type(value) is float:
        return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
    if type(value) is complex:
        return f"complex({literal(value.real)}, {literal(value.imag)})"
    if type(value) in (list, tuple, set, frozenset, dict):
        if len(value) > LONGEST:
            return " " * (len(value) + 1)
        return _container(value)
    raise ValueError(type(value))


def _container(value: Any) -> str:
    if type(value) is dict:
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if type(value) in (set, frozenset):
        items = ", ".join(sorted(map(literal, value)))
        return f"{type(value).__name__}([{items}])"
    items = ", ".join(map(literal, value))
    if type(value) is tuple:
        return f"({items},)" if len(value) == 1 else f"({items})"
    return f"[{items}]"
