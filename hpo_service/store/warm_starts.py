"""What a new study begins from: the past studies of its project that are most alike, and some results of each.

Reads; what it finds is written by `studies.create_study`, as one event of the transaction that makes the study. Nothing
is read of other projects than the study's own. Not here: likeness, portfolio and models, which are `core`'s.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, or_, select

from hpo_service.core import auto, likeness, portfolio
from hpo_service.core.algorithm_specs import AutoSpec
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.events import StudyCreated
from hpo_service.core.states import Origin, TrialState
from hpo_service.core.warm_start import MOST_RESULTS, MOST_STUDIES, PastResults, Source, WarmStarted
from hpo_service.errors import FieldProblem, InvalidInput
from hpo_service.store import decisions
from hpo_service.store.database import Database
from hpo_service.store.tables import studies, trials
from hpo_service.store.tx import Tx
from search_spaces import SearchSpace, SpaceError

LOOKED_AT = 200
"""Of the project's studies with this objective, the newest so many."""
READ = 48
"""Spaces that are read: of those, the newest whose parameters' names fit."""
LEAST_RESULTS = 5
LEAST_LIKENESS = 0.3
"""Studies that are less alike are not taken by `auto`."""
BEST, WORST = 24, 8
_ALL = 2_000
"""Studies of more trials are read in part: their best, and every so manieth."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Past:
    """A past study that shares parameters with the new one."""

    row: Row[Any]
    maximize: bool
    overlaps: Mapping[str, float]
    likeness: float


def begun_from(db: Database, definition: StudyDefinition) -> WarmStarted | None:
    """What a study of this definition would begin from; None where it asks for nothing. Raises InvalidInput for a
    listed study that the project does not have, or that shares nothing."""
    spec = definition.algorithm
    if not isinstance(spec, AutoSpec) or spec.warm_start == "off" or definition.confirms is not None:
        return None
    listed = spec.warm_start if isinstance(spec.warm_start, tuple) else None
    if len(definition.objectives) > 1:
        if listed is None:
            return WarmStarted(mode="auto")
        raise InvalidInput.of(
            FieldProblem(
                path="algorithm.warm_start",
                rule="past studies are compared by one objective, so a study of several cannot begin from them",
                value=list(listed),
                remedy="remove warm_start, or keep one objective",
            )
        )
    with db.read() as tx:
        if listed is None:
            found = _alike(tx, definition)
        else:
            found = [_named(tx, definition, study, at) for at, study in enumerate(listed)]
        told = [(past, *_results(tx, past, definition.search_space)) for past in found]
    return _made("auto" if listed is None else "named", definition, told)


def beginning(db: Database, study_id: str) -> tuple[Mapping[str, str], WarmStarted | None]:
    """What a study's `auto` picked (empty for an algorithm that was named), and what it began from. Neither changes."""
    events = decisions.load_events(db, study_id, limit=2)
    payloads = [event.payload for event in events]
    chosen = next((one.chosen for one in payloads if isinstance(one, StudyCreated)), {})
    return chosen, next((one for one in payloads if isinstance(one, WarmStarted)), None)


def _made(
    mode: str, definition: StudyDefinition, told: Sequence[tuple[_Past, Sequence[Mapping[str, Any]], Sequence[float]]]
) -> WarmStarted:
    space = definition.search_space
    sources, tasks, prior = [], [], []
    for past, params, values in told:
        if sum(map(math.isfinite, values)) < LEAST_RESULTS:
            continue
        task = portfolio.task(params, values, maximize=past.maximize, weight=past.likeness, space=space)
        lengths = zip(space.names, task.kernel.lengths.tolist(), strict=True)
        prior.append(
            PastResults(
                study=past.row.id,
                maximize=past.maximize,
                params=tuple(params),
                values=tuple(values),
                lengths={name: round(length, 6) for name, length in lengths if math.isfinite(length)},
                noise=task.kernel.noise,
            )
        )
        sources.append(
            Source(
                study=past.row.id,
                name=past.row.name,
                trials=len(values),
                shared=tuple(past.overlaps),
                likeness=round(past.likeness, 3),
            )
        )
        tasks.append(task)
    chosen = portfolio.chosen(tasks, space, most=portfolio.size(auto.trainings(definition)))
    return WarmStarted(mode=mode, sources=tuple(sources), portfolio=tuple(chosen), prior=tuple(prior))


def _alike(tx: Tx, definition: StudyDefinition) -> list[_Past]:
    """Studies of the project with the same objective, most alike first."""
    c, space = studies.c, definition.search_space
    rows = tx.all(
        select(studies)
        .where(c.project == definition.project, c.deleted_at.is_(None), c.confirms.is_(None), c.best_trial.is_not(None))
        .order_by(c.created_at.desc(), c.id.desc())
        .limit(LOOKED_AT)
    )
    tuned = {name for name in space.names if space.parameters[name].cardinality != 1}
    found: list[_Past] = []
    read = 0
    for row in rows:
        if not _same_objective(row, definition) or read == READ:
            continue
        document = json.loads(row.definition)
        if 2 * len(tuned & set(document["space"])) < len(tuned):
            continue
        read += 1
        past = _past(row, document, definition)
        if past is not None and past.likeness >= LEAST_LIKENESS and 2 * len(past.overlaps) >= len(tuned):
            found.append(past)
    found.sort(key=lambda past: -past.likeness)  # stable: of those as much alike, the newest
    return found[:MOST_STUDIES]


