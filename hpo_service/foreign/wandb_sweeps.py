"""Sweeps of Weights & Biases as study definitions.

Here: the sweep's vocabulary. Facts that are easy to get wrong: `log_uniform` takes exponents of e, `log_uniform_values`
values; bounds that are whole numbers mean `int_uniform`; `q` is 1 where it is left out; quantised draws are
round(X / q) * q, multiples of q. Its Hyperband stops runs at levels without waiting for others, which is ASHA here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from decimal import Decimal
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
    QLogUniform,
    QUniform,
    SpaceError,
    Uniform,
)
from search_spaces.errors import nearest

NAME = "W&B sweep"
_TOP = {"method", "metric", "parameters", "name", "description", "early_terminate", "run_cap"}
_NEVER_RUN = {"program", "command"}
_FIELDS = {
    "value", "values", "distribution", "min", "max", "q", "mu", "sigma", "probabilities", "parameters",
}  # fmt: skip
EPOCHS = ("epochs", "num_epochs", "max_epochs", "n_epochs")


def is_sweep(document: Mapping[str, Any]) -> bool:
    """Whether the document is a sweep's."""
    return "parameters" in document and bool({"method", "metric", "scheduler", "program"} & set(document))


def convert(
    document: Mapping[str, Any],
    findings: Findings,
    *,
    metric: str | None = None,
    direction: str | None = None,
    max_resource: float | None = None,
) -> dict[str, Any]:
    """The definition without a trainer; `trainer_params` are fixed values that are no scalars."""
    found: dict[str, Any] = {"name": str(document.get("name") or "sweep")[:200]}
    space: dict[str, BaseParameter] = {}
    fixed: dict[str, Any] = {}
    _parameters(mapping_at(findings, "parameters", document["parameters"]), "parameters", "", space, fixed, findings)
    found["objective"], target = _objective(document.get("metric"), metric, direction, findings)
    found["algorithm"] = _algorithm(document, space, max_resource, findings)
    found["space"] = {name: parameter.to_dict() for name, parameter in space.items()}
    found["trainer_params"] = fixed
    cap = document.get("run_cap")
    budget = {"trials": whole_of(cap) if whole_of(cap) is not None else cap, "target": target}
    found["budget"] = {name: value for name, value in budget.items() if value is not None}
    found["notes"] = str(document.get("description") or "")
    for name in _NEVER_RUN & set(document):
        findings.note(name, f"{_short(document[name])} is never run; choose what trains with --trainer")
    findings.known("", document, _TOP | _NEVER_RUN, carried="has no counterpart here")
    return found


def _objective(
    given: Any, metric: str | None, direction: str | None, findings: Findings
) -> tuple[dict[str, Any], float | None]:
    said = mapping_at(findings, "metric", given) if given is not None else {}
    findings.known("metric", said, {"name", "goal", "target", "impute", "impute_while_running"})
    for key in {"impute", "impute_while_running"} & set(said):
        findings.note(f"metric.{key}", "has no counterpart here: a trial without a value counts as failed")
    name: Any = metric or said.get("name")
    goal: Any = direction or said.get("goal", "minimize")
    if not isinstance(name, str) or not name:
        findings.refuse("metric.name", "a study optimises a metric", remedy="name it: --metric val_loss")
    if goal not in ("minimize", "maximize"):
        remedy = nearest(goal, ("minimize", "maximize"))
        findings.refuse("metric.goal", "goal is minimize or maximize", value=goal, remedy=remedy)
    target = said.get("target")
    if target is not None and number_of(target) is None:
        findings.refuse("metric.target", "target is a number", value=target)
    return {"metric": name, "direction": goal}, number_of(target)


