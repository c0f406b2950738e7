"""What `auto` picks, rule by rule, and that the pick stays."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service import algorithms
from hpo_service.core import auto
from hpo_service.core.algorithm_specs import AutoSpec
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.errors import InvalidInput

LR = {"type": "loguniform", "low": 1e-5, "high": 0.1}
FUNCTION = {"function": "training:train"}
RECIPE = {"recipe": "image_classifier", "params": {"data": "digits", "model": "mlp"}}
FEW = {"a": {"type": "choice", "values": ["x", "y", "z"]}, "b": {"type": "integer", "low": 1, "high": 4}}
MANY = {f"p{i}": {"type": "uniform", "low": 0, "high": 1} for i in range(21)}
TREE: dict[str, Any] = {
    "kind": {"type": "choice", "values": ["svm", "forest"]},
    "c": {**LR, "when": {"kind": "svm"}},
    "trees": {"type": "integer", "low": 10, "high": 500, "when": {"kind": "forest"}},
}
TWO = [{"metric": "loss"}, {"metric": "seconds"}]
EPOCHS = {"lr": LR, "epochs": {"type": "integer", "low": 1, "high": 50}}


def study(**more: Any) -> StudyDefinition:
    far = more.pop("far", None)
    algorithm = {"name": "auto"} | ({} if far is None else {"max_resource": far}) | more.pop("options", {})
    metric = "val_accuracy" if more.get("trainer") is RECIPE else "loss"
    document = {"objective": {"metric": metric}, "space": {"lr": LR}, "trainer": FUNCTION, "budget": {"trials": 30}}
    return parse({**document, "algorithm": algorithm, **more})


RULES: list[tuple[str, dict[str, Any], str]] = [
    ("curves", {"far": 27}, "judged early"),
    ("curves", {"trainer": RECIPE}, "judged early"),
    ("curves", {"far": 9, "trainer": {"external": True}}, "judged early"),
    ("gp", {}, "max_resource"),
    ("gp", {"trainer": {"external": True}}, "max_resource"),
    ("gp", {"far": 2}, "too few steps"),
    ("gp", {"far": 20, "options": {"min_resource": 10}}, "too few steps"),
    ("gp", {"space": EPOCHS}, "epochs are tuned"),
    ("gp", {"far": 27, "trainer": {"optuna": "tuning:objective"}}, "no checkpoints"),
    ("tpe", {"space": MANY}, "21 parameters"),
    ("tpe", {"space": TREE}, "2 of 3 parameters hang on conditions"),
    ("tpe", {"budget": {"trials": 5000}}, "5000 trainings"),
    ("rungs", {"space": MANY, "far": 27}, "21 parameters"),
    ("rungs", {"space": TREE, "far": 27}, "conditions"),
    ("grid", {"space": FEW, "far": 27}, "12 configurations"),
    ("grid", {"space": FEW, "far": 10, "budget": {"resource": 120}}, "12 configurations"),
    ("curves", {"space": FEW, "far": 10, "budget": {"resource": 119}}, "judged early"),
    ("gp", {"space": FEW, "budget": {"hours": 1}}, "max_resource"),
    ("gp", {"space": FEW, "repeats": True}, "max_resource"),
    ("gp", {"objective": TWO}, "2 objectives"),
    ("gp", {"objective": TWO, "far": 27}, "2 objectives"),
    ("tpe", {"objective": TWO, "space": TREE}, "hang on conditions"),
    ("tpe", {"objective": [{"metric": f"m{i}"} for i in range(3)]}, "3 objectives, and beyond 2 it"),
    ("nsga2", {"objective": TWO, "budget": {"trials": 501}}, "501 trainings"),
    ("grid", {"objective": TWO, "space": FEW}, "12 configurations"),
]


@pytest.mark.parametrize(("method", "more", "why"), RULES, ids=[f"{r[0]}: {r[2]}" for r in RULES])
def test_every_rule_says_what_it_picked_and_why(method: str, more: dict[str, Any], why: str) -> None:
    definition = study(**more)
    found = auto.choose(definition)
    assert (found.method, why in found.reason) == (method, True), found
    assert auto.Choice.from_json(found.to_json()) == found
    plan = algorithms.plan(definition)
    assert plan.notes[0] == f"auto picks {found.text}"
    fold = algorithms.fold(definition)
    assert (fold.name, fold.version) == ("auto", algorithms.VERSIONS["auto"])
    assert fold.propose(1)


def test_the_pick_of_the_first_event_stays() -> None:
    definition = study()
    assert type(algorithms.fold(definition)._sampler).__name__ == "SurrogateSampler"
    assert type(algorithms.fold(definition, "sobol")._sampler).__name__ == "SobolSampler"


def test_a_bare_name_and_none_at_all_are_auto() -> None:
    document = study().to_document()
    assert parse({**document, "algorithm": "auto"}) == parse({k: v for k, v in document.items() if k != "algorithm"})
    assert parse({**document, "algorithm": "random"}).algorithm.name == "random"
    with pytest.raises(InvalidInput, match="did you mean 'auto'"):
        parse({**document, "algorithm": "autoo"})


@pytest.mark.parametrize(
    ("given", "parsed"),
    [("auto", "auto"), ("off", "off"), (False, "off"), ([], "off"), (["s1", "s2"], ("s1", "s2"))],
)
def test_past_studies_are_chosen_listed_or_left(given: Any, parsed: Any) -> None:
    spec = study(options={"warm_start": given}).algorithm
    assert isinstance(spec, AutoSpec)
    assert spec.warm_start == parsed


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"warm_start": "s1"}, "algorithm.warm_start"),
        ({"warm_start": True}, "algorithm.warm_start"),
        ({"warm_start": ["s"] * 17}, "algorithm.warm_start"),
        ({"min_resource": 30, "max_resource": 27}, "algorithm"),
        ({"max_resource": 2.5}, "algorithm.max_resource"),
        ({"max_resource": 9, "min_resource": 1.5}, "algorithm.min_resource"),
    ],
)
def test_what_is_wrong_is_told(options: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        algorithms.check(study(trainer=RECIPE, options=options))
    assert caught.value.problems[0].path.startswith(path)
    assert len(caught.value.problems) == 1
    assert "literal" not in str(caught.value)


@pytest.mark.parametrize(("given", "remedy"), [("on", "write auto"), (True, "write auto"), ("s1", r"write \[s1\]")])
def test_what_begins_a_study_is_told(given: Any, remedy: str) -> None:
    with pytest.raises(InvalidInput, match=f"auto, off or a list of studies, but got {given!r}; {remedy}$"):
        study(trainer=RECIPE, options={"warm_start": given})


def test_epochs_beside_max_resource_are_refused() -> None:
    with pytest.raises(InvalidInput, match="epochs"):
        study(space=EPOCHS, far=9)


@given(far=st.integers(1, 500), least=st.integers(1, 20))
def test_levels_are_whole_rise_and_end_at_the_top(far: int, least: int) -> None:
    levels = auto.levels(study(trainer=RECIPE, far=max(far, least), options={"min_resource": least}))
    assert levels[-1] == max(far, least)
    assert all(level == int(level) for level in levels)
    assert list(levels) == sorted(set(levels))
    assert levels[0] >= least
