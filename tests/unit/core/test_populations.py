"""What population based training refuses, with rule, value and remedy; what it changes; and its plan."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_service import algorithms
from hpo_service.core import populations
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.errors import InvalidInput, Unsupported

RECIPE = {"recipe": "image_classifier", "params": {"data": "digits"}}
SPACE = {
    "lr": {"type": "loguniform", "low": 1e-4, "high": 0.1},
    "batch_size": {"type": "power_of_two", "low": 16, "high": 64},
}


def study(trainer: dict[str, Any] | None = None, budget: dict[str, Any] | None = None, **spec: Any) -> StudyDefinition:
    more = {name: spec.pop(name) for name in ("objective", "space", "repeats") if name in spec}
    return parse(
        {
            "objective": {"metric": "val_loss"},
            "space": SPACE,
            "algorithm": {"name": "pbt", "population": 8, "max_resource": 10, **spec},
            "trainer": trainer or RECIPE,
            "budget": budget or {},
            **more,
        }
    )


def refused(**changes: Any) -> str:
    with pytest.raises((InvalidInput, Unsupported)) as caught:
        algorithms.check(study(**changes))
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "path", "rule", "remedy"),
    [
        ({"population": 3}, "algorithm.population", "greater than or equal to 4", "use 4 or more"),
        ({"quantile": 0.1}, "algorithm.quantile", "one trial at least", "raise it to 0.125"),
        ({"interval": 10}, "algorithm.interval", "an exchange before max_resource=10", "lower it, to 1"),
        ({"max_resource": 6, "interval": 6}, "algorithm.interval", "before max_resource=6", "lower it, to 1 for"),
        ({"interval": 1.5}, "algorithm.interval", "whole epochs", "1 and 2"),
        ({"mutate": ["batch_size"]}, "algorithm.mutate", "structural parameter", "those that can: lr"),
        ({"mutate": ["lt"]}, "algorithm.mutate", "names parameters of the space", "did you mean 'lr'?"),
        ({"space": {"batch_size": SPACE["batch_size"]}, "repeats": True}, "algorithm.mutate", "must be able", "lr"),
        ({"budget": {"trials": 7}}, "budget.trials", "hold the population of 8", "raise it to 8"),
        ({"budget": {"resource": 7}}, "budget.resource", "first interval of the whole population", "to 8 or more"),
        ({"trainer": {"optuna": "m:f"}}, "trainer.optuna", "keeps no checkpoints", "function"),
        ({"trainer": {"external": True}}, "trainer.external", "keep theirs to themselves", "use asha"),
        (
            {"objective": [{"metric": "val_loss"}, {"metric": "train_loss"}]},
            "objective",
            "serves one objective",
            "keep one",
        ),
        (
            {"space": {"dropout": {"type": "quniform", "low": 0.0, "high": 0.5, "step": 0.1}}},
            "algorithm.population",
            "the space has 6 configurations",
            "repeats: true",
        ),
    ],
)
def test_refusals_say_rule_and_remedy(changes: dict[str, Any], path: str, rule: str, remedy: str) -> None:
    text = refused(**changes)
    assert path in text
    assert rule in text
    assert remedy in text


def test_what_changes_by_default() -> None:
    assert populations.mutated(study()) == {"lr"}
    wide = {
        **SPACE,
        "width": {"type": "integer", "low": 8, "high": 64},
        "dropout": {"type": "uniform", "low": 0.0, "high": 0.5},
        "optimizer": {"type": "choice", "values": ["sgd", "adam"]},
    }
    function = study({"function": "m:f"}, space=wide)
    assert populations.mutated(function) == {"lr", "dropout"}, "whole numbers and choices may shape a model"
    assert populations.mutated(study({"function": "m:f"}, space=wide, mutate=["optimizer"])) == {"optimizer"}


def test_the_plan_says_how_many_and_where_a_budget_ends_it() -> None:
    plan = algorithms.plan(study())
    assert plan.total_resource == 80
    assert [rung["resource"] for rung in plan.brackets[0]["rungs"]] == list(range(1, 11))
    assert "up to 2 of 8 trials give up their places" in " ".join(plan.notes)
    cut = algorithms.plan(study(budget={"resource": 30, "trials": 10}))
    assert cut.total_resource == 24
    assert "ends it at resource 3 of 10" in " ".join(cut.notes)
    assert "after 2 new ones everyone stays" in " ".join(cut.notes)


def test_its_space_cannot_change_while_it_runs() -> None:
    other = {**SPACE, "lr": {"type": "loguniform", "low": 1e-3, "high": 0.1}}
    with pytest.raises(Unsupported, match="the space of a population cannot change"):
        algorithms.check_change(study(), study(space=other))
    algorithms.check_change(study(), study(budget={"hours": 3}))


def test_who_is_synchronous() -> None:
    assert algorithms.synchronous(study())
    assert not algorithms.synchronous(study(synchronous=False))
