"""What a confirmation has come to, as the command line prints it."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hpo_service.cli.render import table
from hpo_service.client import text
from hpo_service.client.confirming import Configuration, Confirmation, Ensemble, Spread
from hpo_service.core.telling import difference, metric

STYLES = {"real": "bold green", "luck": "bold red", "noise": "bold yellow"}


def confirmation_sheet(found: Confirmation) -> RenderableType:
    """The verdict, a line per configuration, what else is to be known."""
    parts: list[RenderableType] = [
        Text(found.verdict, style=STYLES.get(found.kind, "bold")),
        Text(
            f"{found.done} of {found.trials} trainings, {found.seeds} seeds each, "
            f"{found.direction} {found.metric}; confirms {found.confirms_name or 'a deleted study'} ({found.confirms})"
        ),
        Text(),
        _configurations(found),
        Text(),
    ]
    lines = [found.test_verdict, *found.notes]
    if found.cheapest is not None:
        lines.append(f"The cheapest of those that cannot be told apart is trial {found.cheapest}.")
    if found.detectable is not None:
        means = [one.spread.mean for one in found.configurations if one.spread is not None]
        shown = difference(found.detectable, found.metric, of=means[0] if means else None)
        lines.append(f"So many seeds show a difference of {shown} four times in five.")
    parts += [Text(line) for line in lines if line]
    if found.ensemble is not None:
        parts += [Text(), _ensemble(found.ensemble), Text(found.ensemble.words)]
    if found.ensemble_note:
        parts.append(Text(found.ensemble_note))
    return Group(*parts)


def _configurations(found: Confirmation) -> Table:
    tests = list(dict.fromkeys(name for one in found.configurations for name in one.test))
    tests = [name for name in tests if name == "test_" + found.metric.removeprefix("val_")] or tests[:2]
    right = ("search", "new seeds", "optimism", "p", "cost", *tests)
    made = table("trial", "seeds", "search", "new seeds", "optimism", "p", *tests, "cost", right=right)
    for place, one in enumerate(found.configurations):
        made.add_row(
            str(one.trial),
            _seeds(one),
            _searched(one, found.metric),
            _spread(one.spread, found.metric),
            difference(one.optimism, found.metric, of=one.spread.mean if one.spread else None),
            "winner" if place == 0 else _p(one),
            *(_spread(one.test.get(name), name) for name in tests),
            "–" if one.cost_microdollars is None else text.dollars(round(one.cost_microdollars)),
        )
    return made


def _seeds(one: Configuration) -> str:
    done = one.spread.n if one.spread is not None else 0
    more = [f"{count} {word}" for count, word in ((one.failed, "failed"), (one.open, "open")) if count]
    return ", ".join([str(done), *more])


def _searched(one: Configuration, name: str) -> str:
    if one.searched is None:
        return "–"
    shown = metric(one.searched.value, name)
    return shown if one.searched.compares else f"{shown} at {text.number(one.searched.resource)}"


def _spread(one: Spread | None, name: str) -> str:
    return "–" if one is None else metric(one.mean, name, one.sd)


def _p(one: Configuration) -> str:
    p = None if one.against is None else one.against.p_corrected
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.2g}"


def _ensemble(found: Ensemble) -> Table:
    made = table("together", "models", f"val {found.metric}", f"test {found.metric}", right=("models",))
    for name, one in (("best single", found.single), ("uniform", found.uniform), ("greedy", found.greedy)):
        made.add_row(name, str(len(one.members)), metric(one.val, found.metric), metric(one.test, found.metric))
    return made
