"""When a parameter is asked for, told from what was recorded: which other parameter's value decides. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Recorded(Protocol):
    """One run: the values that were asked for, in order."""

    @property
    def values(self) -> dict[str, Any]: ...


@dataclass(frozen=True, kw_only=True)
class Told:
    """`when` by parameter, as a space writes it; and a sentence for each parameter whose condition stays open."""

    when: Mapping[str, Any] = field(default_factory=dict)
    open: Mapping[str, str] = field(default_factory=dict)


def told_conditions(choices: Mapping[str, Sequence[Any]], runs: Sequence[Recorded]) -> Told:
    """The conditions of the parameters that only some runs asked for. `choices` lists every value of each parameter
    that may decide. A condition is told where exactly one of these explains every run, all of its values tried."""
    when: dict[str, Any] = {}
    still_open: dict[str, str] = {}
    for name in dict.fromkeys(name for run in runs for name in run.values):
        asked = sum(name in run.values for run in runs)
        if asked == len(runs):
            continue
        explained = [parent for parent in choices if parent != name and _explains(parent, name, runs)]
        if len(explained) == 1 and _tried(explained[0], choices, runs):
            parent = explained[0]
            when[name] = {parent: _matcher(parent, name, choices[parent], runs)}
            continue
        which = " or ".join(explained) or "no single parameter"
        if len(explained) == 1:
            which += ", of which not every value was tried"
        still_open[name] = (
            f"{name} is asked for in {asked} of {len(runs)} runs; what decides could not be told ({which}): "
            "add its `when` by hand, or leave it: then it is drawn and not used"
        )
    return Told(when=when, open=still_open)


def _explains(parent: str, name: str, runs: Sequence[Recorded]) -> bool:
    """Whether the parent's value alone says in every run if the parameter is asked for, and does say no at times."""
    with_it, without = set(), set()
    for run in runs:
        if parent not in run.values:
            if name in run.values:
                return False
        elif name in run.values:
            if list(run.values).index(parent) > list(run.values).index(name):
                return False
            with_it.add(repr(run.values[parent]))
        else:
            without.add(repr(run.values[parent]))
    return bool(with_it) and bool(without) and not with_it & without


def _tried(parent: str, choices: Mapping[str, Sequence[Any]], runs: Sequence[Recorded]) -> bool:
    tried = {repr(run.values[parent]) for run in runs if parent in run.values}
    return tried >= {repr(value) for value in choices[parent]}


def _matcher(parent: str, name: str, values: Sequence[Any], runs: Sequence[Recorded]) -> Any:
    """The parent's values that lead to the parameter: one value, an order comparison of numbers, or a list."""
    leading = {repr(run.values[parent]) for run in runs if parent in run.values and name in run.values}
    kept = [value for value in values if repr(value) in leading]
    if len(kept) == 1:
        return kept[0]
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        ordered = sorted(values)
        if sorted(kept) == ordered[-len(kept) :]:
            return {">=": min(kept)}
        if sorted(kept) == ordered[: len(kept)]:
            return {"<=": max(kept)}
    return kept
