"""What algorithms refuse before anything is stored, and what they say that they would run."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_service import algorithms
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.proposals import UNLIMITED
from hpo_service.errors import InvalidInput, Unsupported
from search_spaces.catalog import RECIPES
from tests.conformance.driver import Driver, Nature
from tests.cpu_time import least_cpu_seconds

LR = {"lr": {"type": "loguniform", "low": 1e-5, "high": 0.1}}
FUNCTION = {"function": "training:train"}
RECIPE = {"recipe": "image_classifier", "params": {"data": "digits", "model": "mlp"}}


def study(algorithm: dict[str, Any], **more: Any) -> StudyDefinition:
    metric = "val_accuracy" if more.get("trainer", FUNCTION) is RECIPE else "loss"
    document = {"objective": {"metric": metric}, "space": LR, "trainer": FUNCTION, "budget": {"trials": 20}}
    return parse({**document, "algorithm": algorithm, **more})


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    ("levels below", {"name": "asha", "max_resource": 30}, {}, "algorithm.max_resource", "27 and 81"),
    (
        "levels of halving",
        {"name": "successive_halving", "trials": 9, "min_resource": 2, "max_resource": 9},
        {},
        "algorithm.max_resource",
        "6 and 18",
    ),
    (
        "whole epochs of hyperband",
        {"name": "hyperband", "max_resource": 100},
        {"trainer": RECIPE},
        "algorithm.max_resource",
        "81 and 162",
    ),
    (
        "levels below one epoch",
        {"name": "hyperband", "max_resource": 9, "min_resource": 0.3},
        {"trainer": RECIPE},
        "algorithm.min_resource",
        "1 or more",
    ),
    (
        "a whole epoch",
        {"name": "random", "max_resource": 2.5},
        {"trainer": RECIPE},
        "algorithm.max_resource",
        "2 and 3",
    ),
    (
        "whole first level",
        {"name": "asha", "min_resource": 0.5, "max_resource": 4.5},
        {"trainer": RECIPE},
        "algorithm.min_resource",
        "1 and 2",
    ),
    (
        "keep",
        {"name": "successive_halving", "trials": 9, "max_resource": 9, "keep": 10},
        {},
        "algorithm.keep",
        "lower keep",
    ),
    (
        "grace",
        {"name": "median", "max_resource": 9, "grace_resource": 10},
        {},
        "algorithm.grace_resource",
        "lower grace_resource",
    ),
    (
        "interval",
        {"name": "median", "max_resource": 1e6, "interval": 0.01},
        {},
        "algorithm.interval",
        "raise interval",
    ),
    (
        "resource of an unknown length",
        {"name": "random"},
        {"budget": {"resource": 50}},
        "budget.resource",
        "set algorithm.max_resource",
    ),
    (
        "two lengths",
        {"name": "random", "max_resource": 5},
        {"space": {"epochs": {"type": "integer", "low": 1, "high": 9}}},
        "algorithm.max_resource",
        "space.epochs",
    ),
    (
        "a budget below one bracket",
        {"name": "hyperband", "max_resource": 27},
        {"budget": {"resource": 20}},
        "budget.resource",
        "27 or more",
    ),
    (
        "forbidden defaults",
        {"name": "random", "max_resource": 3},
        {
            "space": {"a": {"type": "integer", "low": 1, "high": 5, "default": 3}, **LR},
            "forbid": [{"a": 3}],
        },
        "space",
        "baseline: false",
    ),
]


@pytest.mark.parametrize(("algorithm", "more", "path", "remedy"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_does_not_fit_is_refused_with_what_would(
    algorithm: dict[str, Any], more: dict[str, Any], path: str, remedy: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        algorithms.check(study(algorithm, **more))
    problem = caught.value.problems[0]
    assert problem.path == path
    assert remedy in problem.remedy


@pytest.mark.parametrize("count", [12, 40])
def test_a_large_grid_is_refused_with_its_size_in_no_time(count: int) -> None:
    space = {f"p{i}": {"type": "uniform", "low": 0, "high": 1} for i in range(count)}

    def refuse() -> None:
        with pytest.raises(InvalidInput, match=str(5**12 if count == 12 else 5**40)[:6]):
            algorithms.check(study({"name": "grid"}, space=space))

    assert least_cpu_seconds(refuse) < 0.5


def test_several_objectives_are_for_those_who_serve_them() -> None:
    two = [{"metric": "loss"}, {"metric": "size"}]
    document = {"objective": two, "space": LR, "trainer": FUNCTION, "budget": {"trials": 5}}
    algorithms.check(parse({**document, "algorithm": {"name": "random"}}))
    with pytest.raises(Unsupported, match=r"hyperband serves one objective.*grid, random, sobol"):
        algorithms.check(parse({**document, "algorithm": {"name": "hyperband", "max_resource": 9}}))


def test_a_running_study_keeps_what_its_trials_stand_on() -> None:
    grid = study({"name": "grid"})
    wider = study({"name": "grid"}, space={"lr": {"type": "loguniform", "low": 1e-6, "high": 0.1}})
    with pytest.raises(Unsupported, match="the space of a grid cannot change"):
        algorithms.check_change(grid, wider)
    with pytest.raises(Unsupported, match="seed cannot change"):
        algorithms.check_change(grid, study({"name": "grid"}, seed=4))
    random = study({"name": "random"})
    algorithms.check_change(random, study({"name": "random"}, budget={"trials": 90}, parallel=9))
    with pytest.raises(Unsupported, match="epochs cannot come"):
        algorithms.check_change(
            random, study({"name": "random"}, space={**LR, "epochs": {"type": "integer", "low": 1, "high": 9}})
        )


def test_how_far_a_trial_is_trained_without_a_scheduler() -> None:
    target = algorithms.segment_target
    assert target(study({"name": "random", "max_resource": 7}), {"epochs": 3}) == 7
    assert target(study({"name": "random"}), {"epochs": 3}) == 3
    assert target(study({"name": "random"}, trainer={**FUNCTION, "params": {"epochs": 5}}), {}) == 5
    assert target(study({"name": "random"}), {}) == UNLIMITED
    declared = RECIPES["image_classifier"].parameters["epochs"].default
    assert target(study({"name": "random"}, trainer=RECIPE), {}) == declared


@pytest.mark.parametrize(
    ("algorithm", "budget"),
    [
        ({"name": "hyperband", "max_resource": 9}, {"trials": 50}),
        ({"name": "hyperband", "max_resource": 9}, {"resource": 333}),
        ({"name": "hyperband", "max_resource": 27}, {"resource": 100}),
        ({"name": "bohb", "max_resource": 9}, {"trials": 12, "resource": 60}),
        ({"name": "successive_halving", "trials": 27, "max_resource": 9}, {}),
        ({"name": "successive_halving", "trials": 27, "max_resource": 9}, {"resource": 40}),
        ({"name": "random", "max_resource": 9}, {"resource": 100}),
        ({"name": "grid", "points": 4, "max_resource": 3}, {}),
        ({"name": "sobol", "max_resource": 3}, {"trials": 9}),
    ],
)
def test_the_plan_is_what_runs(algorithm: dict[str, Any], budget: dict[str, Any]) -> None:
    definition = study(algorithm, budget=budget)
    plan = algorithms.plan(definition)
    driver = Driver(definition, Nature(horizon=definition.algorithm.max_resource or 1), workers=3).run()
    assert plan.trials == len(driver.rows)
    assert plan.total_resource == pytest.approx(sum(row.reached for row in driver.rows.values()))


def test_the_plan_shows_the_bracket_table() -> None:
    plan = algorithms.plan(study({"name": "hyperband", "max_resource": 9}, budget={"hours": 1}))
    assert (plan.trials, plan.total_resource) == (None, None)
    assert [bracket["label"] for bracket in plan.brackets] == ["s=2", "s=1", "s=0"]
    assert plan.brackets[0]["rungs"] == [
        {"rung": 0, "trials": 9, "resource": 1.0},
        {"rung": 1, "trials": 3, "resource": 3.0},
        {"rung": 2, "trials": 1, "resource": 9.0},
    ]
    assert "the brackets are repeated until the budget ends" in plan.notes
    assert any("budget.hours" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("trials", "max_resource", "said"),
    [
        (22, 9, "all 3 brackets run in full"), (44, 9, "all 3 brackets run in full, twice"),
        (66, 9, "all 3 brackets run in full, 3 times"), (5, 2, "the bracket runs in full, 5 times"),
    ],
)  # fmt: skip
def test_the_plan_says_how_often_brackets_run(trials: int, max_resource: float, said: str) -> None:
    plan = algorithms.plan(study({"name": "hyperband", "max_resource": max_resource}, budget={"trials": trials}))
    assert said in plan.notes


def test_the_plan_of_an_asynchronous_algorithm_promises_no_sizes() -> None:
    plan = algorithms.plan(study({"name": "asha", "max_resource": 9}))
    assert plan.trials == 20
    assert [rung["trials"] for rung in plan.brackets[0]["rungs"]] == [None, None, None]
    assert any("at most 180" in note for note in plan.notes)
    assert algorithms.plan(study({"name": "median", "max_resource": 9})).brackets == ()


def test_the_plan_knows_the_end_of_a_finite_space() -> None:
    space = {"a": {"type": "integer", "low": 1, "high": 3}}
    assert algorithms.plan(study({"name": "random", "max_resource": 2}, space=space)).trials == 3


def test_the_plan_of_an_enormous_budget_is_quick() -> None:
    definition = study({"name": "hyperband", "max_resource": 81}, budget={"trials": 100_000_000})
    assert algorithms.plan(definition).trials == 100_000_000
    assert least_cpu_seconds(lambda: algorithms.plan(definition)) < 0.5


@pytest.mark.parametrize("algorithm", ["asha", "pasha", "median", "auto"])
def test_the_plan_says_that_the_budget_holds_no_whole_training(algorithm: str) -> None:
    named = {"name": algorithm, "max_resource": 27}
    (told,) = [n for n in algorithms.plan(study(named, budget={"resource": 20})).notes if "come to its end" in n]
    assert told.startswith("budget.resource 20 is less than one training to its end, 27:")
    assert told.endswith("raise budget.resource to 27 or more, or lower algorithm.max_resource")
    enough = algorithms.plan(study(named, budget={"resource": 27}))
    assert not any("come to its end" in note for note in enough.notes)


def test_the_plan_says_that_cmaes_needs_numbers() -> None:
    choices = {"kind": {"type": "choice", "values": ["a", "b"]}, "fixed": {"type": "constant", "value": 3}}
    named = {"name": "cmaes", "max_resource": 2}
    assert any("this space has none" in note for note in algorithms.plan(study(named, space=choices)).notes)
    assert not any("this space has none" in n for n in algorithms.plan(study(named, space={**choices, **LR})).notes)
