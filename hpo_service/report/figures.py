"""A report's pictures, as SVG: no scripts, nothing from elsewhere, colours by the page's own style.

Every text that comes from outside goes through `_text`, which escapes it. A picture is 440 units wide, so that it can
be read on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from hpo_service.report.wording import number

WIDTH, HEIGHT = 440, 250
LEFT, RIGHT, TOP, BOTTOM = 68, 12, 12, 40
HUGE = 1e300
"""What is larger is left out of ranges: beyond it, lengths are no numbers."""
Scale = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Line:
    """A curve: points by x; `kind` is a class of the page's style; its label stands above its end, or `below`."""

    x: Sequence[float]
    y: Sequence[float]
    kind: str = "line"
    label: str = ""
    below: bool = False


@dataclass(frozen=True, slots=True)
class Spread:
    """Values over seeds: `mean` None without any; `low` and `high` the interval; `searched` what the search saw."""

    name: str
    values: Sequence[float]
    mean: float | None
    low: float | None
    high: float | None
    searched: float | None
    strong: bool = False


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between the two, about so many (Heckbert 1990, "Nice numbers for graph labels")."""
    if not high > low:
        return [low]
    raw = (high - low) / max(1, about - 1)
    size = 10.0 ** math.floor(math.log10(raw))
    step = next((f * size for f in (1.0, 2.0, 2.5, 5.0) if f * size >= raw), 10.0 * size)
    first = math.ceil(low / step - 1e-9)
    digits = 12 - math.floor(math.log10(step))
    return [round(i * step, digits) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _told(places: Sequence[float]) -> list[tuple[float, str]]:
    """Each with so many digits that no two say the same."""
    for digits in range(4, 12):
        said = [number(place, digits) for place in places]
        if len(set(said)) == len(said):
            break
    return list(zip(places, said, strict=True))


def limits(values: Sequence[float], *, keep: Sequence[float] = (), share: float = 0.05) -> tuple[float, float]:
    """A range that shows all but the farthest `share` of the values on either side, and all of `keep`."""
    ordered = sorted(v for v in values if abs(v) < HUGE)
    kept = [v for v in keep if abs(v) < HUGE]
    if not ordered and not kept:
        return 0.0, 1.0
    cut = int(len(ordered) * share)
    inside = [*ordered[cut : len(ordered) - cut], *kept] or ordered
    low, high = min(inside), max(inside)
    pad = (high - low) * 0.06 or abs(high) * 0.05 or 0.5
    return low - pad, high + pad


def lines(
    drawn: Sequence[Line],
    *,
    x_title: str,
    y_title: str,
    y_range: tuple[float, float],
    points: Sequence[tuple[float, float]] = (),
    label: str,
) -> str:
    """Curves over points, the later ones on top."""
    xs = [x for line in drawn for x in line.x] + [x for x, _ in points]
    low, high = (min(xs), max(xs)) if xs else (0.0, 1.0)
    across, up = _scales(low, high if high > low else low + 1, *y_range)
    parts = [_axes(across, up, (low, high), y_range, x_title, y_title)]
    inside = [(x, y) for x, y in points if y_range[0] <= y <= y_range[1]]
    parts += [f'<circle class="point" cx="{across(x):.1f}" cy="{up(y):.1f}" r="2"/>' for x, y in inside]
    parts += [_path(line, across, up, y_range) for line in drawn]
    parts += [_end_label(line, across, up, y_range) for line in drawn if line.label]
    return _svg(HEIGHT, parts, label)


def bars(shares: Sequence[tuple[str, float]], *, label: str) -> str:
    """Named shares of one, the largest first."""
    height, start = 24, 130
    parts = []
    most = max((share for _, share in shares), default=1.0) or 1.0
    for i, (name, share) in enumerate(shares):
        y, wide = i * height, (WIDTH - start - 52) * share / most
        parts.append(_text(start - 8, y + 16, _cut(name, 18), "end", "name"))
        parts.append(f'<rect class="bar" x="{start}" y="{y + 4}" width="{max(1.0, wide):.1f}" height="16" rx="2"/>')
        parts.append(_text(start + wide + 6, y + 16, f"{100 * share:.0f} %", "start", "value"))
    return _svg(max(height, len(shares) * height), parts, label)


def spreads(groups: Sequence[Spread], *, title: str, label: str) -> str:
    """Each configuration's seeds as dots, its mean with the interval, and what the search saw as a diamond."""
    row, left = 34, 84
    shown = [v for g in groups for v in (*g.values, g.low, g.high, g.searched) if v is not None]
    low, high = limits(shown, share=0.0)
    height = len(groups) * row + BOTTOM + 6

    def across(value: float) -> float:
        return left + (value - low) / (high - low) * (WIDTH - RIGHT - left)

    parts = []
    for tick, said in _told(ticks(low, high)):
        x = across(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - BOTTOM + 4}"/>')
        parts.append(_text(x, height - BOTTOM + 20, said, "middle"))
    parts.append(_text((left + WIDTH - RIGHT) / 2, height - 4, title, "middle", "title"))
    for i, group in enumerate(groups):
        y = i * row + row / 2 + 4
        parts.append(_text(left - 10, y + 4, _cut(group.name, 12), "end", "name strong" if group.strong else "name"))
        if group.low is not None and group.high is not None:
            parts.append(
                f'<line class="interval" x1="{across(group.low):.1f}" x2="{across(group.high):.1f}" '
                f'y1="{y:.1f}" y2="{y:.1f}"/>'
            )
        parts += [f'<circle class="seed" cx="{across(v):.1f}" cy="{y:.1f}" r="3"/>' for v in group.values]
        if group.mean is not None:
            x = across(group.mean)
            parts.append(f'<line class="mean" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 9:.1f}" y2="{y + 9:.1f}"/>')
        if group.searched is not None:
            x = across(group.searched)
            parts.append(
                f'<path class="searched" d="M{x:.1f} {y - 6:.1f}L{x + 6:.1f} {y:.1f}L{x:.1f} {y + 6:.1f}'
                f'L{x - 6:.1f} {y:.1f}Z"/>'
            )
    return _svg(height, parts, label)


