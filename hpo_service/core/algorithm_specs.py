"""The options of every algorithm, as the study definition writes them; `hpo_service.algorithms` has the code."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

StudyId = Annotated[str, Field(min_length=1, max_length=200)]
SamplerName = Literal["random", "tpe", "gp"]
Fidelity = Literal["epochs", "data_fraction", "width", "resolution"]


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


def _with_levels(data: Any, fields: Collection[str]) -> Any:
    """The levels of a fidelity that is no training time, checked: of `data_fraction` from 1/27 to 1 where the document
    does not say; of the others both ends, in the user's own units."""
    fidelity = data.get("fidelity", "epochs") if isinstance(data, Mapping) else "epochs"
    if fidelity == "data_fraction":
        given = {name: value for name, value in data.items() if value is not None}
        most = given.get("max_resource", 1.0)
        known = isinstance(most, int | float)
        least = {"min_resource": most / 27 if known else 1 / 27} if "min_resource" in fields else {}
        data = {**least, "max_resource": most, **given}
        if known and most > 1:
            raise ValueError(
                f"a share of the data is at most 1, but got max_resource={most:g}; write max_resource: 1, and the "
                "smallest share as min_resource"
            )
    elif fidelity in ("width", "resolution"):
        missing = [name for name in ("min_resource", "max_resource") if name in fields and data.get(name) is None]
        if missing:
            raise ValueError(
                f"fidelity: {fidelity} has levels in units of your own, so both ends are needed, but got no "
                f"{' and no '.join(missing)}; write the smallest and the largest {fidelity}"
            )
    return data


class _Sized(BaseModel):
    """An algorithm whose levels may be sizes."""

    fidelity: Fidelity = Field(
        default="epochs",
        exclude_if=lambda name: name == "epochs",
        description="What resource is: time that a trial goes on in, or a size that it is trained at, anew each time.",
    )

    @model_validator(mode="before")
    @classmethod
    def _sized(cls, data: Any) -> Any:
        return _with_levels(data, cls.model_fields)


class AutoSpec(_Spec):
    """Reads the definition and picks (`core.auto`): the algorithm to use when one does not want to choose."""

    name: Literal["auto"] = "auto"
    max_resource: float | None = Field(
        default=None,
        gt=0,
        description="How far a trial is trained at most. Left out: the recipe's `epochs`, or until a function returns.",
    )
    min_resource: float = Field(default=1.0, gt=0, description="Resource of a trial's first segment, at least.")
    fidelity: Fidelity = Field(
        default="epochs", description="What resource is: time that a trial goes on in, or a size that it is trained at."
    )
    warm_start: Literal["auto", "off"] | Annotated[tuple[StudyId, ...], Field(max_length=16)] = Field(
        default="auto",
        description="Past studies of the project to begin from: those that are most alike, none, or these ids.",
    )

    @model_validator(mode="before")
    @classmethod
    def _sized(cls, data: Any) -> Any:
        return _with_levels(data, cls.model_fields)

    @field_validator("warm_start", mode="before")
    @classmethod
    def _known_start(cls, given: Any) -> Any:
        if given is False:  # YAML reads a bare `off` so
            return "off"
        if not isinstance(given, list | tuple) and given not in ("auto", "off"):
            remedy = f"[{given}]" if isinstance(given, str) and given not in ("on", "yes", "true") else "auto"
            raise ValueError(f"warm_start is auto, off or a list of studies, but got {given!r}; write {remedy}")
        if isinstance(given, list | tuple) and not given:
            return "off"
        return given

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_resource is not None and self.max_resource < self.min_resource:
            raise ValueError(
                f"max_resource must be at least min_resource, but got min_resource={self.min_resource:g}, "
                f"max_resource={self.max_resource:g}; raise max_resource"
            )
        return self


class GridSpec(_SingleSegment):
    """Every combination, in an order shuffled by the seed."""

    name: Literal["grid"] = "grid"
    points: int = Field(default=5, ge=2, le=1000, description="Values per continuous parameter.")


class RandomSpec(_SingleSegment, _Blocks, _Sized):
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


class CmaesSpec(_SingleSegment):
    """A normal distribution that moves towards better trials, generation by generation (Hansen 2016)."""

    name: Literal["cmaes"] = "cmaes"
    population: int | None = Field(
        default=None, ge=4, le=10_000, description="Trials of a generation. Left out: 4 + 3 ln n for n parameters."
    )


class Nsga2Spec(_SingleSegment):
    """Generations of trials that are bred from those that no other one beats in every objective (Deb et al. 2002)."""

    name: Literal["nsga2"] = "nsga2"
    population: int = Field(default=16, ge=4, le=10_000, description="Trials of a generation, and parents of the next.")


