"""Times, money and lists as a report writes them; numbers and metrics are `core.telling`'s. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hpo_service.core.telling import difference as difference
from hpo_service.core.telling import metric as metric
from hpo_service.core.telling import number as number
from hpo_service.core.telling import trimmed


def dollars(amount: float) -> str:
    """$0, $0.0123, $12.35, $1,030."""
    if amount == 0:
        return "$0"
    if amount >= 1000:
        return f"${amount:,.0f}"
    if amount >= 1:
        return f"${amount:,.2f}"
    return f"${trimmed(f'{amount:.4f}')}" if amount >= 0.0001 else "less than $0.0001"


def duration(seconds: float) -> str:
    """At most two units: 12 s, 2 min, 3 h 10 min, 4 d 2 h."""
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{trimmed(f'{seconds:.1f}')} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h" + (f" {minutes} min" if minutes else "")
    days, hours = divmod(hours, 24)
    return f"{days} d" + (f" {hours} h" if hours else "")


def plural(count: int, word: str) -> str:
    """1 trial, 2 trials."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def listed(items: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def moment(at: datetime | None) -> str:
    """2026-11-21 17:08 UTC."""
    return "–" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


def parameters(params: Mapping[str, Any]) -> str:
    """lr=0.003, optimizer=adam."""
    return ", ".join(f"{name}={number(value)}" for name, value in params.items())
