"""The recipes' declarations: what is refused, and that documentation and workers agree with them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_spaces.catalog import (
    RECIPES,
    ParameterDeclaration,
    check_params,
    complete,
    lane_names,
    metric_names,
    own_declaration,
    own_recipe,
    validate_trainer,
)

DOC = (Path(__file__).parents[3] / "docs" / "recipes.md").read_text()


def problems(recipe: str = "image_classifier", params: Any = None, space: Any = None, **more: Any) -> list[str]:
    return [str(p) for p in validate_trainer(recipe, params or {}, space or {}, **more)]


def test_a_good_trainer_has_no_problems() -> None:
    space = {
        "lr": {"type": "loguniform", "low": 1e-6, "high": 1e-1},
        "batch_size": {"type": "power_of_two", "low": 16, "high": 256},
        "optimizer": {"type": "choice", "values": ["sgd", "adam"]},
        "momentum": {"type": "uniform", "low": 0.85, "high": 0.95, "when": {"optimizer": "sgd"}},
    }
    params = {"data": "digits", "model": "mlp", "hidden_units": 128}
    assert problems(params=params, space=space, metrics=["val_accuracy"], has_scheduler=True) == []


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({"lr": 101}, "trainer.params.lr: lr must lie in 1e-08 … 100, but got 101; the default is 0.003"),
        ({"batch_size": 0}, "batch_size must lie in 1 … 65536, but got 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number, but got 2.5"),
        ({"lr": float("nan")}, "lr must be a finite number, but got nan"),
        ({"lr": "0.1"}, "lr must be a finite number, but got '0.1'"),
        ({"lr": True}, "lr must be a finite number"),
        ({"model": "mpl"}, "model must be one of softmax, mlp, cnn, resnet, but got 'mpl'; did you mean 'mlp'?"),
        ({"hiden_units": 1}, "did you mean 'hidden_units'?"),
        ({"image_channels": True}, "image_channels must be one of 1, 3"),
        ({"data": ""}, "data must be a text"),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, "must leave rows to train on"),
    ],
)
def test_wrong_parameters_are_refused(params: dict[str, Any], text: str) -> None:
    found = problems(params=params)
    assert len(found) == 1
    assert text in found[0]


@pytest.mark.parametrize(
    ("space", "path", "text"),
    [
        ({"lr": {"type": "loguniform", "low": 1e-6, "high": 1000}}, "space.lr.high", "must lie in"),
        ({"lr": {"type": "choice", "values": [0.1, "x"]}}, "space.lr.values", "finite number"),
        ({"lr": {"type": "uniform", "low": 0.1, "high": 1, "default": 500}}, "space.lr.default", "must lie in"),
        ({"depth": {"type": "integer", "low": 1, "high": 2}}, "space.depth", "must know the parameter"),
        ({"split_seed": {"type": "integer", "low": 1, "high": 2}}, "space.split_seed", "same for all trials"),
        ({"width": {"type": "integer", "low": 1, "high": 2}}, "space.width", "must have an effect on the model"),
        ({"optimizer": {"type": "uniform", "low": 0, "high": 1}}, "space.optimizer", "one of"),
        ({"hidden_units": {"type": "uniform", "low": 8, "high": 64}}, "space.hidden_units.type", "must be whole"),
        ({"hidden_units": {"type": "quniform", "low": 8, "high": 64, "step": 2.5}}, "space.hidden_units.type", "whole"),
        ({"activation": {"type": "constant", "value": "rely"}}, "space.activation.value", "did you mean 'relu'?"),
    ],
)
def test_wrong_dimensions_are_refused(space: dict[str, Any], path: str, text: str) -> None:
    found = problems(space=space)
    assert found
    assert found[0].startswith(path)
    assert any(text in one for one in found)


@pytest.mark.parametrize("kind", ["quniform", "qloguniform"])
def test_whole_steps_suit_whole_parameters(kind: str) -> None:
    assert problems(space={"hidden_units": {"type": kind, "low": 8.0, "high": 64.0, "step": 8.0}}) == []


def test_a_parameter_is_fixed_or_searched() -> None:
    found = problems(params={"lr": 0.1}, space={"lr": {"type": "loguniform", "low": 0.1, "high": 1.0}})
    assert "must be either searched or fixed" in found[0]


def test_searched_models_may_use_any_parameter() -> None:
    space = {"model": {"type": "choice", "values": ["mlp", "cnn"]}, "width": {"type": "integer", "low": 4, "high": 8}}
    assert problems(space=space) == []


def test_epochs_beside_a_scheduler() -> None:
    assert problems(params={"epochs": 5}) == []
    assert "max_resource" in problems(params={"epochs": 5}, has_scheduler=True)[0]
    space = {"epochs": {"type": "integer", "low": 1, "high": 9}}
    assert "max_resource" in problems(space=space, has_scheduler=True)[0]


def test_metrics_follow_recipe_data_and_folds() -> None:
    assert "did you mean 'val_accuracy'?" in problems(metrics=["val_acuracy"])[0]
    assert problems("tabular", {"data": "diabetes"}, metrics=["val_accuracy"])
    assert problems("tabular", {"data": "diabetes"}, metrics=["val_rmse"]) == []
    assert problems("tabular", {"data": "my.csv"}, metrics=["val_rmse", "val_accuracy"]) == []
    assert problems("tabular", {"data": "my.csv", "task": "regression"}, metrics=["val_accuracy"])
    assert problems(metrics=["val_loss_std"])
    assert problems(params={"folds": 3}, metrics=["val_loss_std"]) == []


def test_unknown_recipe() -> None:
    assert "did you mean 'tabular'?" in problems("tabula")[0]


@pytest.mark.parametrize("recipe", RECIPES)
def test_defaults_satisfy_their_own_rules(recipe: str) -> None:
    assert check_params(recipe, complete(recipe, {})) == []
    assert RECIPES[recipe].default_metric in metric_names(
        recipe, {"data": "unknown.csv"} if recipe == "tabular" else {}
    )


_JSON = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
)


@settings(max_examples=200, deadline=None)
@given(
    params=st.dictionaries(
        st.sampled_from(sorted(RECIPES["tabular"].parameters)) | st.text(max_size=4), _JSON, max_size=4
    ),
    spec=st.dictionaries(
        st.sampled_from(["type", "low", "high", "values", "default", "value", "step"]), _JSON, max_size=4
    ),
    name=st.sampled_from(sorted(RECIPES["tabular"].parameters)),
)
def test_no_input_makes_the_checks_stumble(params: dict[str, Any], spec: dict[str, Any], name: str) -> None:
    for problem in validate_trainer("tabular", params, {name: spec}, metrics=["val_loss"]):
        assert str(problem).count("; ") >= 1


def test_folds_that_are_no_number_are_refused() -> None:
    assert problems(params={"folds": "3"}, metrics=["val_loss"]) == [
        "trainer.params.folds: folds must be a finite number, but got '3'; the default is 1"
    ]


def test_of_an_own_recipe_only_a_worker_knows_the_parameters() -> None:
    space = {"noise": {"type": "uniform", "low": 0, "high": 1}, "epochs": {"type": "integer", "low": 1, "high": 9}}
    assert validate_trainer("mine.recipes:Spiral", {"any": 1}, space, metrics=["whatever"]) == []
    (problem,) = validate_trainer("mine.recipes:Spiral", {}, space, has_scheduler=True)
    assert problem.path == "space.epochs"


@pytest.mark.parametrize("name", ["mine", "mine:", ":Spiral", "a b:c", "mine:Spi-ral", "a:b:c"])
def test_what_is_no_import_path_is_an_unknown_recipe(name: str) -> None:
    assert not own_recipe(name)
    (problem,) = validate_trainer(name, {}, {})
    assert problem.path == "trainer.recipe"
    assert "pkg.module:name" in problem.remedy or "did you mean" in problem.remedy


def test_own_declarations_stand_on_the_parameters_of_training() -> None:
    bounded = ParameterDeclaration(name="depth", kind="int", low=1, high=4, default=2, doc="Layers.")
    declared = own_declaration("m:R", parameters={"noise": 0.1, "lr": 0.5, "depth": bounded}, lanes=("noise",))
    assert {"lr", "momentum", "dropout", "noise"} <= set(lane_names(declared))
    assert not {"depth", "batch_size", "optimizer"} & set(lane_names(declared))
    full = complete(declared, {"depth": 3})
    assert (full["lr"], full["noise"], full["depth"], full["batch_size"]) == (0.5, 0.1, 3, 32)
    assert check_params(declared, {"noise": object(), "depth": 4}) == []
    assert [p.path for p in check_params(declared, {"depth": 9, "lr": -1.0, "nose": 1})] == [
        "trainer.params.depth",
        "trainer.params.lr",
        "trainer.params.nose",
    ]


def test_every_parameter_and_metric_is_documented_with_range_and_default() -> None:
    for recipe in RECIPES.values():
        section = DOC.partition(f"## `{recipe.name}`")[2].partition("\n## ")[0]
        assert section, recipe.name
        for parameter in recipe.parameters.values():
            row = re.search(rf"^\| `{parameter.name}` \| (.*) \| (.*) \| (.*) \|$", section, re.MULTILINE)
            assert row, f"{recipe.name}.{parameter.name} is not in docs/recipes.md"
            assert row.groups() == documented(parameter), parameter.name
        for metric in recipe.metrics:
            row = f"| `{metric.name}` | {metric.direction or '–'} | {metric.doc} |"
            assert row in section, row


def documented(parameter: Any) -> tuple[str, str, str]:
    """The cells of a parameter's row."""
    if parameter.kind == "choice":
        allowed = ", ".join(f"`{v}`" for v in parameter.values)
    elif parameter.kind == "text":
        allowed = "text"
    else:
        whole = "whole, " if parameter.kind == "int" else ""
        allowed = f"{whole}{parameter.low:.10g} … {parameter.high:.10g}"
    default = "–" if parameter.default is None else f"`{parameter.default}`"
    notes = [parameter.doc]
    if parameter.models:
        notes.append(f"Of {', '.join(parameter.models)}.")
    if not parameter.tunable:
        notes.append("Not searched.")
    return allowed, default, " ".join(notes)


def test_the_catalog_needs_neither_torch_nor_ray() -> None:
    script = "import sys, search_spaces.catalog; assert not {'torch', 'ray', 'workers'} & set(sys.modules)"
    run([sys.executable, "-c", script], check=True)
