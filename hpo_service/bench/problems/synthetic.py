"""Problems that need no data: learning curves by formula, with known optima, noise, and ranks that change on the way.

A configuration's error falls with a power of the epochs towards a limit that grows with its distance from the optimum,
as `executors.curves` has it; noise is keyed by the configuration, so that the same one gives the same curve.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo_service.bench.problems.base import Floats, Problem
from hpo_service.errors import InvalidInput
from hpo_service.executors.curves import PowerLaw, Term
from hpo_service.executors.keyed import normal
from search_spaces import SearchSpace

EPOCHS = 27
DRAWS = 256
"""Random configurations whose median is 1 on the scale of regret."""
SPACE: Mapping[str, Any] = {
    "lr": {"type": "loguniform", "low": 1e-5, "high": 1.0},
    "momentum": {"type": "uniform", "low": 0.0, "high": 0.99},
    "layers": {"type": "integer", "low": 1, "high": 6},
    "optimizer": {"type": "choice", "values": ["sgd", "adam", "rmsprop"]},
    "dropout": {"type": "uniform", "low": 0.0, "high": 0.8},
}


def _terms(lr: float, momentum: float, layers: int, dropout: float) -> Mapping[str, Term]:
    return {
        "lr": Term(optimum=lr, weight=0.06, log=True),
        "momentum": Term(optimum=momentum, weight=0.3),
        "layers": Term(optimum=layers, weight=0.006),
        "dropout": Term(optimum=dropout, weight=0.15),
        "optimizer": Term(values={"sgd": 0.04, "adam": 0.0, "rmsprop": 0.015}),
    }


@dataclass(frozen=True)
class Drawn:
    """One law's curves, with their noise."""

    law: PowerLaw
    noise: float

    def curve(self, params: Mapping[str, Any]) -> Floats:
        """Errors after each epoch."""
        key = zlib.crc32(repr(sorted(params.items())).encode())
        noise = [self.noise * normal(key, epoch) if self.noise else 0.0 for epoch in range(1, EPOCHS + 1)]
        plain = [self.law(params, epoch, 0)["val_loss"] for epoch in range(1, EPOCHS + 1)]
        return np.add(plain, noise, dtype=np.float64)


LAWS: Mapping[str, Drawn] = {
    "smooth": Drawn(PowerLaw(terms=_terms(1e-2, 0.9, 3, 0.2)), 0.0),
    "noisy": Drawn(PowerLaw(terms=_terms(3e-3, 0.5, 4, 0.3)), 0.01),
    "crossing": Drawn(PowerLaw(terms=_terms(1e-3, 0.8, 5, 0.1), crossing=3.0, half=2.0), 0.003),
    "diverging": Drawn(PowerLaw(terms=_terms(5e-2, 0.7, 2, 0.0), diverges_above=("lr", 0.2)), 0.003),
}


def load(tasks: tuple[str, ...] = ()) -> list[Problem]:
    """All of them, or those of `tasks`; raises InvalidInput for an unknown one."""
    unknown = sorted(set(tasks) - set(LAWS))
    if unknown:
        raise InvalidInput(f"the synthetic tasks are {', '.join(LAWS)}, but got {', '.join(unknown)}")
    return [_problem(name, LAWS[name]) for name in tasks or LAWS]


def _problem(name: str, drawn: Drawn) -> Problem:
    rng, space = np.random.default_rng(0), SearchSpace.from_definition(SPACE)
    values = [np.fmin.reduce(drawn.curve(space.sample(rng))) for _ in range(DRAWS)]
    return Problem(
        collection="synthetic",
        name=name,
        space=SPACE,
        max_resource=EPOCHS,
        maximize=False,
        best=drawn.law.best_error(EPOCHS),
        median=float(np.median(np.where(np.isnan(values), np.inf, values))),
        curves=drawn.curve,
        speed=lambda params: 0.5 + float(params["layers"]) / 7.0,  # 1.0 on average
    )
