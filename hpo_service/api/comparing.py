"""Several studies side by side, as the API says it; what may be luck stands in `core.comparison`, in words in
`core.verdicts`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpo_service.api import compared
from hpo_service.api.compared import Difference
from hpo_service.api.schemas import Study
from hpo_service.api.state import Shared
from hpo_service.core import analysis, comparison, verdicts
from hpo_service.core.comparison import Floats, Outcome
from hpo_service.core.definition import Objective
from hpo_service.core.states import ENDED_STUDY
from hpo_service.core.verdicts import Side
from hpo_service.store import improvements
from hpo_service.store.rows import Improvement, StudyRow
from hpo_service.views import progress

_NOT_COMPARED = frozenset({"name", "notes", "tags", "project"})
SERIES = 500
"""Points of a study's series at most."""
LABEL = 60


@dataclass(frozen=True, slots=True)
class _Member:
    """A study and what is compared of it."""

    study: StudyRow
    objective: Objective
    values: Floats  # of the trials that rank at its highest resource
    best_so_far: compared.BestSoFar


def compare(shared: Shared, rows: Sequence[StudyRow], answers: Sequence[Study]) -> compared.Comparison:
    """The studies side by side; `answers` are their wire forms."""
    documents = [row.definition for row in rows]
    members = [_member(shared, row) for row in rows]
    series = improvements.improvements_of(shared.db, [row.id for row in rows])
    parts = comparison.groups(documents)
    labels = _labels(rows, parts)
    return compared.Comparison(
        seq=sum(row.last_seq for row in rows),
        items=[
            compared.Compared(
                study=answer, best_so_far=m.best_so_far, series=_series(m, series[m.study.id]), final=_final(m)
            )
            for answer, m in zip(answers, members, strict=True)
        ],
        differences=differences(documents),
        groups=[
            compared.Group(label=label, studies=[rows[i].id for i in part])
            for label, part in zip(labels, parts, strict=True)
        ],
        tests=[*_group_tests(members, parts, labels), *_study_tests(members, parts)],
    )


def differences(documents: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """The dotted paths at which the documents differ, with each one's value there; null where it has none."""
    stripped = [{name: value for name, value in d.items() if name not in _NOT_COMPARED} for d in documents]
    return [Difference(path=d.path, values=list(d.values)) for d in analysis.differences(stripped)]


def _member(shared: Shared, study: StudyRow) -> _Member:
    with shared.columns.at(study.id, study.last_seq) as columns:
        objective = columns.definition.objective
        numbers, values = columns.remember("by_trial", lambda: progress.by_trial(columns))
        furthest = columns.counts & (columns.resource == study.best_resource)
        found = columns.sort_value[furthest].copy()
    best_so_far = compared.BestSoFar(trials=numbers.tolist(), values=values.tolist())
    return _Member(study, objective, found, best_so_far)


def _final(member: _Member) -> compared.Final | None:
    study, found = member.study, comparison.final(member.values, maximize=member.objective.maximize)
    if found is None or study.best_trial is None or study.best_resource is None:
        return None
    return compared.Final(
        value=found.value,
        low=found.low,
        high=found.high,
        n=found.n,
        resource=study.best_resource,
        trial=study.best_trial,
    )


def _series(member: _Member, rows: Sequence[Improvement]) -> compared.Series:
    if len(rows) > SERIES:
        rows = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, SERIES).round().astype(int))]
    begin = member.study.started_at
    return compared.Series(
        trial=[row.trial for row in rows],
        value=[row.value for row in rows],
        resource=[row.resource for row in rows],
        at=[row.at.timestamp() for row in rows],
        hours=[None if begin is None else max(0.0, (row.at - begin).total_seconds() / 3600) for row in rows],
        spent_resource=[row.spent_resource for row in rows],
        cost_microdollars=[row.cost_microdollars for row in rows],
        ended=[row.ended for row in rows],
    )


