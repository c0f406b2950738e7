"""Katib's experiments (v1beta1) as study definitions.

Here: the experiment's vocabulary; numbers stand in it as texts. Its trial template, with the image that trains and what
that may use, is never looked into. Katib takes a `normal` range for three sigma to each side of its middle, as here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hpo_service.foreign.findings import Findings, mapping_at, number_of, whole_of
from search_spaces import (
    BaseParameter,
    Choice,
    Constant,
    Integer,
    LogInteger,
    LogNormal,
    LogUniform,
    Normal,
    Ordinal,
    QLogUniform,
    QUniform,
    SpaceError,
    Uniform,
)
from search_spaces.errors import nearest

NAME = "Katib experiment"
_SPEC = {
    "objective", "algorithm", "earlyStopping", "parallelTrialCount", "maxTrialCount", "maxFailedTrialCount",
    "parameters", "resumePolicy", "trialTemplate", "metricsCollectorSpec", "nasConfig",
}  # fmt: skip
_SIMPLE: dict[str, dict[str, Any]] = {
    "random": {"name": "random"},
    "grid": {"name": "grid"},
    "sobol": {"name": "sobol"},
    "tpe": {"name": "bayesian", "surrogate": "tpe"},
    "multivariate-tpe": {"name": "bayesian", "surrogate": "tpe"},
    "bayesianoptimization": {"name": "bayesian", "surrogate": "gp"},
}
_SAMPLERS = {"random": "random", "tpe": "tpe", "multivariate-tpe": "tpe", "bayesianoptimization": "gp"}
_STARTUP = ("n_initial_points", "n_startup_trials")
_REFUSED = {
    "cmaes": "use bayesianoptimization, tpe or sobol",
    "pbt": "use hyperband, or pbt in a definition of ours: an experiment does not say how far to train",
    "darts": "architectures are not searched here: list the choices as parameters",
    "enas": "architectures are not searched here: list the choices as parameters",
}
_EPOCHS = ("num-epochs", "num_epochs", "epochs", "max_epochs")
Settings = dict[str, str]


def is_experiment(document: Mapping[str, Any]) -> bool:
    """Whether the document is an experiment's."""
    version = str(document.get("apiVersion", ""))
    return document.get("kind") == "Experiment" and version.startswith("kubeflow.org/")


def convert(
    document: Mapping[str, Any],
    findings: Findings,
    *,
    metric: str | None = None,
    direction: str | None = None,
    max_resource: float | None = None,
) -> dict[str, Any]:
    """The definition without a trainer."""
    spec = mapping_at(findings, "spec", document.get("spec"))
    findings.known("spec", spec, _SPEC, carried="has no counterpart here")
    about = document.get("metadata")
    name = about.get("name") or about.get("generateName") if isinstance(about, Mapping) else None
    space = _parameters(spec.get("parameters"), findings)
    objective, target = _objective(spec.get("objective"), metric, direction, findings)
    algorithm, seed = _algorithm(spec, space, max_resource, findings)
    trials = _count(spec, "maxTrialCount", findings)
    found: dict[str, Any] = {
        "name": str(name or "experiment").rstrip("-")[:200],
        "objective": objective,
        "space": {one: parameter.to_dict() for one, parameter in space.items()},
        "algorithm": algorithm,
        "budget": {key: value for key, value in (("trials", trials), ("target", target)) if value is not None},
        "parallel": _count(spec, "parallelTrialCount", findings) or 3,
    }
    if seed is not None:
        found["seed"] = seed
    _tell(spec, findings)
    return found


