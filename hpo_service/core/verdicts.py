"""What a comparison comes to in a plain sentence: which is better, by how much, and whether that could be luck.

Pure words over `comparison`'s numbers. A difference is called more than luck below 5 %, corrected for how many
differences were looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

from hpo_service.core.comparison import Outcome, smallest_p

ALPHA = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """A study, or a group of them, as a sentence speaks of it."""

    name: str
    value: float | None  # its final, or the mean of its finals; None where there is none
    n: int  # trials at its highest resource, or studies
    resource: float | None
    metric: str
    maximize: bool
    going: bool  # whether it may still move


def of_studies(a: Side, b: Side, found: Outcome | None, corrected: float | None, *, replicates: bool) -> str:
    """Of two studies. `corrected` is the outcome's p after correction; `replicates`: they differ only in their seed."""
    if (a.metric, a.maximize) != (b.metric, b.maximize):
        return f"They optimise different things ({_goal(a)} and {_goal(b)}), so their values do not compare."
    missing = [side.name for side in (a, b) if side.value is None]
    if missing:
        return f"{' and '.join(missing)} has no finite value yet, so there is nothing to compare."
    if a.resource != b.resource:
        return (
            f"{a.name} trained its furthest trials to {a.resource:g}, {b.name} to {b.resource:g}, so their values do "
            "not compare; train both equally far."
        )
    if found is None or a.value is None or b.value is None:
        return f"{a.name} and {b.name} do not compare."
    so_far = "So far: " if a.going or b.going else ""
    if found.difference == 0:
        return f"{so_far}both came to {a.value:.4g}; no difference."
    better, worse = (a, b) if (found.difference > 0) is a.maximize else (b, a)
    seen = (
        f"{so_far}{better.name} is better by {abs(found.difference):.3g} ({better.value:.4g} against {worse.value:.4g})"
    )
    trials = f"{better.n:,} and {worse.n:,} trials at resource {a.resource:g}"
    if replicates:
        return f"{seen}, but the two differ only in their seed: that much is luck."
    if corrected is not None and corrected < ALPHA:
        return (
            f"{seen}; that is hardly luck ({_p(found, corrected)}, from {trials}). Each is one search: other seeds "
            "would show how far the searches themselves vary."
        )
    return (
        f"{seen}; that could well be luck ({_p(found, corrected)}, from {trials}). More trials, or the same with other "
        "seeds, would tell."
    )


def of_groups(a: Side, b: Side, found: Outcome, corrected: float | None) -> str:
    """Of two groups of replicates."""
    so_far = "So far: " if a.going or b.going else ""
    means = f"{a.name} averages {a.value:.4g} over {a.n} studies, {b.name} {b.value:.4g} over {b.n}"
    if found.difference == 0:
        return f"{so_far}{means}; no difference."
    better = a if (found.difference > 0) is a.maximize else b
    seen = f"{so_far}{means}: {better.name} is better by {abs(found.difference):.3g}"
    least = smallest_p(a.n, b.n)
    if least >= ALPHA:
        return (
            f"{seen}. So few studies cannot show that this is more than luck (p is at least {least:.2g} whatever they "
            "give); run four or more of each with other seeds."
        )
    if corrected is not None and corrected < ALPHA:
        return f"{seen}; that is hardly luck ({_p(found, corrected)}, all ways to part the studies in two)."
    return f"{seen}; that could well be luck ({_p(found, corrected)}, all ways to part the studies in two)."


def _p(found: Outcome, corrected: float | None) -> str:
    p = found.p if found.p is not None else 1.0
    said = f"p = {p:.2g}"
    return said if corrected is None or abs(corrected - p) < 1e-12 else f"{said}, {corrected:.2g} after correction"


def _goal(side: Side) -> str:
    return f"{'most' if side.maximize else 'least'} {side.metric}"
