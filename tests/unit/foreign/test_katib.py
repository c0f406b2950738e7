"""Katib experiments: the algorithms and settings that its own examples show, in experiments of our own making."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpo_service.errors import InvalidInput
from hpo_service.foreign.definitions import import_definition

RANDOM = """
---
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata: {namespace: team, name: digits-random}
spec:
  objective:
    type: maximize
    goal: 0.97
    objectiveMetricName: Validation-accuracy
    additionalMetricNames: [Train-accuracy]
  algorithm:
    algorithmName: random
    algorithmSettings: [{name: random_state, value: "10"}]
  parallelTrialCount: 3
  maxTrialCount: 12
  maxFailedTrialCount: 3
  resumePolicy: LongRunning
  parameters:
    - {name: lr, parameterType: double, feasibleSpace: {min: "0.01", max: "0.03"}}
    - {name: decay, parameterType: double, feasibleSpace: {min: "0.001", max: "0.01", step: "0.001"}}
    - {name: num-layers, parameterType: int, feasibleSpace: {min: "2", max: "5"}}
    - {name: width, parameterType: discrete, feasibleSpace: {list: ["16", "32", "64"]}}
    - {name: optimizer, parameterType: categorical, feasibleSpace: {list: [sgd, adam, ftrl]}}
  trialTemplate:
    primaryContainerName: training
    trialSpec: {apiVersion: batch/v1, kind: Job}