def _tell(spec: Mapping[str, Any], findings: Findings) -> None:
    if spec.get("maxFailedTrialCount") is not None:
        findings.note(
            "spec.maxFailedTrialCount",
            f"{spec['maxFailedTrialCount']} is not carried: failed trials do not end a study here; they can be retried",
        )
    if "trialTemplate" in spec:
        findings.note("spec.trialTemplate", "is never run: choose what trains with --trainer")
    if "metricsCollectorSpec" in spec:
        findings.note("spec.metricsCollectorSpec", "is not carried: training code reports its metrics")
    if "resumePolicy" in spec:
        text = "is not carried: a study here goes on whenever its budget is raised"
        findings.note("spec.resumePolicy", f"{spec['resumePolicy']} {text}")
    if "nasConfig" in spec:
        findings.refuse("spec.nasConfig", "architectures are not searched here", remedy=_REFUSED["enas"])


def _count(spec: Mapping[str, Any], name: str, findings: Findings) -> int | None:
    if spec.get(name) is None:
        return None
    count = whole_of(spec[name])
    if count is None or count < 1:
        findings.refuse(f"spec.{name}", "it is a whole number of at least 1", value=spec[name])
    return count


def _objective(
    given: Any, metric: str | None, direction: str | None, findings: Findings
) -> tuple[dict[str, Any], float | None]:
    said = mapping_at(findings, "spec.objective", given)
    findings.known(
        "spec.objective", said, {"type", "goal", "objectiveMetricName", "additionalMetricNames", "metricStrategies"}
    )
    name, kind = metric or said.get("objectiveMetricName"), direction or said.get("type")
    if not isinstance(name, str) or not name:
        findings.refuse("spec.objective.objectiveMetricName", "a study optimises a metric", remedy="use --metric loss")
    if kind not in ("minimize", "maximize"):
        findings.refuse("spec.objective.type", "type is minimize or maximize", value=kind)
    more = said.get("additionalMetricNames") or []
    if more:
        listed = ", ".join(map(str, more))
        findings.note("spec.objective.additionalMetricNames", f"whatever training reports is kept; there: {listed}")
    goal = said.get("goal")
    if goal is not None and number_of(goal) is None:
        findings.refuse("spec.objective.goal", "goal is a number", value=goal)
    return {"metric": name, "direction": kind, "at": _at(said, name, kind, findings)}, number_of(goal)


def _at(said: Mapping[str, Any], metric: Any, kind: Any, findings: Findings) -> str:
    """Katib takes the best value of a trial's curve, unless its strategy for the metric is the latest one."""
    strategies = said.get("metricStrategies") or ()
    if not isinstance(strategies, list | tuple):
        findings.refuse("spec.objective.metricStrategies", "it must be a list", value=strategies)
        return "best"
    for one in strategies:
        if isinstance(one, Mapping) and one.get("name") == metric:
            if one.get("value") == "latest":
                return "last"
            if (one.get("value"), kind) in (("max", "minimize"), ("min", "maximize")):
                findings.refuse(
                    "spec.objective.metricStrategies", "a trial's value is its last or its best one",
                    value=one.get("value"), remedy="use latest, or the strategy of the objective's type",
                )  # fmt: skip
    return "best"


def _algorithm(
    spec: Mapping[str, Any], space: dict[str, BaseParameter], max_resource: float | None, findings: Findings
) -> tuple[dict[str, Any], int | None]:
    given = mapping_at(findings, "spec.algorithm", spec.get("algorithm"))
    name, settings = str(given.get("algorithmName")), _settings(given, "spec.algorithm", findings)
    seed = whole_of(settings.pop("random_state", None))
    stopping = spec.get("earlyStopping")
    if name == "hyperband":
        found = _hyperband(settings, space, max_resource, findings)
        if stopping is not None:
            findings.note("spec.earlyStopping", "is not carried: hyperband stops trials itself")
    elif name not in _SIMPLE:
        remedy = _REFUSED.get(name) or nearest(name, (*_SIMPLE, "hyperband"))
        rule = "there is no such algorithm here" if name in _REFUSED else "unknown algorithm"
        findings.refuse("spec.algorithm.algorithmName", rule, value=name, remedy=remedy)
        found = {"name": "random"}
    elif stopping is not None:
        found = _median(name, mapping_at(findings, "spec.earlyStopping", stopping), space, max_resource, findings)
    else:
        found = {**_SIMPLE[name], **({} if max_resource is None else {"max_resource": max_resource})}
    if found["name"] == "grid" and any(parameter.cardinality is None for parameter in space.values()):
        findings.note("spec.algorithm", "a grid takes 5 values of each real parameter; algorithm.points changes that")
    if found["name"] == "bayesian":
        for setting in [one for one in _STARTUP if one in settings]:
            count = whole_of(settings.pop(setting))
            if count is not None:
                found["startup_trials"] = count
    for setting, value in settings.items():
        findings.note(f"spec.algorithm.{setting}", f"{value!r} is not carried: it has no counterpart here")
    return found, seed


