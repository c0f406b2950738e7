"""The study definition as a value: its fields, what is filled in where nothing is said, and what follows from them.

Made of untrusted data by `core.definition.parse` alone, which checks the rules between its parts as well.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from hpo_service.core import constraints as constrained
from hpo_service.core.algorithm_specs import WITH_SCHEDULER, AlgorithmSpec, AutoSpec, model_of
from hpo_service.core.constraints import Constraint
from hpo_service.core.definition_parts import Budget, Confirms, Name, Objective, Part, Resources, Trainer
from search_spaces import SearchSpace

MODEL_PARALLEL = 4
"""Attempts at the same time where a model learns from earlier trials: the more, the less it knows when it chooses."""
FREE_PARALLEL = 256
"""Where nothing is learnt: enough for two launches of many lanes, and more than most clusters have room for."""


def default_parallel(algorithm: AlgorithmSpec) -> int:
    """Most attempts open at the same time, where the definition does not say."""
    learns = model_of(algorithm) is not None or algorithm.name == "dehb"
    return MODEL_PARALLEL if learns else FREE_PARALLEL


class StudyDefinition(Part):
    """A study as its user writes it; frozen. `raw_space` is the document's `space`, `space` the parsed one."""

    name: Name = "study"
    objectives: tuple[Objective, ...] = Field(min_length=1, max_length=8)
    constraints: tuple[Constraint, ...] = Field(
        default=(),
        max_length=constrained.MOST,
        exclude_if=lambda constraints: not constraints,  # without any a document does not speak of them
        description="Bounds on other metrics. A trial that breaks one is behind all that keep them.",
    )
    space: dict[str, Any] = Field(min_length=1)
    forbid: tuple[dict[str, Any], ...] = Field(default=(), max_length=1000)
    algorithm: AlgorithmSpec = AutoSpec()
    trainer: Trainer
    budget: Budget = Budget()
    resources: Resources = Resources()
    parallel: int = Field(
        default=MODEL_PARALLEL,
        ge=1,
        le=100_000,
        description="Most attempts open at the same time. Not set: 4 where a model learns from trials, else 256.",
    )
    retries: int = Field(default=2, ge=0, le=100, description="How often a trial goes on after its worker was lost.")
    trial_timeout_s: float | None = Field(default=None, gt=0, description="Longest time of one attempt, seconds.")
    stall_timeout_s: float | None = Field(default=None, gt=0, description="Longest time without a report, seconds.")
    seed: int = Field(default=0, ge=0, lt=2**63)
    priority: float = Field(default=1.0, gt=0, le=1000, description="Share of the workers, relative to other studies.")
    baseline: bool = Field(default=True, description="Try the defaults first, where a parameter declares one.")
    repeats: bool = Field(default=False, description="Whether a configuration may be drawn twice.")
    deterministic: bool = False
    confirms: Confirms | None = Field(default=None, description="Set by `hpo confirm`: the trials that are confirmed.")
    project: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,62}$")] = "default"
    tags: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(default=(), max_length=100)
    notes: str = Field(default="", max_length=100_000)

    @model_validator(mode="before")
    @classmethod
    def _objective_or_objectives(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and "objective" in data:
            if "objectives" in data:
                raise ValueError("give objective or objectives, but got both; keep one")
            rest = {k: v for k, v in data.items() if k != "objective"}
            objective = data["objective"]
            return {**rest, "objectives": objective if isinstance(objective, list | tuple) else [objective]}
        return data

    @field_validator("algorithm", mode="before")
    @classmethod
    def _bare_name(cls, algorithm: Any) -> Any:
        """`algorithm: auto` for `algorithm: {name: auto}`."""
        return {"name": algorithm} if isinstance(algorithm, str) else algorithm

    @model_validator(mode="after")
    def _parallel(self) -> Self:
        if "parallel" not in self.model_fields_set:
            object.__setattr__(self, "parallel", default_parallel(self.algorithm))
        return self

    @model_validator(mode="after")
    def _share(self) -> Self:
        """A recipe looks at nothing but its data; code of a user's own may look at what is free of its GPU."""
        resources = self.resources
        if "share" not in resources.model_fields_set and resources.gpu == 1 and self.trainer.recipe is not None:
            object.__setattr__(self, "resources", resources.model_copy(update={"share": "auto"}))
        return self

    @field_validator("objectives")
    @classmethod
    def _distinct(cls, objectives: tuple[Objective, ...]) -> tuple[Objective, ...]:
        names = [o.metric for o in objectives]
        if len(set(names)) != len(names):
            raise ValueError(f"objectives must name distinct metrics, but got {names}; remove the repeated one")
        return objectives

    @property
    def objective(self) -> Objective:
        """The first objective."""
        return self.objectives[0]

    @property
    def has_scheduler(self) -> bool:
        """Whether the algorithm decides how far each trial is trained; `auto` may, once it is told how far at most."""
        if isinstance(self.algorithm, AutoSpec):
            return self.algorithm.max_resource is not None
        return self.algorithm.name in WITH_SCHEDULER

    @property
    def fidelity(self) -> str:
        """What resource is: `epochs` (training time), or the name of a size that trials are trained at."""
        return str(getattr(self.algorithm, "fidelity", "epochs"))

    @property
    def resumes(self) -> bool:
        """Whether a trial goes on from where it was. At another size it begins from zero, and pays for the whole."""
        return self.fidelity == "epochs"

    @functools.cached_property
    def search_space(self) -> SearchSpace:
        return SearchSpace.from_definition(self.space, self.forbid)

    def to_document(self) -> dict[str, Any]:
        """Plain JSON; `parse(d.to_document()) == d`. Written with `objective` where there is one."""
        document = self.model_dump(mode="json", exclude_none=True)
        objectives = document.pop("objectives")
        document["objective"] = objectives[0] if len(objectives) == 1 else objectives
        return document