def _study_tests(members: Sequence[_Member], parts: Sequence[Sequence[int]]) -> list[compared.Test]:
    pairs = list(itertools.combinations(range(len(members)), 2))
    outcomes = [_outcome(members[i], members[j]) for i, j in pairs]
    sides = [_side(member) for member in members]
    group_of = {index: number for number, part in enumerate(parts) for index in part}
    # What is not said to be luck or not is not counted against the others.
    tested = [
        None if o is None or group_of[i] == group_of[j] else o.p for (i, j), o in zip(pairs, outcomes, strict=True)
    ]
    found = []
    for (i, j), outcome, corrected in zip(pairs, outcomes, comparison.holm(tested), strict=True):
        same = group_of[i] == group_of[j]
        words = verdicts.of_studies(sides[i], sides[j], outcome, corrected, replicates=same)
        outcome = replace(outcome, p=None) if same and outcome is not None else outcome  # known to be luck
        found.append(_test("studies", members[i].study.id, members[j].study.id, outcome, corrected, words))
    return found


def _outcome(a: _Member, b: _Member) -> Outcome | None:
    """None where the values do not compare."""
    alike = (a.objective.metric, a.objective.direction) == (b.objective.metric, b.objective.direction)
    if not alike or a.study.best_resource != b.study.best_resource:
        return None
    return comparison.compare_finals(a.values, b.values, maximize=a.objective.maximize)


def _group_tests(
    members: Sequence[_Member], parts: Sequence[Sequence[int]], labels: Sequence[str]
) -> list[compared.Test]:
    """Every two groups of at least three studies that have a final value at the same resource."""
    able: list[tuple[Side, Floats]] = []
    for part, label in zip(parts, labels, strict=True):
        mine = [members[i] for i in part if members[i].study.kept_value is not None]
        if len(mine) >= comparison.REPLICATES and len({m.study.best_resource for m in mine}) == 1:
            finals = np.array([m.study.kept_value for m in mine], dtype=np.float64)
            side = _side(mine[0], name=label, value=float(finals.mean()), n=len(mine), among=mine)
            able.append((side, finals))
    pairs = [(a, b) for a, b in itertools.combinations(able, 2) if _alike(a[0], b[0])]
    outcomes = [comparison.compare_groups(a[1], b[1]) for a, b in pairs]
    corrected = comparison.holm([outcome.p for outcome in outcomes])
    return [
        _test("groups", a[0].name, b[0].name, outcome, p, verdicts.of_groups(a[0], b[0], outcome, p))
        for (a, b), outcome, p in zip(pairs, outcomes, corrected, strict=True)
    ]


def _alike(a: Side, b: Side) -> bool:
    return (a.metric, a.maximize, a.resource) == (b.metric, b.maximize, b.resource)


def _side(
    member: _Member,
    *,
    name: str | None = None,
    value: float | None = None,
    n: int | None = None,
    among: Sequence[_Member] = (),
) -> Side:
    return Side(
        name=name or member.study.name,
        value=member.study.kept_value if value is None else value,
        n=member.values.size if n is None else n,
        resource=member.study.best_resource,
        metric=member.objective.metric,
        maximize=member.objective.maximize,
        going=any(m.study.state not in ENDED_STUDY for m in among or (member,)),
    )


def _test(of: str, a: str, b: str, found: Outcome | None, corrected: float | None, verdict: str) -> compared.Test:
    if found is None:
        return compared.Test(of=of, a=a, b=b, verdict=verdict)
    return compared.Test(
        of=of, a=a, b=b, difference=found.difference, low=found.low, high=found.high, p=found.p, p_corrected=corrected,
        verdict=verdict,
    )  # fmt: skip


def _labels(rows: Sequence[StudyRow], parts: Sequence[Sequence[int]]) -> list[str]:
    """A group is called by what sets it apart, else by its first study's name; no two alike."""
    firsts = [{k: v for k, v in rows[part[0]].definition.items() if k != "seed"} for part in parts]
    paths = differences(firsts)
    found: list[str] = []
    for index, part in enumerate(parts):
        label = ", ".join(
            f"{d.path.rpartition('.')[2]} {d.values[index]}" for d in paths if d.values[index] is not None
        )
        if not label or len(label) > LABEL:
            label = rows[part[0]].name
        found.append(label if label not in found else f"{label} ({rows[part[0]].id})")
    return found
