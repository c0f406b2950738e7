"""Pictures of a comparison, as SVG that needs nothing else: regret over the budget, critical difference diagram.

Only drawing: what is shown comes from `statistics`. Colours are Okabe and Ito's, which colour-blind readers tell apart;
methods of one colour differ in their dashes, and each line is labelled where it ends. Light and dark follow the reader.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from hpo_service.bench.runs import Run
from hpo_service.bench.statistics import ALPHA, Estimate, Friedman, Group, progress

WIDTH, PLOT_HEIGHT = 880, 440
LEFT, RIGHT, TOP, BOTTOM = 58, 275, 14, 50
LINE_GAP = 17
POINTS = 97
"""Of a curve over the budget: enough for steps to be seen as such."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#808080")
DASHES = ("", "7 4", "2 3", "9 3 2 3")
STYLE = """
.b { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; --ink: #17202c; --quiet: #56606f; --line: #e1e6ec; --paper: #fff; }
@media (prefers-color-scheme: dark) { .b { --ink: #e8ebf0; --quiet: #a3adba; --line: #2f3843; --paper: #12161c; } .b .curve { filter: brightness(1.4); } }
.b .paper { fill: var(--paper); } .b text { fill: var(--ink); } .b text.quiet { fill: var(--quiet); } .b text.strong { font-weight: 680; }
.b .grid { stroke: var(--line); } .b .axis { stroke: var(--quiet); } .b .lead { stroke: var(--quiet); stroke-width: .7; fill: none; opacity: .6; }
.b .curve { fill: none; stroke-width: 1.8; stroke-linejoin: round; } .b .curve.strong { stroke-width: 3.2; }
.b .band { stroke: none; fill-opacity: .13; } .b .stem { fill: none; stroke: var(--quiet); } .b .clique { stroke: var(--ink); stroke-width: 5; stroke-linecap: round; }
.b .bar { stroke: var(--ink); stroke-width: 1.6; fill: none; } .b .dot { fill: var(--ink); }
"""  # noqa: E501


@dataclass(frozen=True, slots=True)
class Look:
    """How a method's line is drawn, in every picture of a page alike."""

    colour: str
    dash: str


def looks(methods: Iterable[str], *, reference: str | None) -> dict[str, Look]:
    """A look for each method; the reference has the first."""
    ordered = sorted(set(methods), key=lambda name: (name != reference, name))
    return {
        name: Look(COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]) for i, name in enumerate(ordered)
    }


def curves(runs: Sequence[Run], group: Group, look: Mapping[str, Look]) -> str:
    """Mean regret over the budget spent, with a band of one standard error; the reference stands out. Methods that did
    not run on all tasks are left out: their means are of something else."""
    low = min(0.5, group.budget / 4)
    at = [low * (group.budget / low) ** (i / (POINTS - 1)) for i in range(POINTS)]
    found = {name: several for name, several in progress(runs, group, at).items() if name in group.complete}
    height = max(PLOT_HEIGHT, TOP + BOTTOM + LINE_GAP * len(found))
    top = min(1.0, math.ceil(10 * max(one.mean + (one.se or 0) for several in found.values() for one in several)) / 10)

    def across(fte: float) -> float:
        return LEFT + math.log(fte / low) / math.log(group.budget / low) * (WIDTH - LEFT - RIGHT)

    def up(regret: float) -> float:
        return height - BOTTOM - min(regret, top) / top * (height - TOP - BOTTOM)

    parts = [_axes(group, across, up, top=top, low=low, height=height)]
    order = sorted(found, key=lambda name: (name == group.reference, -found[name][-1].mean))
    parts += [_band(at, found[name], across, up, look[name].colour) for name in order]
    parts += [
        f'<polyline class="curve{_strong(name, group)}" stroke="{look[name].colour}"{_dashed(look[name])} points="'
        + " ".join(f"{across(x):.1f},{up(one.mean):.1f}" for x, one in zip(at, found[name], strict=True))
        + '"/>'
        for name in order
    ]
    parts += _ends({name: found[name][-1].mean for name in found}, group, look, up, height)
    best = group.rows[0]
    says = (
        f"Mean regret of {len(found)} methods over the budget, {group.title}. "
        f"Least on average: {best.method}, {best.regret[-1].mean:.3f}."
    )
    return _svg(height, parts, says)


def _axes(
    group: Group,
    across: Callable[[float], float],
    up: Callable[[float], float],
    *,
    top: float,
    low: float,
    height: float,
) -> str:
    parts, right = [], WIDTH - RIGHT
    for i in range(round(10 * top) + 1):
        if top <= 0.5 or i % 2 == 0:
            y = up(i / 10)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(_text(LEFT - 8, y + 4.5, f"{i / 10:.1f}", "end", "quiet"))
    for fte in (low, *group.readings):
        x = across(fte)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        parts.append(_text(x, height - BOTTOM + 18, f"{fte:g}", "middle", "quiet"))
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{height - BOTTOM}" y2="{height - BOTTOM}"/>')
    spent = "full trainings (FTE)" if group.workers == 1 else f"full trainings (FTE) of each of {group.workers} workers"
    parts.append(_text((LEFT + right) / 2, height - 10, spent, "middle", "quiet"))
    middle = (TOP + height - BOTTOM) / 2
    parts.append(
        f'<text class="quiet" text-anchor="middle" transform="translate(16 {middle:.0f}) rotate(-90)">regret</text>'
    )
    return "".join(parts)


