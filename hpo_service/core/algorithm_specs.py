"""The options of every algorithm, as the study definition writes them; `hpo_service.algorithms` has the code."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

SamplerName = Literal["random", "tpe", "gp"]


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _SingleSegment(_Spec):
    max_resource: float | None = Field(
        default=None,
        gt=0,
        description="How far each trial is trained. Left out: the recipe's `epochs`, or until a function returns.",
    )


class _Blocks(_Spec):
    block: int = Field(
        default=1,
        ge=1,
        le=1024,
        exclude_if=lambda size: size == 1,  # without blocks a document does not speak of them
        description="So many trials with consecutive numbers share their draw of the parameters that are no lanes, so "
        "that they can train together in one launch. Every trial keeps the declared distribution.",
    )
    block_on: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] | None = Field(
        default=None,
        max_length=1000,
        description="What a block shares. Left out: the tuned parameters that are no lanes of the recipe.",
    )


class GridSpec(_SingleSegment):
    """Every combination, in an order shuffled by the seed."""

    name: Literal["grid"] = "grid"
    points: int = Field(default=5, ge=2, le=1000, description="Values per continuous parameter.")


class RandomSpec(_SingleSegment, _Blocks):
    """Independent draws (Bergstra & Bengio 2012)."""

    name: Literal["random"] = "random"


class SobolSpec(_SingleSegment):
    """A scrambled Sobol sequence (Owen 1998): random search that leaves no holes."""

    name: Literal["sobol"] = "sobol"


class BayesianSpec(_SingleSegment):
    """A surrogate of past trials chooses the next ones: Gaussian process or TPE."""

    name: Literal["bayesian"] = "bayesian"
    surrogate: Literal["gp", "tpe"] = "tpe"
    startup_trials: int = Field(default=10, ge=0, description="Random trials before the surrogate is asked.")


class _Halving(_Spec):
    min_resource: float = Field(default=1.0, gt=0, description="Resource of the lowest rung.")
    max_resource: float = Field(gt=0, description="Resource of the highest rung.")
    eta: int = Field(default=3, ge=2, le=100, description="Of eta trials one is promoted, for eta times the resource.")
    sampler: SamplerName = Field(default="random", description="Who chooses new configurations.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_resource < self.min_resource:
            raise ValueError(
                f"max_resource must be at least min_resource, but got min_resource={self.min_resource:g}, "
                f"max_resource={self.max_resource:g}; raise max_resource"
            )
        return self


class SuccessiveHalvingSpec(_Halving, _Blocks):
    """Train many a little and few a lot, in synchronous rungs (Jamieson & Talwalkar 2016)."""

    name: Literal["successive_halving"] = "successive_halving"
    trials: int = Field(ge=1, le=1_000_000, description="Configurations in the lowest rung.")
    keep: int = Field(default=1, ge=1, description="At least this many reach max_resource.")


class HyperbandSpec(_Halving, _Blocks):
    """Brackets of successive halving from bold to careful, repeated until the budget ends (Li et al. 2018)."""

    name: Literal["hyperband"] = "hyperband"


class BohbSpec(_Halving):
    """Hyperband whose configurations come from TPE on completed brackets (Falkner et al. 2018)."""

    name: Literal["bohb"] = "bohb"
    sampler: Literal["tpe"] = "tpe"


class AshaSpec(_Halving, _Blocks):
    """Asynchronous successive halving: promotes whenever a rung allows it, never waits (Li et al. 2020)."""

    name: Literal["asha"] = "asha"


class MedianSpec(_Blocks):
    """Stops a trial whose best value is worse than the median of the others' running means (Golovin et al. 2017)."""

    name: Literal["median"] = "median"
    max_resource: float = Field(gt=0)
    grace_resource: float = Field(default=1.0, gt=0, description="No trial is judged before this resource.")
    interval: float = Field(default=1.0, gt=0, description="Resource between two judgements.")
    min_trials: int = Field(default=5, ge=1, description="Trials that must have come as far before one is judged.")
    sampler: SamplerName = "random"


AlgorithmSpec = Annotated[
    GridSpec
    | RandomSpec
    | SobolSpec
    | BayesianSpec
    | SuccessiveHalvingSpec
    | HyperbandSpec
    | BohbSpec
    | AshaSpec
    | MedianSpec,
    Field(discriminator="name"),
]
WITH_SCHEDULER = frozenset({"successive_halving", "hyperband", "bohb", "asha", "median"})


def model_of(spec: AlgorithmSpec) -> str | None:
    """The model of past trials that chooses configurations (`tpe`, `gp`), or None."""
    name = spec.surrogate if isinstance(spec, BayesianSpec) else getattr(spec, "sampler", "random")
    return None if name == "random" else str(name)
