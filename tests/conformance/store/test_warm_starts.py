"""What a new study begins from: which past studies are read, that it is written with the study, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from hpo_service.core import auto
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.events import StudyCreated, WarmStarted
from hpo_service.core.proposals import Start
from hpo_service.core.states import Origin, TrialState
from hpo_service.core.warm_start import MOST_RESULTS
from hpo_service.decider import Decider
from hpo_service.errors import InvalidInput
from hpo_service.store import decisions, deleting, importing, studies
from hpo_service.store.database import Database
from hpo_service.store.rows import GivenTrial, Remember, StudyRow
from tests.storelib import definition

SPACE = {
    "lr": {"type": "loguniform", "low": 1e-6, "high": 1.0, "default": 1e-3},
    "momentum": {"type": "uniform", "low": 0.0, "high": 1.0},
    "optimizer": {"type": "choice", "values": ["sgd", "adam"]},
}


def wanted(**changes: Any) -> StudyDefinition:
    warm = changes.pop("warm_start", "auto")
    algorithm = {"name": "auto", "max_resource": 9, "warm_start": warm}
    return definition(**{"space": SPACE, "algorithm": algorithm, "budget": {"trials": 16}, **changes})


def past_study(db: Database, *, at: float = -3.0, count: int = 30, **changes: Any) -> StudyRow:
    """One that has ended, whose best learning rate is 10^at; every tenth trial failed."""
    row = studies.create_study(db, definition(**{"space": SPACE, **changes}), created_by="ada")
    space, rng = definition(**{"space": SPACE, **changes}).search_space, np.random.default_rng(count)
    sign = -1.0 if changes.get("objective", {}).get("direction") == "maximize" else 1.0
    given = []
    for number in range(count):
        params = space.sample(rng)
        loss = sign * (math.log10(params["lr"]) - at) ** 2
        failed = number % 10 == 9
        state = TrialState.FAILED if failed else TrialState.FINISHED
        metric = changes.get("objective", {}).get("metric", "loss")
        reports = [] if failed else [(0, 9.0, {metric: loss})]
        given.append(GivenTrial(params=params, state=state, resource=9.0, reports=reports))
    importing.import_trials(db, row.id, given)
    return row


def begun(db: Database, study: StudyDefinition) -> WarmStarted | None:
    row = studies.create_study(db, study, created_by="ada")
    first, *others = (event.payload for event in decisions.load_events(db, row.id))
    assert isinstance(first, StudyCreated)
    assert first.chosen == auto.choose(study).to_json()
    return next((one for one in others if isinstance(one, WarmStarted)), None)


def test_the_studies_that_are_alike_are_found_and_written_into_the_log(db: Database) -> None:
    alike = past_study(db)
    narrower = past_study(db, space={**SPACE, "lr": {**SPACE["lr"], "low": 1e-4}}, count=100)
    others = {
        "another objective": past_study(db, objective={"metric": "error"}),
        "another direction": past_study(db, objective={"metric": "loss", "direction": "maximize"}),
        "another project": past_study(db, project="secret"),
        "too few results": past_study(db, count=4),
        "other parameters": past_study(db, space={"lr": SPACE["lr"], "x": SPACE["momentum"], "y": SPACE["momentum"]}),
    }
    deleting.delete_study(db, past_study(db).id)
    found = begun(db, wanted())
    assert found is not None
    assert [source.study for source in found.sources] == [alike.id, narrower.id], others
    assert found.mode == "auto"
    assert found.sources[0].shared == tuple(SPACE)
    assert found.sources[0].likeness > found.sources[1].likeness
    small, large = found.prior
    assert (len(small.params), len(large.params)) == (30, MOST_RESULTS)
    assert sum(map(math.isnan, large.values)) == 8
    assert 1 <= len(found.portfolio) <= 4  # a quarter of 16
    assert abs(math.log10(found.portfolio[0]["lr"]) + 3.0) < 0.7
    assert set(found.portfolio[0]) == set(SPACE)


def test_the_defaults_come_first_then_the_portfolio_then_the_model(db: Database) -> None:
    past_study(db)
    study = studies.create_study(db, wanted(), created_by="ada")
    fold = Decider(db).fold(study.id)
    starts = [one for one in fold.algorithm.propose(8) if isinstance(one, Start)]
    warm = next(e.payload for e in decisions.load_events(db, study.id) if isinstance(e.payload, WarmStarted))
    size = len(warm.portfolio)
    assert [one.origin for one in starts][: size + 2] == [Origin.BASELINE, *[Origin.PORTFOLIO] * size, Origin.SAMPLED]
    assert [one.params for one in starts[1 : size + 1]] == list(warm.portfolio)
    assert "portfolio" in starts[1].reason


def test_a_parameter_that_they_did_not_have_is_at_its_default(db: Database) -> None:
    past_study(db, space={name: SPACE[name] for name in ("lr", "optimizer")})
    found = begun(db, wanted(space={**SPACE, "momentum": {**SPACE["momentum"], "default": 0.9}}))
    assert found is not None
    assert found.sources[0].shared == ("lr", "optimizer")
    assert [params["momentum"] for params in found.portfolio] == [pytest.approx(0.9)] * len(found.portfolio)
    assert "momentum" not in found.prior[0].lengths


def test_what_broke_a_constraint_counts_as_failed(db: Database) -> None:
    bounds = [{"metric": "size", "at_most": 10}]
    row = studies.create_study(db, definition(space=SPACE, constraints=bounds), created_by="ada")
    given = []
    for number in range(20):
        params = {"lr": 10.0 ** (-number / 4), "momentum": 0.5, "optimizer": "sgd"}
        metrics = {"loss": float(number), "size": 20.0 if number < 6 else 5.0}
        given.append(GivenTrial(params=params, state=TrialState.FINISHED, resource=9.0, reports=[(0, 9.0, metrics)]))
    importing.import_trials(db, row.id, given)
    found = begun(db, wanted(constraints=bounds))
    assert found is not None
    (past,) = found.prior
    assert sorted(value for value in past.values if math.isfinite(value)) == [float(n) for n in range(6, 20)]
    assert sum(map(math.isnan, past.values)) == 6
    assert all(params["lr"] <= 10 ** (-6 / 4) * 1.01 for params in found.portfolio)


def test_off_writes_nothing_and_nothing_found_is_written(db: Database) -> None:
    empty = begun(db, wanted())
    assert empty == WarmStarted(mode="auto")
    past_study(db)
    assert begun(db, wanted(warm_start="off")) is None


def test_listed_studies_are_taken_even_with_another_objective(db: Database) -> None:
    past_study(db)
    other = past_study(db, objective={"metric": "score", "direction": "maximize"})
    found = begun(db, wanted(warm_start=[other.id]))
    assert found is not None
    assert (found.mode, [source.study for source in found.sources]) == ("named", [other.id])
    assert found.prior[0].maximize
    assert abs(math.log10(found.portfolio[0]["lr"]) + 3.0) < 0.7


@pytest.mark.parametrize("why", ["unknown", "another project", "nothing shared", "too few"])
def test_a_listed_study_that_cannot_be_used_is_refused_and_nothing_is_made(db: Database, why: str) -> None:
    good = past_study(db)
    study, rule = {
        "unknown": lambda: ("snobody", "lists studies of the project"),
        "another project": lambda: (past_study(db, project="secret").id, "lists studies of the project"),
        "nothing shared": lambda: (_unlike(db), "shares"),
        "too few": lambda: (past_study(db, count=3).id, "at least 5 trials with a value, but this one has 3"),
    }[why]()
    before = studies.list_studies(db).total
    with pytest.raises(InvalidInput) as caught:
        studies.create_study(db, wanted(warm_start=[good.id, study]), created_by="ada")
    (problem,) = caught.value.problems
    assert problem.path == "algorithm.warm_start.1"
    assert rule in problem.rule
    assert "secret" not in str(problem)
    assert studies.list_studies(db).total == before


def _unlike(db: Database) -> str:
    space = {"width": {"type": "integer", "low": 1, "high": 9}}
    return studies.create_study(db, definition(space=space), created_by="ada").id


def test_who_asks_again_gets_the_study_that_was_made_whatever_became_of_its_past(db: Database) -> None:
    past = past_study(db)
    key = Remember(scope="ada", key="k", request_digest="d")
    made = studies.create_study(db, wanted(warm_start=[past.id]), created_by="ada", remember=key)
    deleting.delete_study(db, past.id)
    again = studies.create_study(db, wanted(warm_start=[past.id]), created_by="ada", remember=key)
    assert again.id == made.id


def test_several_objectives_begin_from_nothing(db: Database) -> None:
    past = past_study(db)
    objectives = [{"metric": "loss"}, {"metric": "seconds"}]
    assert begun(db, wanted(objective=objectives)) == WarmStarted(mode="auto")
    with pytest.raises(InvalidInput, match="one objective"):
        studies.create_study(db, wanted(objective=objectives, warm_start=[past.id]), created_by="ada")