def _algorithm(
    document: Mapping[str, Any], space: dict[str, BaseParameter], max_resource: float | None, findings: Findings
) -> dict[str, Any]:
    method, early = document.get("method"), document.get("early_terminate")
    if method not in ("grid", "random", "bayes"):
        own = "a scheduler of one's own is not carried: choose one of these" if "scheduler" in document else ""
        remedy = own or nearest(method, ("grid", "random", "bayes"))
        findings.refuse("method", "method is grid, random or bayes", value=method, remedy=remedy)
    horizon = {} if max_resource is None else {"max_resource": max_resource}
    if early is not None and method != "grid":
        sampler = "gp" if method == "bayes" else "random"
        return {"name": "asha", "sampler": sampler, **_rungs(early, space, max_resource, findings)}
    if early is not None:
        findings.note("early_terminate", "a grid is not stopped early here: every combination is trained to its end")
    if method == "grid":
        if any(parameter.cardinality is None for parameter in space.values()):
            findings.note("method", "a grid takes 5 values of each real parameter; algorithm.points changes that")
        return {"name": "grid", **horizon}
    return {"name": "bayesian", "surrogate": "gp", **horizon} if method == "bayes" else {"name": "random", **horizon}


def _rungs(
    given: Any, space: dict[str, BaseParameter], max_resource: float | None, findings: Findings
) -> dict[str, Any]:
    """ASHA's levels. With `min_iter` they are min_iter·eta^k; with `max_iter` and `s` max_iter/eta^k, k ≤ s."""
    early = mapping_at(findings, "early_terminate", given)
    findings.known("early_terminate", early, {"type", "min_iter", "max_iter", "s", "eta", "strict"})
    if early.get("type") != "hyperband":
        findings.refuse("early_terminate.type", "type is hyperband", value=early.get("type"), remedy="write hyperband")
    numbers: dict[str, float] = {}
    for name in ("min_iter", "max_iter", "s", "eta"):
        number = number_of(early[name]) if early.get(name) is not None else None
        if name in early and (number is None or number <= 0):
            findings.refuse(f"early_terminate.{name}", f"{name} is a number above 0", value=early[name])
        elif number is not None:
            numbers[name] = number
    if early.get("strict"):
        findings.note("early_terminate.strict", "promotion here is always strict: the best 1/eta of a rung go on")
    eta = whole_of(numbers.get("eta", 3))
    if eta is None or eta < 2:
        findings.refuse("early_terminate.eta", "eta is a whole number of at least 2", value=early["eta"])
        return {}
    findings.note(
        "early_terminate", "is ASHA here: at each rung the best 1/eta go on, and a paused trial may still do so"
    )
    longest = _epochs(space, findings)
    if "min_iter" in numbers:
        least, most = numbers["min_iter"], max_resource or longest
    elif "max_iter" in numbers:
        most = max_resource or numbers["max_iter"]
        least = numbers["max_iter"] / float(eta) ** min(int(numbers.get("s", 1)), 20)
    else:
        findings.refuse("early_terminate", "it needs min_iter or max_iter", remedy="write min_iter: 3")
        return {}
    if most is None:
        findings.refuse(
            "early_terminate.max_iter", "with min_iter alone nobody says how far a trial goes at most",
            remedy="say it: --max-resource 27",
        )  # fmt: skip
        return {}
    return {"min_resource": max(least, 1.0), "max_resource": most, "eta": eta}


def _epochs(space: dict[str, BaseParameter], findings: Findings) -> float | None:
    """A constant that says how long a run is; beside a scheduler it is no parameter."""
    for name in EPOCHS:
        parameter = space.get(name)
        if isinstance(parameter, Constant) and number_of(parameter.value):
            findings.note(f"parameters.{name}", f"{parameter.value} is the most that a trial is trained, no parameter")
            del space[name]
            return number_of(parameter.value)
    return None