def _settings(given: Mapping[str, Any], path: str, findings: Findings) -> Settings:
    found: Settings = {}
    for number, one in enumerate(given.get("algorithmSettings") or ()):
        setting = mapping_at(findings, f"{path}.algorithmSettings.{number}", one)
        if "name" in setting:
            found[str(setting["name"])] = str(setting.get("value", ""))
    return found


def _hyperband(
    settings: Settings, space: dict[str, BaseParameter], max_resource: float | None, findings: Findings
) -> dict[str, Any]:
    resource = settings.pop("resource_name", None)
    most = max_resource or number_of(settings.pop("r_l", None))
    eta = whole_of(settings.pop("eta", "3"))
    path = "spec.algorithm.algorithmSettings"
    if most is None or most <= 0:
        findings.refuse(path, "hyperband needs r_l, the most that a trial is trained", remedy="use --max-resource 27")
        most = 1.0
    if eta is None or eta < 2:
        findings.refuse(path, "eta is a whole number of at least 2", value=eta)
    if resource is not None and resource in space:
        del space[resource]
        findings.note(
            f"spec.parameters.{resource}",
            "is the resource: it is no parameter here, training code reads how far to go (trial.resource_target)",
        )
    return {"name": "hyperband", "min_resource": 1, "max_resource": most, "eta": eta}


def _median(
    name: str, given: Mapping[str, Any], space: dict[str, BaseParameter], max_resource: float | None, findings: Findings
) -> dict[str, Any]:
    settings = _settings(given, "spec.earlyStopping", findings)
    if given.get("algorithmName") != "medianstop":
        findings.refuse(
            "spec.earlyStopping.algorithmName", "early stopping is medianstop", value=given.get("algorithmName")
        )
    if name not in _SAMPLERS:
        findings.refuse("spec.earlyStopping", f"{name} does not stop early here", remedy="use random or tpe")
    most = max_resource or _longest(space, findings)
    if most is None:
        findings.refuse(
            "spec.earlyStopping",
            "the median rule needs to know how far a trial goes",
            remedy="add --max-resource N, the last step that training reports",
        )
        most = 1.0
    return {
        "name": "median",
        "sampler": _SAMPLERS.get(name, "random"),
        "max_resource": most,
        "grace_resource": min(number_of(settings.get("start_step", "4")) or 4.0, most),
        "min_trials": whole_of(settings.get("min_trials_required", "3")) or 3,
    }


def _longest(space: dict[str, BaseParameter], findings: Findings) -> float | None:
    """The greatest value of a parameter that says how long training is; it is no parameter beside a scheduler."""
    for name in [one for one in _EPOCHS if one in space]:
        parameter = space.pop(name)
        most = number_of(parameter.value if isinstance(parameter, Constant) else parameter.from_unit(1.0))
        findings.note(
            f"spec.parameters.{name}", f"is no parameter beside early stopping: a trial is trained for at most {most:g}"
        )
        return most
    return None


