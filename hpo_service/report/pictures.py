"""Which pictures a report shows, and what each says in words. How they are drawn is `figures`'s."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpo_service.report import figures
from hpo_service.report.blocks import Figure, Figures
from hpo_service.report.figures import Line, Spread
from hpo_service.report.gathering import Gathered
from hpo_service.report.wording import metric, plural
from hpo_service.views.confirmation import Confirmed


def curves(found: Gathered) -> Figures | None:
    """Best so far over all trials, and the learning curves of the best."""
    made = [one for one in (_progress(found), _learning(found)) if one is not None]
    return Figures(made) if made else None


def _progress(found: Gathered) -> Figure | None:
    numbers, values = found.best_so_far
    if not numbers:
        return None
    name, last = found.definition.objective.metric, max(found.study.next_trial - 1, numbers[-1])
    x: list[float] = []
    y: list[float] = []
    for i, (number_, value) in enumerate(zip(numbers, values, strict=True)):
        if i:
            x.append(float(number_))
            y.append(values[i - 1])
        x.append(float(number_))
        y.append(value)
    x.append(float(last))
    y.append(values[-1])
    span = _upper_part([v for _, v in found.points], values, maximize=found.definition.objective.maximize)
    says = f"Best {name} so far: {metric(values[0], name)} at trial {numbers[0]}"
    if len(numbers) > 1:
        better = plural(len(numbers) - 1, "improvement")
        says += f", then {better}, the last one to {metric(values[-1], name)} at trial {numbers[-1]}"
    says += "."
    drawn = figures.lines(
        [Line(x=x, y=y, kind="line best")],
        x_title="trial",
        y_title=name,
        y_range=span,
        points=found.points,
        label=says,
    )
    caption = (
        "Best so far of those trained furthest (line) over the trials (points, each at the resource it came to; the "
        "worse ones are out of sight)."
    )
    return Figure(drawn, caption, says)


def _upper_part(points: Sequence[float], best: Sequence[float], *, maximize: bool) -> tuple[float, float]:
    """A range that shows the better part of the trials, and the best of the last improvements."""
    ordered = sorted(points, reverse=maximize)
    return figures.limits(ordered[: max(3, round(len(ordered) * 0.4))], keep=best[-3:], share=0.0)


def _learning(found: Gathered) -> Figure | None:
    drawn = [curve for curve in found.curves if len(curve.resource) > 1]
    if not drawn:
        return None
    name = found.definition.objective.metric
    best = found.best.number if found.best is not None else -1
    baseline = found.baseline.number if found.baseline is not None else -1
    lines = [
        Line(
            x=c.resource,
            y=c.value,
            kind=_kind(c.trial, best, baseline),
            label=_label(c.trial, best, baseline),
            below=(c.trial == best) != found.definition.objective.maximize,
        )
        for c in sorted(drawn, key=lambda c: (c.trial == best, c.trial == baseline))
    ]
    later = [v for c in drawn for v in c.value[len(c.value) // 4 :] if math.isfinite(v)]
    ends = [c.value[-1] for c in drawn if math.isfinite(c.value[-1])]
    says = f"Learning curves of the {plural(len(drawn), 'trial')} that came out best, over the resource."
    svg = figures.lines(
        lines,
        x_title="resource",
        y_title=name,
        y_range=figures.limits(later, keep=ends, share=0.02),
        label=says,
    )
    with_baseline = " and the baseline" if baseline in {c.trial for c in drawn} and baseline != best else ""
    return Figure(svg, f"Learning curves of the best trials{with_baseline}.", says)


def _kind(trial: int, best: int, baseline: int) -> str:
    return "line best" if trial == best else "line baseline" if trial == baseline else "line other"


def _label(trial: int, best: int, baseline: int) -> str:
    return f"trial {trial}" if trial == best else "baseline" if trial == baseline else ""


def importance(found: Gathered) -> Figure:
    """Bars, the most important first."""
    shares = [(one["name"], float(one["importance"])) for one in found.importance["parameters"][:12]]
    says = "Shares of importance: " + "; ".join(f"{name} {100 * share:.0f} %" for name, share in shares) + "."
    rest = len(found.importance["parameters"]) - len(shares)
    left_out = f"; {rest} smaller ones left out" if rest > 0 else ""
    return Figure(figures.bars(shares, label=says), f"Shares of importance{left_out}.", says)


def front(found: Gathered) -> Figure | None:
    """The first two objectives of all compared trials."""
    if not found.objectives:
        return None
    one, other = found.definition.objectives[:2]
    marked = [
        (row.values[one.metric], row.values[other.metric])
        for row in found.front
        if one.metric in row.values and other.metric in row.values
    ]
    trials = plural(len(found.objectives), "trial")
    says = f"{trials} by {one.metric} and {other.metric}; {len(found.front)} are on the front."
    svg = figures.scatter(
        found.objectives,
        marked,
        x_title=f"{one.metric} ({one.direction})",
        y_title=f"{other.metric} ({other.direction})",
        label=says,
    )
    return Figure(svg, "The Pareto front (large points).", says)


def confirmation(one: Confirmed) -> Figure | None:
    """New seeds of each configuration, beside what the search saw."""
    if not any(each.spread for each in one.configurations):
        return None
    groups = [
        Spread(
            name=f"trial {each.trial}",
            values=[
                s.value for s in each.seeds if s.value is not None and math.isfinite(s.value) and s.state == "finished"
            ],
            mean=each.spread.mean if each.spread else None,
            low=each.spread.low if each.spread else None,
            high=each.spread.high if each.spread else None,
            searched=each.searched.value if each.searched is not None and each.searched.compares else None,
            strong=place == 0,
        )
        for place, each in enumerate(one.configurations[:20])
    ]
    means = [
        f"trial {e.trial}: {metric(e.spread.mean, one.objective.metric)}" for e in one.configurations[:20] if e.spread
    ]
    says = f"Means over new seeds: {'; '.join(means)}."
    svg = figures.spreads(groups, title=one.objective.metric, label=says)
    caption = (
        "Each new seed (point), their mean (bar) with its 95 % interval (line), and what the search saw (diamond)."
    )
    return Figure(svg, caption, says, wide=True)