def _parameters(
    given: Mapping[str, Any],
    path: str,
    prefix: str,
    space: dict[str, BaseParameter],
    fixed: dict[str, Any],
    findings: Findings,
) -> None:
    for key, value in given.items():
        where, name = f"{path}.{key}", f"{prefix}{key}"
        spec = mapping_at(findings, where, value)
        findings.known(where, spec, _FIELDS)
        if "parameters" in spec:
            nested = mapping_at(findings, f"{where}.parameters", spec["parameters"])
            findings.note(where, f"nested parameters are named {name}.…")
            _parameters(nested, f"{where}.parameters", f"{name}.", space, fixed, findings)
        elif isinstance(spec.get("value"), list | dict):
            fixed[name] = spec["value"]
            findings.note(where, f"a fixed value that is no scalar stands in trainer.params: {name}")
        elif value == {}:
            findings.refuse(where, "a parameter has values", value="nothing", remedy=_REFUSED["nothing"])
        elif name in space:
            findings.refuse(where, "a name stands for one parameter", value=name, remedy="rename one of the two")
        elif spec:
            with findings.at(where):
                parameter = _parameter(spec, where, findings)
                if parameter is not None:
                    space[name] = parameter


def _parameter(spec: Mapping[str, Any], path: str, findings: Findings) -> BaseParameter | None:
    kind = spec.get("distribution") or _implied(spec)
    make = _KINDS.get(str(kind))
    if make is None:
        remedy = _REFUSED.get(str(kind)) or nearest(kind, _KINDS)
        rule = "there is no such distribution here" if str(kind) in _REFUSED else "unknown distribution"
        findings.refuse(f"{path}.distribution", rule, value=kind, remedy=remedy)
        return None
    return make(spec, path, findings)


def _implied(spec: Mapping[str, Any]) -> str:
    if "value" in spec:
        return "constant"
    if "values" in spec:
        return "categorical_w_probabilities" if "probabilities" in spec else "categorical"
    if "min" in spec and "max" in spec:
        whole = all(isinstance(spec[name], int) and not isinstance(spec[name], bool) for name in ("min", "max"))
        return "int_uniform" if whole else "uniform"
    return "normal" if "mu" in spec or "sigma" in spec else "nothing"


def _bound(spec: Mapping[str, Any], name: str, otherwise: float | None = None) -> float:
    value = spec.get(name, otherwise)
    if value is None:
        raise SpaceError("the field is required", got="nothing", path=name, remedy="add it")
    number = number_of(value)
    if number is None:
        raise SpaceError("the bound must be a finite number", value=value, path=name)
    return number


def _constant(spec: Mapping[str, Any], path: str, findings: Findings) -> BaseParameter:
    return Constant(spec.get("value"))


def _categorical(spec: Mapping[str, Any], path: str, findings: Findings) -> BaseParameter:
    weights = spec.get("probabilities")
    if isinstance(weights, list) and len(set(weights)) > 1:
        raise SpaceError(
            "the values of a choice are equally likely", got=f"probabilities {weights}", path="probabilities",
            remedy="remove them; grid and adaptive algorithms do not look at them anyway",
        )  # fmt: skip
    return Choice(spec.get("values", ()))


def _int_uniform(spec: Mapping[str, Any], path: str, findings: Findings) -> BaseParameter:
    low, high = _bound(spec, "min"), _bound(spec, "max")
    return Constant(int(low)) if low == high == int(low) else Integer(low, high)  # type: ignore[arg-type]  # checked there


def _uniform(spec: Mapping[str, Any], path: str, findings: Findings) -> BaseParameter:
    return Uniform(_bound(spec, "min"), _bound(spec, "max"))


def _log_uniform(spec: Mapping[str, Any], path: str, findings: Findings) -> BaseParameter:
    low, high = _bound(spec, "min"), _bound(spec, "max")
    findings.note(path, f"min and max are exponents of e: {math.exp(low):.6g} to {math.exp(high):.6g}")
    return LogUniform(math.exp(low), math.exp(high))


def _log_uniform_values(spec: Mapping[str, Any], path: str, findings: Findings) -> BaseParameter:
    return LogUniform(_bound(spec, "min"), _bound(spec, "max"))


