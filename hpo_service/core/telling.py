"""Numbers and metrics as people read them: accuracies and their like in per cent. Pure.

The dashboard says them by the same rule (`core/format.js`); times, money and lists are the report's own.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

_SHARES = re.compile(r"(^|[^a-z])(acc|accuracy|auc|auroc|f1|precision|recall)([^a-z]|$)|accuracy", re.IGNORECASE)


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
        return f"{trimmed(mantissa)}e{int(exponent)}"
    return trimmed(f"{value:,.{max(0, digits - 1 - math.floor(math.log10(size)))}f}")


def metric(value: float | None, name: str, sd: float | None = None) -> str:
    """Accuracies and their like in per cent, where they lie within 0 and 1; with the standard deviation in the same
    unit."""
    if is_share(name, value) and value is not None:
        spread = "" if sd is None else f" ± {number(100 * sd, 2)}"
        return f"{trimmed(f'{100 * value:.2f}')}{spread} %"
    return number(value) + ("" if sd is None else f" ± {number(sd, 2)}")


def difference(value: float | None, name: str, *, of: float | None, digits: int = 2) -> str:
    """How far two values of a metric are apart; of accuracies and their like in points of a per cent. `of` is one of
    the two: an accuracy that is given as 92.5 has no points of a per cent."""
    if value is not None and is_share(name, of):
        points = number(100 * value, digits)
        return f"{points} point{'' if points in ('1', '-1') else 's'}"
    return number(value, digits)


def is_share(name: str, value: float | None) -> bool:
    """Whether the value is an accuracy, or something like it, as a share of one."""
    return value is not None and 0 <= value <= 1 and _SHARES.search(name) is not None


def trimmed(text: str) -> str:
    """A decimal number without zeros at its end."""
    return text.rstrip("0").rstrip(".") if "." in text else text