"""


def experiment(**changes: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "objective": {"type": "minimize", "objectiveMetricName": "loss"},
        "algorithm": {"algorithmName": "random"},
        "maxTrialCount": 12,
        "parameters": [{"name": "lr", "parameterType": "double", "feasibleSpace": {"min": "0.01", "max": "0.5"}}],
    }
    return {"apiVersion": "kubeflow.org/v1beta1", "kind": "Experiment", "spec": {**spec, **changes}}


def algorithm(name: str, **algorithm_settings: Any) -> dict[str, Any]:
    listed = [{"name": key, "value": str(value)} for key, value in algorithm_settings.items()]
    return {"algorithmName": name, "algorithmSettings": listed}


def parameter(kind: str, **feasible: Any) -> list[dict[str, Any]]:
    return [{"name": "x", "parameterType": kind, "feasibleSpace": feasible}]


def test_a_whole_experiment(tmp_path: Path) -> None:
    file = tmp_path / "random.yaml"
    file.write_text(RANDOM)
    imported = import_definition(file)
    assert imported.source == "Katib experiment"
    assert imported.document == {
        "name": "digits-random",
        "objective": {"metric": "Validation-accuracy", "direction": "maximize", "at": "best"},
        "space": {
            "lr": {"type": "uniform", "low": 0.01, "high": 0.03},
            "decay": {"type": "quniform", "low": 0.001, "high": 0.01, "step": 0.001},
            "num-layers": {"type": "integer", "low": 2, "high": 5, "step": 1},
            "width": {"type": "ordinal", "values": [16, 32, 64]},
            "optimizer": {"type": "choice", "values": ["sgd", "adam", "ftrl"]},
        },
        "algorithm": {"name": "random"},
        "trainer": {"external": True},
        "budget": {"trials": 12, "target": 0.97},
        "parallel": 3,
        "seed": 10,
    }
    told = "\n".join(imported.notes)
    for word in ("maxFailedTrialCount: 3", "trialTemplate: is never run", "Train-accuracy", "LongRunning", "trainer"):
        assert word in told


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (algorithm("grid"), {"name": "grid"}),
        (algorithm("sobol"), {"name": "sobol"}),
        (algorithm("tpe", n_EI_candidates=25, gamma=0.1), {"name": "bayesian", "surrogate": "tpe"}),
        (algorithm("multivariate-tpe", n_startup_trials=5),
         {"name": "bayesian", "surrogate": "tpe", "startup_trials": 5}),
        (algorithm("bayesianoptimization", n_initial_points=7, base_estimator="GP"),
         {"name": "bayesian", "surrogate": "gp", "startup_trials": 7}),
    ],
)  # fmt: skip
def test_algorithms_and_their_settings(given: dict[str, Any], expected: dict[str, Any]) -> None:
    found = import_definition(experiment(algorithm=given))
    assert found.document["algorithm"] == expected
    for setting in given["algorithmSettings"]:
        carried = setting["name"] in ("n_initial_points", "n_startup_trials")
        assert carried != any(setting["name"] in note for note in found.notes)


def test_hyperband_s_resource_is_no_parameter() -> None:
    parameters = [
        *parameter("double", min="0.01", max="0.03"),
        {"name": "num-epochs", "parameterType": "int", "feasibleSpace": {"min": "1", "max": "1"}},
    ]
    given = algorithm("hyperband", resource_name="num-epochs", eta=2, r_l=8)
    found = import_definition(experiment(algorithm=given, parameters=parameters))
    assert found.document["algorithm"] == {"name": "hyperband", "min_resource": 1, "max_resource": 8.0, "eta": 2}
    assert set(found.document["space"]) == {"x"}
    assert any("trial.resource_target" in note for note in found.notes)


def test_the_median_rule() -> None:
    stopping = {
        "algorithmName": "medianstop",
        "algorithmSettings": [{"name": "min_trials_required", "value": "1"}, {"name": "start_step", "value": "2"}],
    }
    epochs = {"name": "num-epochs", "parameterType": "int", "feasibleSpace": {"min": "3", "max": "4"}}
    parameters = [*parameter("double", min="0.01", max="0.5"), epochs]
    found = import_definition(experiment(earlyStopping=stopping, parameters=parameters))
    assert found.document["algorithm"] == {
        "name": "median", "sampler": "random", "max_resource": 4.0, "grace_resource": 2.0, "min_trials": 1
    }  # fmt: skip
    with pytest.raises(InvalidInput, match="--max-resource"):
        import_definition(experiment(earlyStopping=stopping))
    told = import_definition(experiment(earlyStopping=stopping), max_resource=9)
    assert told.document["algorithm"]["max_resource"] == 9
    with pytest.raises(InvalidInput, match="does not stop early here"):
        import_definition(experiment(earlyStopping=stopping, algorithm=algorithm("sobol")), max_resource=9)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (parameter("double", min="0.1", max="1", distribution="uniform"), {"type": "uniform", "low": 0.1, "high": 1.0}),
        (parameter("double", min="0.1", max="1", distribution="logUniform"),
         {"type": "loguniform", "low": 0.1, "high": 1.0}),
        (parameter("double", min="1", max="9", step="2", distribution="logUniform"),
         {"type": "qloguniform", "low": 1.0, "high": 9.0, "step": 2.0}),
        (parameter("int", min="1", max="64", distribution="logUniform"), {"type": "log_integer", "low": 1, "high": 64}),
        (parameter("int", min="1", max="9", step="2"), {"type": "integer", "low": 1, "high": 9, "step": 2}),
        (parameter("int", min="1", max="1"), {"type": "constant", "value": 1}),
        (parameter("double", min="1", max="4", distribution="normal"),
         {"type": "normal", "mu": 2.5, "sigma": 0.5, "low": 1.0, "high": 4.0}),
        (parameter("discrete", list=["0.5", "0.1"]), {"type": "choice", "values": [0.5, 0.1]}),
    ],
)  # fmt: skip
def test_each_feasible_space(given: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    assert import_definition(experiment(parameters=given)).document["space"]["x"] == expected


@pytest.mark.parametrize(
    ("changes", "path", "says"),
    [
        ({"algorithm": algorithm("cmaes")}, "spec.algorithm.algorithmName", "bayesianoptimization"),
        ({"algorithm": algorithm("pbt")}, "spec.algorithm.algorithmName", "hyperband"),
        ({"algorithm": algorithm("enas"), "nasConfig": {}}, "spec.nasConfig", "not searched here"),
        ({"algorithm": algorithm("tpa")}, "spec.algorithm.algorithmName", "did you mean 'tpe'"),
        ({"algorithm": algorithm("hyperband")}, "spec.algorithm.algorithmSettings", "r_l"),
        ({"objective": {"type": "max", "objectiveMetricName": "a"}}, "spec.objective.type", "minimize or maximize"),
        ({"objective": {"type": "maximize"}}, "spec.objective.objectiveMetricName", "--metric"),
        ({"parameters": parameter("double", min="0.01", max="0.05", step="0.01", distribution="normal")},
         "spec.parameters.x.feasibleSpace.distribution", "remove the step"),
        ({"parameters": parameter("int", min="32", max="64", distribution="logNormal")},
         "spec.parameters.x.feasibleSpace.distribution", "logUniform"),
        ({"parameters": parameter("double", min="0.01")}, "spec.parameters.x.feasibleSpace.max", "must be a number"),
        ({"parameters": parameter("float", min="0", max="1")}, "spec.parameters.x.parameterType", "unknown"),
        ({"parameters": []}, "spec.parameters", "lists its parameters"),
        ({"maxTrialCount": 0}, "spec.maxTrialCount", "at least 1"),
        ({"parameters": parameter("int", min="1", max="2") * 2}, "spec.parameters.1.name", "stands for one parameter"),
        ({"parameters": parameter("discrete", list="123")}, "spec.parameters.x.feasibleSpace.list", "must be a list"),
        ({"parameters": parameter("double")}, "spec.parameters.x.feasibleSpace.min", "must be a number"),
        ({"parameters": [{"name": "x", "parameterType": "int", "feasibleSpace": [1, 2]}]},
         "spec.parameters.x.feasibleSpace", "must be a mapping"),
        ({"objective": {"type": "maximize", "objectiveMetricName": "a", "metricStrategies": 5}},
         "spec.objective.metricStrategies", "must be a list"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_is_named_with_a_remedy(changes: dict[str, Any], path: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        import_definition(experiment(**changes))
    assert path in {problem.path for problem in caught.value.problems}
    assert says in str(caught.value)


@pytest.mark.parametrize(("strategy", "at"), [("max", "best"), ("latest", "last")])
def test_a_trial_s_value_follows_the_strategy(strategy: str, at: str) -> None:
    objective = {
        "type": "maximize",
        "objectiveMetricName": "acc",
        "metricStrategies": [{"name": "acc", "value": strategy}],
    }
    assert import_definition(experiment(objective=objective)).document["objective"]["at"] == at