def _inv_log_uniform(spec: Mapping[str, Any], path: str, findings: Findings) -> BaseParameter:
    low, high = math.exp(-_bound(spec, "max")), math.exp(-_bound(spec, "min"))
    findings.note(path, f"log(1/x) even between min and max is log x even: {low:.6g} to {high:.6g}")
    return LogUniform(low, high)


def _inv_log_uniform_values(spec: Mapping[str, Any], path: str, findings: Findings) -> BaseParameter:
    findings.note(path, "log(1/x) even is log x even: a loguniform")
    return _log_uniform_values(spec, path, findings)


def _q_uniform(spec: Mapping[str, Any], path: str, findings: Findings) -> BaseParameter:
    return _quantised(spec, path, findings, _bound(spec, "min"), _bound(spec, "max"), log=False)


def _q_log_uniform(spec: Mapping[str, Any], path: str, findings: Findings) -> BaseParameter:
    low, high = math.exp(_bound(spec, "min")), math.exp(_bound(spec, "max"))
    findings.note(path, f"min and max are exponents of e: {low:.6g} to {high:.6g}")
    return _quantised(spec, path, findings, low, high, log=True)


def _q_log_uniform_values(spec: Mapping[str, Any], path: str, findings: Findings) -> BaseParameter:
    return _quantised(spec, path, findings, _bound(spec, "min"), _bound(spec, "max"), log=True)


def _quantised(
    spec: Mapping[str, Any], path: str, findings: Findings, low: float, high: float, *, log: bool
) -> BaseParameter:
    q = spec.get("q", 1)
    step = _bound(spec, "q", 1.0)
    if step <= 0:
        raise SpaceError("q must be > 0", value=q, path="q")
    first, last = (float(round(bound / step) * Decimal(repr(step))) for bound in (low, high))
    if (first, last) != (low, high):
        findings.note(path, f"the values are the multiples of {q} from {first:g} to {last:g}")
    if log and first <= 0:
        raise SpaceError("a logarithmic scale needs values above 0", got=f"{first:g}", path="min", remedy="raise min")
    whole = step == int(step)
    if first == last:
        return Constant(int(first) if whole else first)
    if whole and not log:
        return Integer(int(first), int(last), int(step))
    if whole and step == 1:
        return LogInteger(int(first), int(last))
    if whole:
        findings.note(path, "the values are whole, but come as 32.0: use int() on them")
    return QLogUniform(first, last, step) if log else QUniform(first, last, step)


def _normal(spec: Mapping[str, Any], path: str, findings: Findings) -> BaseParameter:
    return Normal(_bound(spec, "mu", 0.0), _bound(spec, "sigma", 1.0))


def _log_normal(spec: Mapping[str, Any], path: str, findings: Findings) -> BaseParameter:
    return LogNormal(_bound(spec, "mu", 0.0), _bound(spec, "sigma", 1.0))


def _short(value: Any) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return repr(text if len(text) <= 80 else text[:77] + "…")


_KINDS: dict[str, Callable[[Mapping[str, Any], str, Findings], BaseParameter]] = {
    "constant": _constant,
    "categorical": _categorical,
    "categorical_w_probabilities": _categorical,
    "int_uniform": _int_uniform,
    "uniform": _uniform,
    "q_uniform": _q_uniform,
    "log_uniform": _log_uniform,
    "log_uniform_values": _log_uniform_values,
    "q_log_uniform": _q_log_uniform,
    "q_log_uniform_values": _q_log_uniform_values,
    "inv_log_uniform": _inv_log_uniform,
    "inv_log_uniform_values": _inv_log_uniform_values,
    "normal": _normal,
    "log_normal": _log_normal,
}
_REFUSED = {
    "q_normal": "a normal parameter has no steps here: use normal and round it, or q_uniform",
    "q_log_normal": "a lognormal parameter has no steps here: use log_normal and round it, or q_log_uniform_values",
    "beta": "use uniform or normal over the same range",
    "q_beta": "use q_uniform over the same range",
    "nothing": "give value, values, or min and max",
}
