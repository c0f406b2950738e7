"""What a study cost, and what the same search would have cost by hand: assumptions said beside the numbers."""

from __future__ import annotations

import math

from hpo_service.report.blocks import Block, Facts, Text
from hpo_service.report.gathering import Gathered
from hpo_service.report.wording import dollars, duration, number, plural

HAND_MINUTES = 5.0
"""A person's attention for one trial run by hand: choose the values, start it, look at what came out, write it down."""


def blocks(found: Gathered) -> list[Block]:
    """Money, hours, and the comparison with the same search by hand."""
    study, given, definition = found.study, found.given, found.definition
    cost = study.cost_microdollars / 1e6
    resources = definition.resources
    price = resources.cpu * given.cpu_hour_dollars + resources.gpu * given.gpu_hour_dollars
    facts = [
        ("Machines", f"{dollars(cost)}, at {dollars(given.cpu_hour_dollars)} for a CPU-hour and "
         f"{dollars(given.gpu_hour_dollars)} for a GPU-hour"),
        ("Machine hours", f"{number(cost / price, 3)} h of {_shape(found)}" if price > 0 and cost > 0 else ""),
        ("Trained", f"{duration(found.trained_seconds)} in all trials, resource {number(study.resource)}"),
        ("From begin to end", "" if found.seconds is None else duration(found.seconds)),
        ("Trained in full", _in_full(found, cost)),
        ("The same by hand", _by_hand(found, cost)),
    ]  # fmt: skip
    made: list[Block] = [Facts([(name, value) for name, value in facts if value])]
    if given.wage_hour_dollars > 0 and _own(found):
        made.append(
            Text(
                f"By hand, {HAND_MINUTES:g} minutes of a person's attention are counted for each trial (choosing the "
                "values, starting it, looking at what came out, writing it down) at "
                f"{dollars(given.wage_hour_dollars)} an hour (HPO_WAGE_HOUR_DOLLARS), and the same machines. Waiting "
                "is not counted. Nobody would run a search of many trials by hand: it would be a smaller one.",
                quiet=True,
            )
        )
    return made


def _own(found: Gathered) -> int:
    """Trials of this study: those that were imported cost nothing here."""
    return found.study.next_trial - found.study.imported


def _shape(found: Gathered) -> str:
    resources = found.definition.resources
    gpu = f" and {plural(int(resources.gpu), 'GPU') if resources.gpu >= 1 else f'{resources.gpu:g} GPU'}"
    return f"{resources.cpu:g} CPU" + (gpu if resources.gpu else "")


def _in_full(found: Gathered, cost: float) -> str:
    """What it would have cost to train every trial as far as the best one: what stopping early saved."""
    study, far = found.study, getattr(found.definition.algorithm, "max_resource", None)
    if not found.definition.has_scheduler or far is None or study.resource <= 0 or not math.isfinite(far):
        return ""
    whole = _own(found) * far
    if whole <= study.resource * 1.001:
        return ""
    return (
        f"every trial to resource {number(far)} would have been {number(whole / study.resource, 3)} times the "
        f"training: about {dollars(cost * whole / study.resource)}"
    )


def _by_hand(found: Gathered, cost: float) -> str:
    trials, wage = _own(found), found.given.wage_hour_dollars
    if not trials or wage <= 0:
        return ""
    hours = trials * HAND_MINUTES / 60
    return (
        f"{plural(trials, 'trial')} × {HAND_MINUTES:g} min = {duration(hours * 3600)} of a person's time, "
        f"{dollars(hours * wage)}, and {dollars(cost)} for the machines"
    )
