"""Numbers, times and money as a report writes them. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

_FRACTIONS = ("accuracy", "precision", "recall", "f1", "auc")


def number(value: Any, digits: int = 4) -> str:
    """With about `digits` significant digits: 0.978, 3.2e-4, 12,500; "–" where there is none."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("∞" if value > 0 else "-∞")
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    size = abs(value)
    if size < 1e-3 or size >= 1e7:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{_trimmed(mantissa)}e{int(exponent)}"
    return _trimmed(f"{value:,.{max(0, digits - 1 - math.floor(math.log10(size)))}f}")


def metric(value: float | None, name: str, sd: float | None = None) -> str:
    """Accuracies and their like in per cent; with its standard deviation in the same unit."""
    spread = "" if sd is None else f" ± {number(100 * sd if _is_share(name) else sd, 2)}"
    if value is not None and _is_share(name) and 0 <= value <= 1:
        return f"{_trimmed(f'{100 * value:.2f}')}{spread} %"
    return number(value) + ("" if sd is None else f" ± {number(sd, 2)}")


def difference(value: float | None, name: str) -> str:
    """How far two values of a metric are apart; of accuracies and their like in points of a per cent."""
    if value is not None and _is_share(name):
        points = number(100 * value, 2)
        return f"{points} point{'' if points in ('1', '-1') else 's'}"
    return number(value, 2)


def _is_share(name: str) -> bool:
    short = name.removesuffix("_std")
    return any(short == one or short.endswith(f"_{one}") for one in _FRACTIONS)


def dollars(amount: float) -> str:
    """$0, $0.0123, $12.35, $1,030."""
    if amount == 0:
        return "$0"
    if amount >= 1000:
        return f"${amount:,.0f}"
    if amount >= 1:
        return f"${amount:,.2f}"
    return f"${_trimmed(f'{amount:.4f}')}" if amount >= 0.0001 else "less than $0.0001"


def duration(seconds: float) -> str:
    """At most two units: 12 s, 2 min, 3 h 10 min, 4 d 2 h."""
    if seconds < 59.5:
        return f"{seconds:.0f} s" if seconds >= 9.95 else f"{_trimmed(f'{seconds:.1f}')} s"
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


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text