def _named(tx: Tx, definition: StudyDefinition, study: str, at: int) -> _Past:
    """A study that the definition lists. One of another project is as unknown as one that there never was."""
    c, path = studies.c, f"algorithm.warm_start.{at}"
    row = tx.first(select(studies).where(c.id == study, c.project == definition.project, c.deleted_at.is_(None)))
    if row is None:
        raise InvalidInput.of(
            FieldProblem(
                path=path,
                rule=f"warm_start lists studies of the project {definition.project!r} by their ids",
                value=study,
                remedy="list them with `hpo studies`",
            )
        )
    past = _past(row, json.loads(row.definition), definition)
    if past is None:
        raise InvalidInput.of(
            FieldProblem(
                path=path,
                rule="a past study shares parameters: the same name, the same kind of values, ranges that overlap",
                value=study,
                remedy=f"remove it; the parameters here are {', '.join(definition.search_space.names)}",
            )
        )
    ranks = select(func.count()).select_from(trials).where(trials.c.study_id == study, trials.c.sort_value.is_not(None))
    if (count := tx.execute(ranks).scalar_one()) < LEAST_RESULTS:
        raise InvalidInput.of(
            FieldProblem(
                path=path,
                rule=f"a past study has at least {LEAST_RESULTS} trials with a value, but this one has {count}",
                value=study,
                remedy="wait until it has, or remove it",
            )
        )
    return past


def _past(row: Row[Any], document: Mapping[str, Any], definition: StudyDefinition) -> _Past | None:
    """The study with what it shares; None where that is nothing."""
    try:
        theirs = SearchSpace.from_definition(document["space"], document.get("forbid", ()))
    except SpaceError:  # of an older version, with other rules
        return None
    own = definition.search_space
    overlaps = likeness.overlaps(own, theirs)
    if not overlaps:
        return None
    objective = json.loads(row.objectives)[0]
    trainer = document.get("trainer", {})
    alike = likeness.likeness(own, theirs)
    if {k: v for k, v in trainer.items() if k != "bundle"} != _trainer(definition):
        alike *= 0.8  # other data or another model: further away than the same again
    return _Past(row=row, maximize=objective["direction"] == "maximize", overlaps=overlaps, likeness=alike)


def _trainer(definition: StudyDefinition) -> dict[str, Any]:
    return {k: v for k, v in definition.to_document()["trainer"].items() if k != "bundle"}


def _same_objective(row: Row[Any], definition: StudyDefinition) -> bool:
    objectives = json.loads(row.objectives)
    one, own = objectives[0], definition.objective
    return len(objectives) == 1 and one["metric"] == own.metric and one["direction"] == own.direction


def _results(tx: Tx, past: _Past, own: SearchSpace) -> tuple[list[Mapping[str, Any]], list[float]]:
    """At most `MOST_RESULTS` of the study's trials in terms of the new space: the best, the worst (failed ones too) and
    an even spread of the others."""
    params: list[Mapping[str, Any]] = []
    values: list[float] = []
    for value, text in _read(tx, past, _spread(_ranked(tx, past))):
        found = likeness.translated(json.loads(text), past.overlaps, own)
        if found is not None:
            params.append(found)
            values.append(math.nan if value is None else float(value))
    return params, values


def _ranked(tx: Tx, past: _Past) -> list[int]:
    """The numbers of trials with a value, best first; then some that failed, or broke a constraint."""
    c = trials.c
    of = (c.study_id == past.row.id, c.origin != Origin.CONFIRM.value)
    order = (c.sort_value.desc() if past.maximize else c.sort_value.asc(), c.number.asc())
    ranks = (*of, c.sort_value.is_not(None), or_(c.violation.is_(None), c.violation == 0))
    count = int(tx.execute(select(func.count()).select_from(trials).where(*ranks)).scalar_one())
    if count <= _ALL:
        good = [row.number for row in tx.all(select(c.number).where(*ranks).order_by(*order))]
    else:
        best = [row.number for row in tx.all(select(c.number).where(*ranks).order_by(*order).limit(BEST))]
        every = select(c.number).where(*ranks, c.number % (count // (_ALL // 2)) == 0).order_by(*order)
        good = list(dict.fromkeys([*best, *(row.number for row in tx.all(every))]))
    broken = or_(c.state == TrialState.FAILED.value, c.violation > 0)
    failed = select(c.number).where(*of, broken).order_by(c.number).limit(WORST)
    return [*good, *(row.number for row in tx.all(failed))]


def _spread(ranked: Sequence[int]) -> list[int]:
    if len(ranked) <= MOST_RESULTS:
        return list(ranked)
    middle, room = ranked[BEST:-WORST], MOST_RESULTS - BEST - WORST
    between = [middle[(2 * i + 1) * len(middle) // (2 * room)] for i in range(room)]
    return [*ranked[:BEST], *between, *ranked[-WORST:]]


def _read(tx: Tx, past: _Past, numbers: Sequence[int]) -> Iterator[tuple[float | None, str]]:
    c = trials.c
    rows = tx.all(
        select(c.number, c.sort_value, c.violation, c.params).where(
            c.study_id == past.row.id, c.number.in_(list(numbers))
        )
    )
    known = {row.number: row for row in rows}
    for number in numbers:
        if number in known:
            row = known[number]
            yield None if row.violation else row.sort_value, row.params
