"""The study definition: what is read, what is refused, and how."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_service.core.definition import json_schema, parse
from hpo_service.errors import InvalidInput

STUDY: dict[str, Any] = {
    "name": "digits",
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "space": {
        "lr": {"type": "loguniform", "low": 1e-6, "high": 0.1},
        "optimizer": {"type": "choice", "values": ["sgd", "adam"]},
        "momentum": {"type": "uniform", "low": 0.85, "high": 0.95, "when": {"optimizer": "sgd"}},
    },
    "algorithm": {"name": "hyperband", "max_resource": 27, "eta": 3},
    "trainer": {"recipe": "image_classifier", "params": {"data": "digits", "model": "mlp", "hidden_units": 128}},
    "budget": {"trials": 200, "resource": 5000, "hours": 2, "dollars": 5, "patience": 40, "target": 0.999},
    "resources": {"cpu": 1, "gpu": 0},
    "parallel": 8,
    "tags": ["demo"],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    if not rest:
        return {**STUDY, head: value}
    return {**STUDY, head: {**STUDY[head], rest: value}}


def test_a_definition_survives_its_document() -> None:
    definition = parse(STUDY)
    assert parse(definition.to_document()) == definition
    assert definition.to_document()["objective"]["metric"] == "val_accuracy"


def test_several_objectives_survive_too() -> None:
    definition = parse(
        {
            **STUDY,
            "objective": [{"metric": "val_accuracy", "direction": "maximize"}, {"metric": "val_loss"}],
            "algorithm": {"name": "random"},
        }
    )
    assert [o.metric for o in definition.objectives] == ["val_accuracy", "val_loss"]
    assert parse(definition.to_document()) == definition


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    (changed("paralel", 3), "paralel", "did you mean 'parallel'?"),
    (changed("algorithm.etta", 3), "algorithm.etta", "did you mean 'eta'?"),
    (changed("budget.trial", 3), "budget.trial", "did you mean 'trials'?"),
    (changed("algorithm", {"name": "hyperbnd"}), "algorithm", "did you mean 'hyperband'?"),
    (changed("parallel", 0), "parallel", "greater than or equal to 1"),
    (changed("budget.trials", "many"), "budget.trials", "valid integer"),
    (changed("objective.metric", "val_acuracy"), "objective.metric", "did you mean 'val_accuracy'?"),
    (changed("trainer.recipe", "image_clasifier"), "trainer.recipe", "did you mean 'image_classifier'?"),
    (changed("trainer", {"recipe": "tabular", "external": True}), "trainer", "exactly one of"),
    (changed("trainer", {"function": "train"}), "trainer.function", "MODULE:NAME, but got 'train'; write it as"),
    (changed("algorithm.max_resource", 0.5), "algorithm", "at least min_resource"),
    (changed("resources", {"cpu": 0, "gpu": 0}), "resources", "needs cpu or gpu"),
    (changed("space.lr", {"type": "loguniform", "low": 1, "high": 0.1}), "space.lr.low", "swap them"),
    (changed("space.lr", {"type": "loguniform", "low": 0, "high": 0.1}), "space.lr.low", "low > 0"),
    (changed("space.epochs", {"type": "integer", "low": 1, "high": 9}), "space.epochs", "max_resource"),
    (changed("budget", {}), "budget", "set one of budget.trials"),
    (changed("seed", -1), "seed", "greater than or equal to 0"),
    (changed("seed", -1), "seed", "use 0 or more"),
    (changed("name", "x" * 201), "name", "shorten it to 200 characters or fewer"),
    (changed("tags", ["x"] * 101), "tags", "keep at most 100"),
    (changed("priority", 0), "priority", "use more than 0"),
    (changed("resources", {"lanes": 0}), "resources.lanes", "auto, off or a whole number from 1 to 4096"),
    (changed("resources", {"lanes": "some"}), "resources.lanes", "write auto"),
]


@pytest.mark.parametrize(("document", "path", "text"), REFUSED, ids=[path for _, path, _ in REFUSED])
def test_a_broken_field_is_named_with_its_remedy(document: dict[str, Any], path: str, text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(document)
    assert path in {problem.path for problem in caught.value.problems}
    assert text in str(caught.value)


@pytest.mark.parametrize("document", [None, [], "name: x", 3])
def test_what_is_no_mapping_is_refused(document: Any) -> None:
    with pytest.raises(InvalidInput, match="a study definition is a mapping"):
        parse(document)


def test_depth_is_bounded_without_recursion() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(InvalidInput, match="nests at most"):
        parse({**STUDY, "notes": deep})


def test_the_schema_promises_no_default_that_depends_on_the_algorithm() -> None:
    assert "default" not in json_schema()["properties"]["parallel"]
    silent = {name: value for name, value in STUDY.items() if name != "parallel"}
    free, learning = (parse({**silent, "algorithm": {"name": name}}) for name in ("random", "bayesian"))
    assert (free.parallel, learning.parallel) == (256, 4)


def test_the_schema_describes_the_document() -> None:
    schema = json_schema()
    assert {"objective", "space", "trainer"} <= set(schema["required"])
    assert schema["properties"]["algorithm"]["default"]["name"] == "auto"
    assert "objectives" not in schema["properties"]
    assert "hyperband" in str(schema["$defs"]["HyperbandSpec"])


def test_an_objective_that_is_wrong_is_told_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(changed("objective.direction", "maximise"))
    assert [problem.path for problem in caught.value.problems] == ["objective.direction"]