class _Rungs(_Spec):
    min_resource: float = Field(default=1.0, gt=0, description="Resource of the lowest rung.")
    max_resource: float = Field(gt=0, description="Resource of the highest rung.")
    eta: int = Field(default=3, ge=2, le=100, description="Of eta trials one is promoted, for eta times the resource.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_resource < self.min_resource:
            raise ValueError(
                f"max_resource must be at least min_resource, but got min_resource={self.min_resource:g}, "
                f"max_resource={self.max_resource:g}; raise max_resource"
            )
        return self


class _Halving(_Rungs):
    sampler: SamplerName = Field(default="random", description="Who chooses new configurations.")


class SuccessiveHalvingSpec(_Halving, _Blocks, _Sized):
    """Train many a little and few a lot, in synchronous rungs (Jamieson & Talwalkar 2016)."""

    name: Literal["successive_halving"] = "successive_halving"
    trials: int = Field(ge=1, le=1_000_000, description="Configurations in the lowest rung.")
    keep: int = Field(default=1, ge=1, description="At least this many reach max_resource.")


class HyperbandSpec(_Halving, _Blocks, _Sized):
    """Brackets of successive halving from bold to careful, repeated until the budget ends (Li et al. 2018)."""

    name: Literal["hyperband"] = "hyperband"


class BohbSpec(_Halving, _Sized):
    """Hyperband whose configurations come from TPE on completed brackets (Falkner et al. 2018)."""

    name: Literal["bohb"] = "bohb"
    sampler: Literal["tpe"] = "tpe"
    random_fraction: float = Field(
        default=1 / 3,
        ge=0,
        le=1,
        exclude_if=lambda share: share == 1 / 3,
        description="How likely a trial is drawn at random although there is a model.",
    )
    bandwidth_factor: float = Field(
        default=3.0,
        gt=0,
        le=100,
        exclude_if=lambda factor: factor == 3,
        description="So much wider than the density of the good trials is what candidates are drawn from.",
    )


class DehbSpec(_Rungs, _Sized):
    """Hyperband whose configurations evolve: a population for each level (Awad, Mallik & Hutter 2021)."""

    name: Literal["dehb"] = "dehb"
    mutation: float = Field(
        default=0.5, gt=0, le=1, description="F: so much of the difference of two trials is added to a third."
    )
    crossover: float = Field(
        default=0.5, ge=0, le=1, description="How likely a parameter comes from that, rather than from its target."
    )


class AshaSpec(_Halving, _Blocks, _Sized):
    """Asynchronous successive halving: promotes whenever a rung allows it, never waits (Li et al. 2020)."""

    name: Literal["asha"] = "asha"


class PashaSpec(_Halving, _Blocks, _Sized):
    """ASHA that trains further only while the ranking of trials still changes (Bohdal et al. 2023)."""

    name: Literal["pasha"] = "pasha"
    epsilon: Literal["auto"] | Annotated[float, Field(ge=0)] = Field(
        default="auto",
        description="Values of the objective that are no further apart count as equal. auto: estimated from the noise "
        "of the learning curves.",
    )

    @field_validator("epsilon", mode="before")
    @classmethod
    def _known_epsilon(cls, given: Any) -> Any:
        if given != "auto" and (not isinstance(given, int | float) or isinstance(given, bool) or not given >= 0):
            raise ValueError(f"epsilon is auto or a number from 0 on, but got {given!r}; write auto")
        return given


class MedianSpec(_Blocks):
    """Stops a trial whose best value is worse than the median of the others' running means (Golovin et al. 2017)."""

    name: Literal["median"] = "median"
    max_resource: float = Field(gt=0)
    grace_resource: float = Field(default=1.0, gt=0, description="No trial is judged before this resource.")
    interval: float = Field(default=1.0, gt=0, description="Resource between two judgements.")
    min_trials: int = Field(default=5, ge=1, description="Trials that must have come as far before one is judged.")
    sampler: SamplerName = "random"


class PbtSpec(_Spec):
    """A population trained in intervals; at each, the worst go on from the weights of the best, with changed parameters
    (Jaderberg et al. 2017)."""

    name: Literal["pbt"] = "pbt"
    population: int = Field(default=16, ge=4, le=10_000, description="Trials that train at the same level.")
    interval: float = Field(default=1.0, gt=0, description="Resource between two exchanges.")
    max_resource: float = Field(gt=0, description="How far the population is trained.")
    quantile: float = Field(
        default=0.25, gt=0, le=0.5, description="So large a part goes on from the weights of as many of the best."
    )
    resample: float = Field(
        default=0.25, ge=0, le=1, description="How likely a parameter is drawn anew, rather than perturbed."
    )
    mutate: tuple[Annotated[str, Field(min_length=1, max_length=128)], ...] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="The parameters that change. Left out: the tuned lanes of a built-in recipe; of other trainers the "
        "tuned real numbers, which shape no model.",
    )
    synchronous: bool = Field(
        default=True,
        description="Exchange when the whole population has come to a level: the same study with any number of "
        "workers. false: each trial as it comes, against those that came before it; nobody waits.",
    )


AlgorithmSpec = Annotated[
    AutoSpec
    | GridSpec
    | RandomSpec
    | SobolSpec
    | BayesianSpec
    | CmaesSpec
    | Nsga2Spec
    | SuccessiveHalvingSpec
    | HyperbandSpec
    | BohbSpec
    | DehbSpec
    | AshaSpec
    | PashaSpec
    | MedianSpec
    | PbtSpec,
    Field(discriminator="name"),
]
WITH_SCHEDULER = frozenset({"successive_halving", "hyperband", "bohb", "dehb", "asha", "pasha", "median", "pbt"})


def model_of(spec: AlgorithmSpec) -> str | None:
    """The model of past trials that chooses configurations (`tpe`, `gp`), or None."""
    if isinstance(spec, AutoSpec):  # whatever it picks learns from past trials, but for a grid
        return "gp"
    name = spec.surrogate if isinstance(spec, BayesianSpec) else getattr(spec, "sampler", "random")
    return None if name == "random" else str(name)
