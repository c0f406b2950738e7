"""W&B sweeps: their documented distributions and settings, in sweeps of our own making."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.core.definition import parse
from hpo_service.documents import load_yaml
from hpo_service.errors import InvalidInput
from hpo_service.foreign.definitions import import_definition
from search_spaces import SearchSpace

SWEEP = """
program: train_digits.py
method: bayes
name: digits-adam
project: old-project
description: The first try
metric: {name: val/accuracy, goal: maximize, target: 0.99}
run_cap: 40
parameters:
  lr: {distribution: log_uniform_values, min: !!float 1e-5, max: 1e-2}
  decay: {distribution: log_uniform, min: -9.2, max: -2.3}
  batch: {distribution: q_log_uniform_values, min: 32, max: 256, q: 8}
  width: {min: 16, max: 256}
  dropout: {min: 0.1, max: 0.5}
  optimizer:
    parameters:
      name: {values: [adam, sgd]}
      momentum: {distribution: q_uniform, min: 0.5, max: 0.95, q: 0.05}
  layers: {distribution: q_uniform, min: 1, max: 6}
  data: {value: digits}
  sizes: {value: [64, 64]}
  noise: {distribution: normal, sigma: 0.1}
command: ["${env}", python, "${program}", "${args}"]
"""


def sweep(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "method": "random",
        "metric": {"name": "loss"},
        "parameters": {"lr": {"min": 0.0, "max": 1.0}},
        "run_cap": 5,
    }
    return {**found, **changes}


def space_of(**parameters: Any) -> dict[str, Any]:
    found: dict[str, Any] = import_definition(sweep(parameters=parameters)).document["space"]
    return found


def test_a_whole_sweep(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    imported = import_definition(file, trainer="function=train_digits:main")
    assert imported.source == "W&B sweep"
    assert imported.document == {
        "name": "digits-adam",
        "objective": {"metric": "val/accuracy", "direction": "maximize"},
        "space": {
            "lr": {"type": "loguniform", "low": 1e-5, "high": 0.01},
            "decay": {"type": "loguniform", "low": math.exp(-9.2), "high": math.exp(-2.3)},
            "batch": {"type": "qloguniform", "low": 32.0, "high": 256.0, "step": 8.0},
            "width": {"type": "integer", "low": 16, "high": 256, "step": 1},
            "dropout": {"type": "uniform", "low": 0.1, "high": 0.5},
            "optimizer.name": {"type": "choice", "values": ["adam", "sgd"]},
            "optimizer.momentum": {"type": "quniform", "low": 0.5, "high": 0.95, "step": 0.05},
            "layers": {"type": "integer", "low": 1, "high": 6, "step": 1},
            "data": {"type": "constant", "value": "digits"},
            "noise": {"type": "normal", "mu": 0.0, "sigma": 0.1},
        },
        "algorithm": {"name": "bayesian", "surrogate": "gp"},
        "trainer": {"function": "train_digits:main", "params": {"sizes": [64, 64]}},
        "budget": {"trials": 40, "target": 0.99},
        "notes": "The first try",
    }
    told = "\n".join(imported.notes)
    for word in ("program: 'train_digits.py' is never run", "command", "project: has no counterpart", "exponents of e",
                 "nested parameters", "sizes", "use int()"):  # fmt: skip
        assert word in told
    written = imported.to_yaml()
    assert written.startswith("# Made from a W&B sweep.\n# Note: ")
    assert parse(load_yaml(written)) == imported.definition


def drawn(kind: str, low: Any, high: Any, **more: Any) -> dict[str, Any]:
    """A parameter of theirs with a distribution."""
    return {"distribution": kind, "min": low, "max": high, **more}


def ours(kind: str, low: float, high: float, **more: Any) -> dict[str, Any]:
    """A parameter of ours."""
    return {"type": kind, "low": low, "high": high, **more}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"value": None}, {"type": "constant", "value": None}),
        ({"distribution": "constant", "value": 3}, {"type": "constant", "value": 3}),
        ({"values": [0.3, "x", None, True]}, {"type": "choice", "values": [0.3, "x", None, True]}),
        ({"values": [1, 2], "probabilities": [0.5, 0.5]}, {"type": "choice", "values": [1, 2]}),
        ({"min": 1, "max": 9}, ours("integer", 1, 9, step=1)),
        ({"min": 1, "max": 9.5}, ours("uniform", 1.0, 9.5)),
        (drawn("int_uniform", 3, 3), {"type": "constant", "value": 3}),
        (drawn("uniform", 0, 1), ours("uniform", 0.0, 1.0)),
        (drawn("q_uniform", 4, 192, q=4), ours("integer", 4, 192, step=4)),
        (drawn("q_uniform", 0.1, 0.6, q=0.2), ours("quniform", 0.0, 0.6, step=0.2)),
        (drawn("log_uniform", 0, 2), ours("loguniform", 1.0, math.exp(2))),
        (drawn("inv_log_uniform", 0, 2), ours("loguniform", math.exp(-2), 1.0)),
        (drawn("inv_log_uniform_values", 0.1, 2), ours("loguniform", 0.1, 2.0)),
        (drawn("q_log_uniform_values", 1, 64), ours("log_integer", 1, 64)),
        (drawn("q_log_uniform", 0, 3, q=0.5), ours("qloguniform", 1.0, 20.0, step=0.5)),
        ({"distribution": "log_normal", "mu": -3, "sigma": 0.5}, {"type": "lognormal", "mu": -3.0, "sigma": 0.5}),
        ({"mu": 2}, {"type": "normal", "mu": 2.0, "sigma": 1.0}),
    ],
)
def test_each_distribution(spec: dict[str, Any], expected: dict[str, Any]) -> None:
    assert space_of(x=spec, other={"value": 1})["x"] == expected


SHARE = st.floats(0, 1)


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.001, 1e4), st.floats(1.01, 100.0), st.sampled_from([0.25, 0.5, 1, 2, 8]), st.floats(0, 1), st.booleans()
)
def test_quantised_draws_of_theirs_are_legal_here(low: float, ratio: float, q: float, u: float, log: bool) -> None:
    """round(X / q) * q of any X between min and max."""
    high = low * ratio
    kind = "q_log_uniform_values" if log else "q_uniform"
    try:
        definition = import_definition(sweep(parameters={"x": {"distribution": kind, "min": low, "max": high, "q": q}}))
    except InvalidInput as error:
        refused = error
    else:
        x = math.exp(math.log(low) + u * math.log(ratio)) if log else low + u * (high - low)
        definition.definition.search_space.parameters["x"].parse(round(min(high, max(low, x)) / q) * q)
        return
    assert log
    assert "raise min" in str(refused)


@pytest.mark.parametrize(
    ("changes", "path", "says"),
    [
        ({"parameters": {"x": {"distribution": "q_normal"}}}, "parameters.x.distribution", "no steps here"),
        ({"parameters": {"x": {"distribution": "beta"}}}, "parameters.x.distribution", "use uniform"),
        ({"parameters": {"x": {"distribution": "unifrom"}}}, "parameters.x.distribution", "did you mean 'uniform'"),
        (
            {"parameters": {"x": {"values": [1, 2], "probabilities": [0.9, 0.1]}}},
            "parameters.x.probabilities",
            "equally",
        ),
        ({"parameters": {"x": {"values": [[1], [2]]}}}, "parameters.x.values", "JSON scalar"),
        ({"parameters": {"x": {"distribution": "uniform", "min": 1}}}, "parameters.x.max", "required"),
        ({"parameters": {"x": {"min": 5, "max": 1}}}, "parameters.x.low", "swap"),
        ({"parameters": {"x": {"low": 5, "max": 1}}}, "parameters.x.low", "unknown key"),
        ({"parameters": {"x": 5}}, "parameters.x", "mapping"),
        ({"method": "bohb"}, "method", "grid, random or bayes"),
        ({"method": "custom", "scheduler": {"job": "x"}}, "method", "not carried"),
        ({"metric": None}, "metric.name", "--metric"),
        ({"metric": {"name": "x", "goal": "min"}}, "metric.goal", "minimize"),
        ({"early_terminate": {"type": "hyperband", "min_iter": 3}}, "early_terminate.max_iter", "--max-resource"),
        ({"early_terminate": {"type": "median", "max_iter": 3}}, "early_terminate.type", "hyperband"),
        ({"early_terminate": {"type": "hyperband"}}, "early_terminate", "min_iter or max_iter"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 9, "eta": 0.5}}, "early_terminate.eta", "at least 2"),
        ({"early_terminate": {"type": "hyperband", "max_iter": 9, "eta": 2.5}}, "early_terminate.eta", "whole"),
        ({"parameters": {"x": {}}}, "parameters.x", "give value, values, or min and max"),
        ({"parameters": {"x": {"distribution": "log_uniform", "min": 0, "max": 999}}}, "parameters.x", "smaller"),
        (
            {"parameters": {"x": {"distribution": "q_uniform", "min": 0, "max": 1e300, "q": 1e-9}}},
            "parameters.x",
            "sma",
        ),
        ({"parameters": {"x": {"distribution": ["a"], "min": 0, "max": 1}}}, "parameters.x.distribution", "unknown"),
        (
            {"parameters": {"a.b": {"value": 1}, "a": {"parameters": {"b": {"value": 2}}}}},
            "parameters.a.parameters.b",
            "stands for one parameter",
        ),
    ],
)
def test_what_cannot_be_carried_is_named_with_a_remedy(changes: dict[str, Any], path: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        import_definition(sweep(**changes))
    assert path in {problem.path for problem in caught.value.problems}
    assert says in str(caught.value)


def test_without_a_run_cap_our_own_rule_asks_for_a_bound() -> None:
    endless = sweep(run_cap=None)
    assert import_definition(endless).document["trainer"] == {"external": True}
    with pytest.raises(InvalidInput, match="never ends"):
        import_definition(endless, trainer="function=a:b")
    bound = import_definition(endless, trainer="function=a:b", changes={"budget": {"trials": 9}})
    assert bound.document["budget"] == {"trials": 9}


@pytest.mark.parametrize(
    ("early", "more", "expected"),
    [
        ({"max_iter": 27, "s": 2}, {}, {"min_resource": 3.0, "max_resource": 27.0, "eta": 3}),
        ({"max_iter": 16, "s": 3, "eta": 2}, {}, {"min_resource": 2.0, "max_resource": 16.0, "eta": 2}),
        ({"min_iter": 3, "eta": 2}, {"max_resource": 24}, {"min_resource": 3.0, "max_resource": 24, "eta": 2}),
    ],
)
def test_hyperband_s_levels(early: dict[str, Any], more: dict[str, Any], expected: dict[str, Any]) -> None:
    found = import_definition(sweep(early_terminate={"type": "hyperband", **early}), **more)
    assert found.document["algorithm"] == {"name": "asha", "sampler": "random", **expected}
    assert any("ASHA" in note for note in found.notes)


def test_constant_epochs_are_how_far_a_trial_goes() -> None:
    parameters = {"epochs": {"value": 50}, "lr": {"min": 0.0, "max": 1.0}}
    early = {"type": "hyperband", "min_iter": 2, "strict": True}
    found = import_definition(sweep(method="bayes", parameters=parameters, early_terminate=early))
    assert found.document["algorithm"] == {
        "name": "asha", "sampler": "gp", "min_resource": 2.0, "max_resource": 50.0, "eta": 3
    }  # fmt: skip
    assert set(found.document["space"]) == {"lr"}
    assert any("strict" in note for note in found.notes)


def test_a_grid_is_a_grid_and_its_early_end_is_told() -> None:
    found = import_definition(sweep(method="grid", early_terminate={"type": "hyperband", "max_iter": 9}))
    assert found.document["algorithm"] == {"name": "grid"}
    assert sum("grid" in note for note in found.notes) == 2


def test_the_user_s_words_win() -> None:
    found = import_definition(sweep(metric=None), metric="f1", direction="maximize", trainer={"ray_tune": "a:b"})
    assert found.document["objective"] == {"metric": "f1", "direction": "maximize"}
    assert found.document["trainer"] == {"ray_tune": "a:b"}
    for odd in ("function", "function=", "shell=rm", "external=1"):
        with pytest.raises(InvalidInput, match="a trainer is external"):
            import_definition(sweep(), trainer=odd)


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="neither"):
        import_definition({"stages": []})
    with pytest.raises(InvalidInput, match="study definition already"):
        import_definition({"space": {}, "algorithm": {}})
    with pytest.raises(InvalidInput, match="must be readable"):
        import_definition(tmp_path / "nothing.yaml")
    odd = tmp_path / "odd.yaml"
    odd.write_text("method: [")
    with pytest.raises(InvalidInput, match=r"odd\.yaml"):
        import_definition(odd)
    assert SearchSpace.from_definition(space_of(x={"value": 1}))