def scatter(
    points: Sequence[tuple[float, float]],
    front: Sequence[tuple[float, float]],
    *,
    x_title: str,
    y_title: str,
    label: str,
) -> str:
    """Two objectives; the front's trials stand out."""
    x_range = limits([x for x, _ in points], keep=[x for x, _ in front], share=0.15)
    y_range = limits([y for _, y in points], keep=[y for _, y in front], share=0.15)
    across, up = _scales(*x_range, *y_range)
    parts = [_axes(across, up, x_range, y_range, x_title, y_title)]
    for kind, radius, given in (("point", 2, points), ("front", 4, front)):
        parts += [
            f'<circle class="{kind}" cx="{across(x):.1f}" cy="{up(y):.1f}" r="{radius}"/>'
            for x, y in given
            if x_range[0] <= x <= x_range[1] and y_range[0] <= y <= y_range[1]
        ]
    return _svg(HEIGHT, parts, label)


def _scales(x_low: float, x_high: float, y_low: float, y_high: float) -> tuple[Scale, Scale]:
    return (
        lambda x: LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT),
        lambda y: HEIGHT - BOTTOM - (y - y_low) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM),
    )


def _axes(
    across: Scale,
    up: Scale,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    x_title: str,
    y_title: str,
) -> str:
    parts = []
    for tick, said in _told(ticks(*y_range)):
        y = up(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 6, y + 4, said, "end"))
    for tick, said in _told(ticks(*x_range)):
        parts.append(_text(across(tick), HEIGHT - BOTTOM + 16, said, "middle"))
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>')
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, _cut(x_title, 50), "middle", "title"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text class="title" text-anchor="middle" transform="translate(12 {middle:.0f}) rotate(-90)">'
        f"{escape(_cut(y_title, 28))}</text>"
    )
    return "".join(parts)


def _path(line: Line, across: Scale, up: Scale, y_range: tuple[float, float]) -> str:
    """What lies outside the range runs along its edge."""
    low, high = y_range
    points = [(x, y) for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
    entered = next((i for i, (_, y) in enumerate(points) if low <= y <= high), len(points))
    points = [(x, min(max(y, low), high)) for x, y in points[max(0, entered - 1) :]]
    if not points:
        return ""
    if len(points) == 1:
        x, y = points[0]
        return f'<circle class="{line.kind} alone" cx="{across(x):.1f}" cy="{up(y):.1f}" r="2.5"/>'
    drawn = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
    return f'<polyline class="{line.kind}" points="{drawn}"/>'


def _end_label(line: Line, across: Scale, up: Scale, y_range: tuple[float, float]) -> str:
    last = next(((x, y) for x, y in zip(reversed(line.x), reversed(line.y), strict=True) if math.isfinite(y)), None)
    if last is None or not y_range[0] <= last[1] <= y_range[1]:
        return ""
    beside = 16 if line.below else -11
    y = min(max(up(last[1]) + beside, TOP + 10), HEIGHT - BOTTOM - 4)
    return _text(min(across(last[0]), WIDTH - RIGHT - 2), y, _cut(line.label, 24), "end", f"label {line.kind}")


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(height: float, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(label, quote=True)}" '
        f'preserveAspectRatio="xMidYMid meet">{"".join(parts)}</svg>'
    )
