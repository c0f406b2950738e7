"""What a confirmation has come to: its configurations over their seeds, beside what the search saw of them.

Reads the confirmation's trials and those that it confirms. The statistics and the words are `core.confirmation`'s.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from hpo_service.core import confirmation, constraints
from hpo_service.core.confirmation import Against, Spread, Tried, Verdict
from hpo_service.core.definition import Confirms, Objective, StudyDefinition, parse
from hpo_service.core.states import ENDED_STUDY, TrialState
from hpo_service.core.tables import TOLERANCE
from hpo_service.core.telling import metric
from hpo_service.errors import NotFound
from hpo_service.store import finding, reading
from hpo_service.store.database import Database
from hpo_service.store.rows import StudyRow, TrialRow

TEST = "test_"


@dataclass(frozen=True, kw_only=True, slots=True)
class Searched:
    """What the search saw of a configuration. Only where it was trained as far does the value compare."""

    value: float
    resource: float
    compares: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Seed:
    """One training with a new seed."""

    trial: int
    state: TrialState
    value: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """One of those that are confirmed. `others`: the other objectives; `test`: whatever was measured on test rows."""

    trial: int
    params: Mapping[str, Any]
    searched: Searched | None
    seeds: tuple[Seed, ...]
    failed: int
    open: int
    spread: Spread | None
    optimism: float | None
    others: Mapping[str, Spread]
    test: Mapping[str, Spread]
    cost_microdollars: float | None  # a seed
    seconds: float | None  # a seed
    against: Against | None  # the winner against this one; None for the winner itself


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmed:
    """A confirmation as it stands; the first configuration is the search's winner. `search_name` is None where that
    study is gone."""

    study: StudyRow
    confirms: Confirms
    search_name: str | None
    objective: Objective
    resource: float | None
    configurations: tuple[Configuration, ...]
    verdict: Verdict
    test_words: str  # what the test rows say of the winner; empty without them


def read(db: Database, study: StudyRow) -> Confirmed:
    """The confirmation `study` as it stands. Raises NotFound for a study that confirms none."""
    definition = parse(study.definition)
    if definition.confirms is None:
        raise NotFound(
            f"study {study.id} confirms no other one",
            remedy="confirm the best trials of a search with `hpo confirm STUDY --top 5 --seeds 5`",
        )
    confirms = definition.confirms
    trials = list(reading.iter_trials(db, study.id))
    try:
        name: str | None = finding.get_study(db, confirms.study).name
        before = {t.number: t for t in reading.some(db, confirms.study, confirms.trials)}
    except NotFound:
        name, before = None, {}
    far = getattr(definition.algorithm, "max_resource", None)
    over = study.state in ENDED_STUDY
    made = [
        _configuration(definition, number, place, trials, before.get(number), far=far, over=over)
        for place, number in enumerate(confirms.trials)
    ]
    found = _judged(made, definition)
    found = replace(found, notes=(*_broken(trials, definition, confirms.trials), *found.notes))
    return Confirmed(
        study=study,
        confirms=confirms,
        search_name=name,
        objective=definition.objective,
        resource=far,
        configurations=tuple(_with_against(one, found) for one in made),
        verdict=found,
        test_words=_test_words(made[0], definition.objective),
    )


def telling(confirmations: Sequence[Confirmed]) -> Confirmed:
    """Of several, oldest first, the newest that has something to say: one that has just begun does not hide what an
    earlier one found."""
    told = [one for one in confirmations if one.verdict.kind not in ("open", "untold")]
    return (told or confirmations)[-1]


def _configuration(
    definition: StudyDefinition,
    number: int,
    place: int,
    trials: Sequence[TrialRow],
    before: TrialRow | None,
    *,
    far: float | None,
    over: bool,
) -> Configuration:
    objective = definition.objective
    mine = _of_configuration(trials, place)
    done = [t for t in mine if t.state is TrialState.FINISHED and t.value is not None and math.isfinite(t.value)]
    failed = sum(t.state is TrialState.FAILED or (t.state is TrialState.FINISHED and t not in done) for t in mine)
    spread = confirmation.spread([t.value for t in done if t.value is not None])
    searched = _searched(before, far)
    metrics = list(dict.fromkeys(name for t in done for name in t.values))
    return Configuration(
        trial=number,
        params=mine[0].params if mine else before.params if before else {},
        searched=searched,
        seeds=tuple(Seed(trial=t.number, state=t.state, value=t.value) for t in mine),
        failed=failed,
        open=0
        if over
        else sum(t.state not in (TrialState.FINISHED, TrialState.FAILED, TrialState.STOPPED) for t in mine),
        spread=spread,
        optimism=confirmation.optimism(searched.value, spread.mean, maximize=objective.maximize)
        if searched is not None and searched.compares and spread is not None
        else None,
        others=_spreads(done, [o.metric for o in definition.objectives[1:]]),
        test=_spreads(done, [name for name in metrics if name.startswith(TEST)]),
        cost_microdollars=fmean(t.cost_microdollars for t in done) if done else None,
        seconds=fmean(t.seconds for t in done) if done else None,
        against=None,
    )


def _of_configuration(trials: Sequence[TrialRow], place: int) -> list[TrialRow]:
    """The trials with the configuration of trial `place`, which the confirmation began with; of one that was tried
    again, the newest try."""
    if place >= len(trials):
        return []
    retried = {t.retry_of for t in trials}
    key = _key(trials[place].params)
    return [t for t in trials if _key(t.params) == key and t.number not in retried]


def _key(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)


def _searched(before: TrialRow | None, far: float | None) -> Searched | None:
    if before is None or before.value is None or not math.isfinite(before.value):
        return None
    compares = far is None or before.resource >= far * (1 - TOLERANCE)
    return Searched(value=before.value, resource=before.resource, compares=compares)


def _spreads(done: Sequence[TrialRow], names: Sequence[str]) -> dict[str, Spread]:
    found = {}
    for name in names:
        spread = confirmation.spread([v for t in done if (v := t.values.get(name)) is not None and math.isfinite(v)])
        if spread is not None:
            found[name] = spread
    return found


def _judged(made: Sequence[Configuration], definition: StudyDefinition) -> Verdict:
    tried = [
        Tried(
            trial=one.trial,
            values=tuple(
                s.value
                for s in one.seeds
                if s.state is TrialState.FINISHED and s.value is not None and math.isfinite(s.value)
            ),
            failed=one.failed,
            open=one.open,
            cost=one.cost_microdollars,
        )
        for one in made
    ]
    objective = definition.objective
    return confirmation.verdict(tried[0], tried[1:], metric=objective.metric, maximize=objective.maximize)


def _broken(trials: Sequence[TrialRow], definition: StudyDefinition, numbers: Sequence[int]) -> list[str]:
    """What new seeds say of the study's constraints, of each configuration that does not keep them all."""
    notes = []
    for place, number in enumerate(numbers):
        done = [t for t in _of_configuration(trials, place) if t.state is TrialState.FINISHED]
        judged = [constraints.judged(definition.constraints, t.values) for t in done]
        for bound in definition.constraints:
            by = [found[bound.metric] for found in judged]
            notes += confirmation.unkept(number, str(bound), by)
    return notes


def _with_against(one: Configuration, found: Verdict) -> Configuration:
    mine = next((against for against in found.against if against.trial == one.trial), None)
    return replace(one, against=mine)


def _test_words(winner: Configuration, objective: Objective) -> str:
    name = TEST + objective.metric.removeprefix("val_")
    found = winner.test.get(name)
    if found is None:
        return ""
    shown = metric(found.mean, name, found.sd)
    return f"On the test rows, which no search has seen, trial {winner.trial} comes to {name} {shown}."
