"""Past studies of the other problems: a problem is never told of itself, and `auto` begins from what it is told."""

from __future__ import annotations

import numpy as np
import pytest

from hpo_service.bench import elsewhere, ours
from hpo_service.bench.laboratory import laboratory
from hpo_service.bench.problems import synthetic
from hpo_service.bench.problems.base import Found, Problem
from hpo_service.store import studies, warm_starts
from search_spaces import SearchSpace


def found(problem: Problem) -> Found:
    space, rng = SearchSpace.from_definition(problem.space), np.random.default_rng(1)
    drawn = [space.sample(rng) for _ in range(12)]
    trials = tuple((params, float(problem.curve(params)[-1]), float(problem.max_resource)) for params in drawn)
    return Found(title=problem.title, maximize=problem.maximize, trials=(*trials[:-1], (drawn[-1], None, 1.0)))


def test_every_other_problem_is_told_of_and_auto_begins_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "_found", lambda named: found(named.problem))
    problems = synthetic.load()
    one = elsewhere.beginning(problems[0], problems)
    others = {other.title for other in problems[1:] if other.collection == one.collection}
    assert {past.title for past in one.elsewhere} == others
    assert (one.variant, one.title) == (elsewhere.VARIANT, problems[0].title)
    study = ours.definition(one, {"name": "auto", "max_resource": one.max_resource}, seed=1, workers=1, budget=8)
    with laboratory() as place:
        place.remember(one, study)
        row = studies.create_study(place.db, study, created_by="bench")
        _, warm = warm_starts.beginning(place.db, row.id)
    assert warm is not None
    same = [other for other in problems[1:] if dict(other.space) == dict(one.space) and other.maximize == one.maximize]
    assert {source.name for source in warm.sources} >= {other.title for other in same}
    assert bool(warm.portfolio) == bool(warm.sources)
