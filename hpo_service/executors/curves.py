"""Learning curves for the simulated executor: synthetic families with a known optimum, and recorded tables.

A curve is a pure function of (parameters, resource, seed); noise is keyed by seed and resource. Nothing here
trains, reads a file, or keeps state.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hpo_service.executors.keyed import normal

Curve = Callable[[Mapping[str, Any], float, int], dict[str, float]]
"""(parameters, resource, seed) -> metric values at that resource."""


@dataclass(frozen=True, kw_only=True)
class Term:
    """How one parameter bends a curve: the error that remains grows by `weight` · distance² from `optimum`.

    `log` takes the distance in decades; `values` gives what each value of a choice costs instead.
    """

    optimum: float = 0.0
    weight: float = 0.05
    log: bool = False
    values: Mapping[Any, float] | None = None

    def cost(self, value: Any) -> float:
        """The error that this value adds, 0 at the optimum."""
        if self.values is not None:
            return self.values[value]
        if self.log:
            return self.weight * math.log10(float(value) / self.optimum) ** 2
        return self.weight * (float(value) - self.optimum) ** 2


def _usual_terms() -> Mapping[str, Term]:
    return {"lr": Term(optimum=1e-2, weight=0.05, log=True)}


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """Validation error that falls with a power of the resource r: e + (start - e) · (1 + r/half)^-rate.

    The form is the usual power law of learning curves (Viering and Loog 2022). `e` is `floor` plus the terms'
    costs, kept below `start`. The best configuration of every resource is where all terms are 0, unless `crossing`
    > 0: then costly configurations fall faster, by the factor 1 + crossing · cost / (start - floor) on the rate,
    so that early and late ranks differ. A parameter that is absent (its condition does not hold) costs nothing.
    Above `diverges_above`, a pair (parameter, value), the loss is NaN from resource 1 on.
    """

    terms: Mapping[str, Term] = field(default_factory=_usual_terms)
    floor: float = 0.02
    start: float = 0.9
    half: float = 1.0
    rate: float = 0.8
    noise: float = 0.0  # standard deviation of the error's noise
    crossing: float = 0.0
    diverges_above: tuple[str, float] | None = None

    def __call__(self, params: Mapping[str, Any], resource: float, seed: int) -> dict[str, float]:
        """`val_loss` (the error) and `val_accuracy` (1 - error)."""
        error = self.error(params, resource)
        if self.noise:
            error += self.noise * normal(seed, round(resource * 1_000_000))
        if self.diverges_above is not None and resource >= 1.0:
            name, limit = self.diverges_above
            if name in params and params[name] > limit:
                error = math.nan
        return {"val_loss": error, "val_accuracy": 1.0 - error}

    def error(self, params: Mapping[str, Any], resource: float) -> float:
        """The error without noise."""
        cost = 0.0
        for name, term in self.terms.items():
            if name in params:
                cost += term.cost(params[name])
        span = self.start - self.floor
        limit = self.floor + span * math.tanh(cost / span)
        rate = self.rate * (1.0 + self.crossing * cost / span)
        return limit + (self.start - limit) * math.pow(1.0 + resource / self.half, -rate)

    def best_error(self, resource: float) -> float:
        """The least error that any configuration has at this resource, without noise and crossing."""
        return self.floor + (self.start - self.floor) * math.pow(1.0 + resource / self.half, -self.rate)


def recorded(
    table: Sequence[Mapping[str, Sequence[float]]],
    index: Callable[[Mapping[str, Any]], int],
    *,
    resources: Sequence[float],
) -> Curve:
    """A curve that reads `table[index(params)][metric][i]`, with `resources[i]` the last one not above the asked.

    `resources` must ascend; a resource below the first gives the first.
    """
    if list(resources) != sorted(resources) or not resources:
        raise ValueError(f"resources must ascend and not be empty, but got {list(resources)!r}; sort them")

    def curve(params: Mapping[str, Any], resource: float, seed: int) -> dict[str, float]:
        column = max(0, bisect_right(resources, resource + 1e-9) - 1)
        return {name: float(values[column]) for name, values in table[index(params)].items()}

    return curve