def _band(
    at: Sequence[float],
    several: Sequence[Estimate],
    across: Callable[[float], float],
    up: Callable[[float], float],
    colour: str,
) -> str:
    if several[-1].se is None:
        return ""
    above = [f"{across(x):.1f},{up(one.mean + (one.se or 0)):.1f}" for x, one in zip(at, several, strict=True)]
    below = [
        f"{across(x):.1f},{up(max(0.0, one.mean - (one.se or 0))):.1f}" for x, one in zip(at, several, strict=True)
    ]
    return f'<polygon class="band" fill="{colour}" points="{" ".join(above + below[::-1])}"/>'


def _ends(
    last: Mapping[str, float],
    group: Group,
    look: Mapping[str, Look],
    up: Callable[[float], float],
    height: float,
) -> list[str]:
    """Labels at the right, in the order in which the lines end, pushed apart and led back to them."""
    order = sorted(last, key=lambda name: -last[name])
    places = spread([up(last[name]) for name in order], gap=LINE_GAP, low=TOP + 6, high=height - BOTTOM)
    parts: list[str] = []
    x = WIDTH - RIGHT
    for name, y in zip(order, places, strict=True):
        parts.append(f'<path class="lead" d="M{x + 1} {up(last[name]):.1f}L{x + 14} {y:.1f}"/>')
        parts.append(
            f'<line class="curve{_strong(name, group)}" stroke="{look[name].colour}"{_dashed(look[name])} '
            f'x1="{x + 16}" x2="{x + 42}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        said = f"{_cut(name, 24)}  {last[name]:.3f}"
        parts.append(_text(x + 48, y + 4.5, said, "start", _strong(name, group).strip()))
    return parts


def spread(wanted: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Ascending places as near to the wanted (ascending) ones as a gap between neighbours and the bounds allow (least
    squares, by pooling neighbours that violate it); where there is no room for all, the gap is smaller."""
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    pools: list[tuple[float, int]] = []  # mean place less the gaps before, how many
    for i, place in enumerate(wanted):
        mean, count = place - i * gap, 1
        while pools and pools[-1][0] > mean:
            before, several = pools.pop()
            mean, count = (before * several + mean * count) / (several + count), several + count
        pools.append((mean, count))
    free = [mean for mean, count in pools for _ in range(count)]
    return [min(max(mean, low), high - gap * (len(free) - 1)) + i * gap for i, mean in enumerate(free)]


def ranks(one: Friedman, *, reference: str | None = None) -> str:
    """The critical difference diagram (Demšar 2006, figure 1): methods by their average rank, the best at the left;
    a bar joins those that the ranks do not tell apart."""
    names = list(one.rank)
    half = math.ceil(len(names) / 2)
    first, last = 1.0, float(len(names))
    side, bar_gap, axis_y = 230, 11, 62

    def across(rank: float) -> float:
        return side + (rank - first) / max(1e-9, last - first) * (WIDTH - 2 * side)

    below = axis_y + 20 + bar_gap * len(one.cliques)
    parts = [_rank_axis(one, across, axis_y, first, last)]
    for i, clique in enumerate(one.cliques):
        bar = axis_y + 16 + bar_gap * i
        x1, x2 = across(one.rank[clique[0]]) - 4, across(one.rank[clique[-1]]) + 4
        parts.append(f'<line class="clique" x1="{x1:.1f}" x2="{x2:.1f}" y1="{bar}" y2="{bar}"/>')
    for i, name in enumerate(names):
        left = i < half
        y = below + 14 + LINE_GAP * 1.2 * (i if left else len(names) - 1 - i)
        x, edge = across(one.rank[name]), side - 14 if left else WIDTH - side + 14
        parts.append(f'<polyline class="stem" points="{x:.1f},{axis_y} {x:.1f},{y:.1f} {edge},{y:.1f}"/>')
        said = f"{_cut(name, 22)}  {one.rank[name]:.2f}" if left else f"{one.rank[name]:.2f}  {_cut(name, 22)}"
        kind = "strong" if name == reference else ""
        parts.append(_text(edge + (-6 if left else 6), y + 4.5, said, "end" if left else "start", kind))
    height = below + 14 + LINE_GAP * 1.2 * (half - 1) + 16
    listed = ", ".join(f"{name} {rank:.2f}" for name, rank in one.rank.items())
    return _svg(height, parts, f"Average ranks, critical difference {one.difference:.2f}: {listed}.")


def _rank_axis(one: Friedman, across: Callable[[float], float], axis_y: float, first: float, last: float) -> str:
    parts = [f'<line class="axis" x1="{across(first)}" x2="{across(last)}" y1="{axis_y}" y2="{axis_y}"/>']
    for rank in range(round(first), round(last) + 1):
        x = across(rank)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{axis_y - 5}" y2="{axis_y}"/>')
        parts.append(_text(x, axis_y - 10, str(rank), "middle", "quiet"))
    x1, x2 = across(first), across(min(last, first + one.difference))
    more = "" if first + one.difference <= last else " (wider than all ranks)"
    parts.append(f'<path class="bar" d="M{x1:.1f} 16v8m0 -4H{x2:.1f}m0 -4v8"/>')
    parts.append(_text(x2 + 8, 24.5, f"critical difference {one.difference:.2f} at {ALPHA:g}{more}", "start", "quiet"))
    return "".join(parts)


def _strong(name: str, group: Group) -> str:
    return " strong" if name == group.reference else ""


def _dashed(look: Look) -> str:
    return f' stroke-dasharray="{look.dash}"' if look.dash else ""


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" xml:space="preserve">{escape(text)}</text>'


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(height: float, parts: Sequence[str], label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="b" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(label, quote=True)}"><style>{STYLE}</style>'
        f'<rect class="paper" width="{WIDTH}" height="{height:.0f}"/>{"".join(parts)}</svg>'
    )
