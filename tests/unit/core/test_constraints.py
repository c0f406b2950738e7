"""Constraints: what a definition may say, how much is broken, and what folds, budgets and halving make of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service import algorithms
from hpo_service.core import constraints
from hpo_service.core.budget import Standing
from hpo_service.core.constraints import Constraint
from hpo_service.core.definition import Budget, StudyDefinition, json_schema, parse
from hpo_service.core.events import EndedAttempt, ReportRow
from hpo_service.core.history import History, TrialRecord
from hpo_service.core.proposals import Start
from hpo_service.core.values import rank_key
from hpo_service.errors import InvalidInput, Unsupported
from search_spaces import SearchSpace
from tests.conformance.driver import Driver, Nature

PLAIN: dict[str, Any] = {
    "objective": {"metric": "loss"},
    "space": {"x": {"type": "uniform", "low": 0, "high": 1}},
    "algorithm": {"name": "random"},
    "trainer": {"external": True},
}
LATENCY, RECALL = Constraint(metric="ms", at_most=20.0), Constraint(metric="recall", at_least=0.9)
BOUNDS = (LATENCY, RECALL)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


def defined(**more: Any) -> StudyDefinition:
    return parse({**PLAIN, **more})


def test_documents_without_constraints_do_not_speak_of_them() -> None:
    assert "constraints" not in defined().to_document()
    assert defined(constraints=[]).to_document() == defined().to_document()
    document = defined(constraints=[{"metric": "ms", "at_most": 20}]).to_document()
    assert document["constraints"] == [{"metric": "ms", "at_most": 20.0}]
    assert parse(document).constraints == (LATENCY,)
    assert json_schema()["$defs"]["Constraint"]["properties"].keys() == {"metric", "at_most", "at_least"}


@pytest.mark.parametrize(
    ("given", "path", "says"),
    [
        ([{"metric": "ms"}], "constraints.0", "neither"),
        ([{"metric": "ms", "at_most": 1, "at_least": 0}], "constraints.0", "both"),
        ([{"metric": "ms", "at_most": "NaN"}], "constraints.0.at_most", "number"),
        ([{"metric": "ms", "at_most": math.inf}], "constraints.0.at_most", "finite"),
        ([{"metric": "ms", "atmost": 1}], "constraints.0.atmost", "unknown field"),
        ([{"metric": "ms", "at_most": 1}, {"metric": "ms", "at_least": 0}], "constraints.1.metric", "distinct"),
        ([{"metric": "loss", "at_most": 1}], "constraints.0.metric", "only objective"),
        ([{"metric": "test_ms", "at_most": 1}], "constraints.0.metric", "test rows"),
    ],
)
def test_what_is_no_constraint_is_refused_where_it_stands(given: Any, path: str, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        defined(constraints=given)
    found = {problem.path: problem for problem in refused.value.problems}
    assert says in found[path].rule


def test_an_objective_among_several_may_be_bounded() -> None:
    several = [{"metric": "loss"}, {"metric": "ms"}]
    assert defined(objective=several, constraints=[{"metric": "ms", "at_most": 20}]).constraints == (LATENCY,)


def test_a_recipe_reports_what_is_bounded() -> None:
    recipe = {"recipe": "image_classifier", "params": {"data": "digits"}}
    space = {"lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1}}
    budget = {"trials": 3}
    objective = {"metric": "val_accuracy", "direction": "maximize"}
    whole = {"trainer": recipe, "space": space, "budget": budget, "objective": objective}
    assert defined(**whole, constraints=[{"metric": "val_loss", "at_most": 1}])
    with pytest.raises(InvalidInput, match="val_los") as refused:
        defined(**whole, constraints=[{"metric": "val_los", "at_most": 1}])
    assert "did you mean 'val_loss'" in str(refused.value)


def test_they_cannot_change_while_a_study_runs() -> None:
    with pytest.raises(Unsupported, match="constraints cannot change"):
        algorithms.check_change(defined(), defined(constraints=[{"metric": "ms", "at_most": 20}]))


@given(bound=FLOATS, value=FLOATS, upper=st.booleans())
def test_a_violation_is_above_zero_exactly_where_the_bound_is_broken(bound: float, value: float, upper: bool) -> None:
    one = Constraint(metric="m", **{"at_most" if upper else "at_least": bound})
    by = one.violation(value)
    assert by is not None
    assert (by > 0) is (value > bound if upper else value < bound)
    sum_of = constraints.total([one], [by])
    assert 0 <= sum_of < math.inf
    assert constraints.feasible(sum_of) is not (by > 0)


@pytest.mark.parametrize(
    ("values", "sum_of", "feasible", "words"),
    [
        ({"ms": 20.0, "recall": 0.9}, 0.0, True, ""),
        ({"ms": 23.2, "recall": 0.9}, 0.16, False, "breaks ms by 3.2"),
        ({"ms": 30.0, "recall": 0.45}, 1.0, False, "breaks ms by 10 and recall by 0.45"),
        ({"ms": 30.0}, 0.5, False, "breaks ms by 10; has no value of recall"),
        ({"ms": 10.0, "recall": math.nan}, math.inf, None, "has no value of recall"),
        ({}, math.inf, None, "has no value of ms and recall"),
    ],
)
def test_what_is_broken_is_told(values: dict[str, float], sum_of: float, feasible: bool | None, words: str) -> None:
    found = constraints.total(BOUNDS, [one.violation(values.get(one.metric)) for one in BOUNDS])
    assert found == pytest.approx(sum_of)
    assert constraints.feasible(found) is feasible
    assert constraints.breaks(BOUNDS, values) == words


def facts(at: str = "last") -> History:
    first, second = defined(objective=[{"metric": "loss", "at": at}, {"metric": "size"}]).objectives
    space = SearchSpace.from_definition(PLAIN["space"])
    return History(first, space, others=(second,), constraints=BOUNDS)


def run(history: History, number: int, *values: float, reached: float = 9.0, failed: bool = False) -> TrialRecord:
    """A trial with one report, of loss, size, ms and recall."""
    start = Start(trial=number, params={"x": number / 100}, target=9.0, horizon=9.0, reason="test")
    history.start(start)
    history.report(ReportRow(trial=number, fence=1, step=1, resource=reached, values=values))
    state = "failed" if failed else "finished"
    ended = EndedAttempt(trial=number, fence=1, outcome="reached", trial_state=state, resource=reached)
    return history.ended(ended)


@pytest.mark.parametrize("at", ["last", "best"])
def test_a_trial_carries_all_values_and_violations(at: str) -> None:
    history = facts(at)
    start = Start(trial=0, params={"x": 0.5}, target=9.0, horizon=9.0, reason="test")
    trial = history.start(start)
    assert (trial.values, trial.violations, trial.feasible) == ((None, None), (None, None), None)
    history.report(ReportRow(trial=0, fence=1, step=2, resource=2.0, values=(0.5, 7.0, 10.0, 0.95)))
    assert (trial.values, trial.violations, trial.feasible) == ((0.5, 7.0), (-10.0, pytest.approx(-0.05)), True)
    history.report(ReportRow(trial=0, fence=1, step=3, resource=3.0, values=(0.4, math.inf, 23.0, math.nan)))
    assert (trial.values, trial.violations, trial.feasible) == ((0.4, None), (3.0, None), False)
    history.report(ReportRow(trial=0, fence=1, step=1, resource=1.0, values=(0.1, 1.0, 1.0, 1.0)))
    assert (trial.others, trial.violations) == ((None,), (3.0, None))  # an older step changes nothing


def test_without_constraints_every_trial_is_feasible() -> None:
    history = History(defined().objective, SearchSpace.from_definition(PLAIN["space"]))
    trial = run(history, 0, 0.5)
    assert (trial.values, trial.violations, trial.violation, trial.feasible) == ((0.5,), (), 0.0, True)


KEPT, FAR, NEAR, UNKNOWN = (5.0, 10.0, 0.95), (5.0, 40.0, 0.95), (5.0, 22.0, 0.95), (5.0, math.nan, 0.95)


def test_ranks_go_by_what_is_kept_then_by_how_little_is_broken() -> None:
    history = facts()
    told = [(0.5, *KEPT), (0.4, *KEPT), (0.1, *FAR), (0.3, *NEAR), (0.0, *UNKNOWN), (0.0, *KEPT)]
    trials = [run(history, n, *values, failed=n == 5) for n, values in enumerate(told)]
    ranked = sorted(trials, key=lambda trial: trial.rank(maximize=False))
    assert [trial.number for trial in ranked] == [1, 0, 3, 2, 4, 5]


@given(st.lists(st.tuples(FLOATS, st.floats(0, 10)), min_size=2, max_size=2))
def test_no_value_makes_up_for_what_is_broken(pair: list[tuple[float, float]]) -> None:
    (a, broken_a), (b, broken_b) = pair
    before = rank_key(a, maximize=True, violation=broken_a) < rank_key(b, maximize=True, violation=broken_b)
    if broken_a != broken_b:
        assert before is (broken_a < broken_b)
    elif broken_a > 0:
        assert not before
    else:
        assert before is (a > b)


def judged(told: Sequence[tuple[float, ...]], **budget: Any) -> tuple[Standing, Budget, History]:
    history, bounds = facts(), Budget(**budget)
    standing = Standing(history.objective, judged_at_rest=False)
    for number, values in enumerate(told):
        standing.rested(run(history, number, *values), history, bounds)
    return standing, bounds, history


def test_only_what_keeps_constraints_reaches_a_target() -> None:
    standing, budget, history = judged([(0.1, *FAR), (0.3, *UNKNOWN)], target=0.2)
    assert (standing.over(budget), standing.best_any) == (None, None)
    assert standing.best is history[0]
    standing.rested(run(history, 2, 0.15, *KEPT), history, budget)
    assert standing.over(budget) == "budget.target: 0.15 reaches the target 0.2"
    assert standing.best is history[2]


def test_patience_counts_what_comes_nearer_and_then_what_is_better_and_kept() -> None:
    told = [(0.1, *FAR), (0.9, *NEAR), (0.05, *NEAR), (0.8, *KEPT), (0.1, *NEAR), (0.0, *UNKNOWN), (0.7, *KEPT)]
    since = [judged(told[: count + 1], patience=9)[0].since for count in range(len(told))]
    assert since == [0, 0, 0, 0, 1, 2, 0]
    standing, budget, _ = judged([(0.1, *UNKNOWN)] * 3, patience=3)
    assert "budget.patience: 3 trials in a row" in str(standing.over(budget))


@pytest.mark.parametrize("name", ["asha", "successive_halving"])
def test_halving_promotes_what_keeps_constraints(name: str) -> None:
    """Of nine trials the first is best by far, and breaks the bound; of the others the fifth is best."""
    spec: dict[str, Any] = {"name": name, "min_resource": 1, "max_resource": 9, "eta": 3}
    spec |= {"trials": 9} if name == "successive_halving" else {}
    definition = defined(algorithm=spec, constraints=[{"metric": "ms", "at_most": 20}], budget={"trials": 9})
    losses = (0.0, 0.8, 0.7, 0.9, 0.2, 0.5, 0.6, 0.3, 0.4)
    nature = Nature(losses=lambda n, _: losses[n], others=lambda n, _: (30.0 if n == 0 else 10.0,))
    driver = Driver(definition, nature=nature, workers=1, check_every=5)
    driver.run()
    reached = {number: row.reached for number, row in driver.rows.items()}
    assert reached[0] == 1.0
    assert reached[4] == 9.0
    assert driver.algorithm.state.standing.best is driver.algorithm.history[4]


def test_what_is_not_known_yet_ranks_by_value_behind_what_is_broken() -> None:
    good, poor = (rank_key(value, maximize=True, violation=math.inf) for value in (0.9, 0.1))
    assert rank_key(0.5, maximize=True, violation=3.0) < good < poor < rank_key(None, maximize=True)
