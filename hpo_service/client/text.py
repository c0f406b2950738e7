"""Numbers and times as people read them, and curves as a line of blocks. Plain text only; no rich, no I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hpo_service.core import telling

BLOCKS = "▁▂▃▄▅▆▇█"
MICRO = 1_000_000
_SUPERFLUOUS = "…"


def number(value: Any, digits: int = 4) -> str:
    """A number with about `digits` significant digits: 0.978, 3.2e-4, 12,500; "–" for None."""
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return str(value)
    return telling.number(value, digits)


def metric_value(value: float | None, metric: str = "") -> str:
    """A metric's value; accuracies and their like within [0, 1] as a percentage: 97.8 %."""
    return telling.metric(value, metric)


def percent(fraction: float) -> str:
    """A part of a whole: 42 %."""
    return f"{100 * min(1.0, max(0.0, fraction)):.0f} %"


def duration(seconds: float | None) -> str:
    """A length of time with at most two units: 850 ms, 12.3 s, 2 min, 3 h 10 min, 4 d 2 h."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 59.95:
        return f"{telling.trimmed(f'{seconds:.1f}')} s"
    whole = round(seconds)
    for size, unit, smaller, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def dollars(microdollars: int | None) -> str:
    """Money: $0, <$0.0001, $0.0123, $12.35."""
    if microdollars is None:
        return "–"
    amount = microdollars / MICRO
    if amount == 0:
        return "$0"
    if abs(amount) >= 1:
        return f"${amount:,.2f}"
    if abs(amount) < 0.0001:
        return "<$0.0001"
    return f"${telling.trimmed(f'{amount:.4f}')}"


def byte_size(size: int | None) -> str:
    """A number of bytes: 512 B, 1.5 KiB, 2 GiB."""
    if size is None:
        return "–"
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{telling.trimmed(f'{amount:.1f}')} {unit}"
        amount /= 1024
    return f"{telling.trimmed(f'{amount:.1f}')} TiB"


def ago(then: datetime | None, now: datetime) -> str:
    """How long ago: just now, 3 min ago; "–" for never."""
    if then is None:
        return "–"
    seconds = (now - then).total_seconds()
    return "just now" if seconds < 2 else f"{duration(math.floor(seconds)).split(' ')[0]} {_unit(seconds)} ago"


def _unit(seconds: float) -> str:
    return duration(math.floor(seconds)).split(" ")[1]


def parameters(params: Mapping[str, Any], *, most: int | None = None) -> str:
    """A configuration on one line: `lr=3.2e-4 batch_size=64`."""
    parts = [f"{name}={number(value)}" for name, value in params.items()]
    if most is not None and len(parts) > most:
        parts = [*parts[:most], _SUPERFLUOUS]
    return " ".join(parts)


def state_counts(counts: Mapping[str, int]) -> str:
    """Trials by state, empty states left out: `12 finished, 3 running`."""
    return ", ".join(f"{count:,} {state}" for state, count in counts.items() if count) or "none yet"


def sparkline(values: Sequence[float | None], width: int = 40) -> str:
    """Values from left to right as blocks, scaled between their extremes; gaps and non-finite values are spaces."""
    if not values:
        return ""
    shown = _thinned(list(values), width)
    finite = [v for v in shown if v is not None and math.isfinite(v)]
    if not finite:
        return " " * len(shown)
    low, high = min(finite), max(finite)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(
        " " if v is None or not math.isfinite(v) else BLOCKS[round((v - low) * scale) if scale else 3] for v in shown
    )


def _thinned(values: list[float | None], width: int) -> list[float | None]:
    if len(values) <= width:
        return values
    if width < 2:
        return values[-1:]
    return [values[round(i * (len(values) - 1) / (width - 1))] for i in range(width)]


def plot(
    x: Sequence[float], y: Sequence[float | None], *, width: int = 56, height: int = 8, metric: str = ""
) -> list[str]:
    """A curve as lines of text: axis labels on the left, blocks eight times as fine as the lines."""
    pairs = [(a, b) for a, b in zip(x, y, strict=False) if b is not None and math.isfinite(b)]
    if not pairs:
        return []
    columns = _thinned([b for _, b in pairs], width)
    if len(columns) < width:
        columns = [columns[i * len(columns) // width] for i in range(width)]
    finite = [v for v in columns if v is not None]
    low, high = min(finite), max(finite)
    levels = [round((v - low) / (high - low) * (8 * height - 1)) + 1 if high > low else 4 * height for v in finite]
    labels = [metric_value(high, metric), metric_value(low, metric)]
    margin = max(map(len, labels))
    lines = []
    for row in range(height - 1, -1, -1):
        label = labels[0] if row == height - 1 else (labels[1] if row == 0 else "")
        cells = "".join(" ▁▂▃▄▅▆▇█"[min(8, max(0, level - 8 * row))] for level in levels)
        lines.append(f"{label:>{margin}} ┤{cells}")
    first, last = number(pairs[0][0]), number(pairs[-1][0])
    lines.append(" " * (margin + 2) + first + last.rjust(max(1, width - len(first))))
    return lines