def _parameters(given: Any, findings: Findings) -> dict[str, BaseParameter]:
    found: dict[str, BaseParameter] = {}
    if not isinstance(given, list) or not given:
        findings.refuse(
            "spec.parameters", "an experiment lists its parameters", remedy="list them: architectures are not searched"
        )
        return found
    for number, one in enumerate(given):
        spec = mapping_at(findings, f"spec.parameters.{number}", one)
        name = str(spec.get("name", number))
        feasible = mapping_at(findings, f"spec.parameters.{name}.feasibleSpace", spec.get("feasibleSpace"))
        if name in found:
            findings.refuse(f"spec.parameters.{number}.name", "a name stands for one parameter", value=name)
        else:
            with findings.at(f"spec.parameters.{name}"):
                found[name] = _parameter(str(spec.get("parameterType")), feasible, f"spec.parameters.{name}", findings)
    return found


def _parameter(kind: str, feasible: Mapping[str, Any], path: str, findings: Findings) -> BaseParameter:
    findings.known(f"{path}.feasibleSpace", feasible, {"min", "max", "step", "list", "distribution"})
    listed = feasible.get("list")
    if kind == "categorical":
        return Choice(listed or ())
    if kind == "discrete":
        if listed is not None and not isinstance(listed, list):
            raise SpaceError("list must be a list", value=listed, path="feasibleSpace.list", remedy="write [1, 2]")
        values = [_discrete(value) for value in listed or ()]
        return (Ordinal if values == sorted(values) else Choice)(values)
    if kind not in ("double", "int"):
        known = ("double", "int", "discrete", "categorical")
        raise SpaceError("unknown parameterType", value=kind, path="parameterType", remedy=nearest(kind, known))
    low, high = _bound(feasible, "min"), _bound(feasible, "max")
    step = None if feasible.get("step") in (None, "") else _bound(feasible, "step")
    how = str(feasible.get("distribution") or "uniform")
    if low == high:
        return Constant(int(low) if kind == "int" else low)
    if kind == "int":
        return _whole(low, high, step, how)
    return _real(low, high, step, how, path, findings)


def _discrete(value: Any) -> float:
    number = number_of(value)
    if number is None:
        raise SpaceError("discrete values are numbers", value=value, path="list", remedy="use categorical")
    return int(number) if number == int(number) and "." not in str(value) else number


def _bound(feasible: Mapping[str, Any], name: str) -> float:
    number = number_of(feasible.get(name))
    if number is None:
        raise SpaceError("it must be a number", value=feasible.get(name), path=f"feasibleSpace.{name}", remedy="add it")
    return number


def _whole(low: float, high: float, step: float | None, how: str) -> BaseParameter:
    if how == "uniform":
        return Integer(low, high, 1 if step is None else step)  # type: ignore[arg-type]  # checked there
    if how == "logUniform" and step in (None, 1):
        return LogInteger(low, high)  # type: ignore[arg-type]  # checked there
    raise _no(how, "int", step, "use uniform or logUniform without a step")


def _real(low: float, high: float, step: float | None, how: str, path: str, findings: Findings) -> BaseParameter:
    if how == "uniform":
        return Uniform(low, high) if step is None else QUniform(low, high, step)
    if how == "logUniform":
        return LogUniform(low, high) if step is None else QLogUniform(low, high, step)
    if how == "normal" and step is None:
        findings.note(path, "normal within min and max; Katib draws one value in 370 beyond them")
        return Normal((low + high) / 2, (high - low) / 6, low=low, high=high)
    if how == "logNormal" and step is None:
        if low <= 0:
            raise SpaceError("a logarithmic scale needs min > 0", value=low, path="feasibleSpace.min")
        a, b = math.log(low), math.log(high)
        findings.note(path, "lognormal with three sigma between its middle and min or max; a draw may lie beyond them")
        return LogNormal((a + b) / 2, (b - a) / 6)
    raise _no(how, "double", step, "remove the step, or use uniform")


def _no(how: str, kind: str, step: float | None, remedy: str) -> SpaceError:
    got = f"{how} for {kind}" + ("" if step is None else f" with step {step:g}")
    return SpaceError("there is no such distribution here", got=got, path="feasibleSpace.distribution", remedy=remedy)
