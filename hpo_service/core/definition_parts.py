"""The parts of a study definition: what is optimised, what trains a trial, what ends the study, what a trial takes.

Each checks what concerns itself alone. Rules between parts are in `core.definition_rules`, the whole is in
`core.definition_model`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from search_spaces.catalog import own_recipe

Name = Annotated[str, Field(min_length=1, max_length=200)]
MAX_LANES = 4096
TRAINER_KINDS = ("recipe", "function", "ray_tune", "optuna", "external")
IMPORT_PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"


class Part(BaseModel):
    """Frozen; unknown fields, NaN and infinity are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Objective(Part):
    """What is optimised. `at`: a trial's value is that of its last report (default) or of its best one."""

    metric: Name
    direction: Literal["maximize", "minimize"] = "minimize"
    at: Literal["last", "best"] = "last"

    @property
    def maximize(self) -> bool:
        return self.direction == "maximize"


class Trainer(Part):
    """What trains a trial: exactly one of a recipe, a function, Ray Tune trainable or Optuna objective by import path,
    or external workers."""

    recipe: str | None = Field(
        default=None, description="A recipe by name, or one of your own by import path: `package.module:name`."
    )
    function: str | None = Field(
        default=None,
        pattern=IMPORT_PATH,
        description="Import path of `def train(trial)`: `package.module:name`.",
    )
    ray_tune: str | None = Field(
        default=None,
        pattern=IMPORT_PATH,
        description="Import path of a Ray Tune trainable, function or class: `package.module:name`.",
    )
    optuna: str | None = Field(
        default=None, pattern=IMPORT_PATH, description="Import path of an Optuna objective: `package.module:name`."
    )
    external: bool = False
    params: dict[str, Any] = Field(default_factory=dict, description="Fixed arguments, shared by all trials.")
    bundle: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the uploaded archive that holds the code; without it the workers must have the code.",
    )
    pip: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = Field(
        default=(), max_length=100, description="Packages that the code needs beside the bundle, as pip names them."
    )

    @property
    def code(self) -> str | None:
        """The import path of the user's own code that it runs on the workers, if it does."""
        if self.recipe is not None:
            return self.recipe if own_recipe(self.recipe) else None
        return self.function or self.ray_tune or self.optuna

    @property
    def kind(self) -> str:
        """Which of the ways it is: recipe, function, ray_tune, optuna or external."""
        return next(kind for kind in TRAINER_KINDS if getattr(self, kind))

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [kind for kind in TRAINER_KINDS if getattr(self, kind)]
        if len(given) != 1:
            raise ValueError(
                f"a trainer is exactly one of {', '.join(TRAINER_KINDS)}, but got {given or 'none'}; "
                "write for example {recipe: image_classifier} or {external: true}"
            )
        for name in ("bundle", "pip"):
            if getattr(self, name) and self.code is None:
                raise ValueError(
                    f"trainer.{name} belongs to code of your own, but the trainer is {given[0]}; remove {name}, "
                    "or name a function, ray_tune, optuna or a recipe by import path"
                )
        return self


class Budget(Part):
    """Whichever bound is reached first ends the study; all optional."""

    trials: int | None = Field(default=None, ge=1, le=100_000_000, description="Number of trials.")
    resource: float | None = Field(default=None, gt=0, description="Sum of the trials' resource (epochs).")
    hours: float | None = Field(default=None, gt=0, description="Wall-clock hours since the first dispatch.")
    dollars: float | None = Field(default=None, gt=0, le=1e9, description="Cost by the prices in the settings.")
    patience: Literal["auto"] | Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Trials in a row without improvement; auto: until going on is not worth its cost any more.",
    )
    worth: float | None = Field(
        default=None, gt=0, description="Dollars that one unit of the objective is worth, for `patience: auto`."
    )
    min_delta: float = Field(default=0.0, ge=0, description="What counts as an improvement, for `patience`.")
    target: float | None = Field(default=None, description="Ends the study when the objective reaches it.")

    @field_validator("patience", mode="before")
    @classmethod
    def _known_patience(cls, patience: Any) -> Any:
        number = isinstance(patience, int) and not isinstance(patience, bool) and patience >= 1
        if patience is not None and patience != "auto" and not number:
            raise ValueError(f"patience is auto or a whole number from 1 on, but got {patience!r}; write auto")
        return patience

    @property
    def foreseeable(self) -> bool:
        """Whether nothing but counting trials and resource ends the study, so that nothing is begun in vain."""
        return all(v is None for v in (self.hours, self.dollars, self.patience, self.target))

    @property
    def bounded(self) -> bool:
        """Whether some bound will surely end the study."""
        return any(v is not None for v in (self.trials, self.resource, self.hours, self.dollars, self.patience))


class Resources(Part):
    """What one trial occupies on a worker's node."""

    cpu: float = Field(default=1.0, ge=0, le=4096)
    gpu: float = Field(default=0.0, ge=0, le=1024)
    lanes: Literal["auto", "off"] | Annotated[int, Field(ge=1, le=MAX_LANES)] = Field(
        default="auto",
        description="How many trials of equal structure train together as lanes of one program: auto measures whether "
        "it pays and how many; off or 1 trains one by one; a number fixes it.",
    )

    processes: int = Field(
        default=1,
        ge=1,
        le=1024,
        description="How many processes train one trial together under torch.distributed; they share its GPUs.",
    )
    share: Literal["auto", "off"] = Field(
        default="off",
        description="Whether several workers share a GPU where trials train one by one: auto measures memory and "
        "utilisation of the first trials and chooses how many; a worker that runs out of memory takes that back. Not "
        "set: auto for a recipe that asks for exactly one GPU, else off.",
    )

    @field_validator("lanes", mode="before")
    @classmethod
    def _known_lanes(cls, lanes: Any) -> Any:
        number = isinstance(lanes, int) and not isinstance(lanes, bool) and 1 <= lanes <= MAX_LANES
        if lanes not in ("auto", "off") and not number:
            raise ValueError(
                f"lanes is auto, off or a whole number from 1 to {MAX_LANES}, but got {lanes!r}; write auto"
            )
        return lanes

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.cpu == 0 and self.gpu == 0:
            raise ValueError("a trial needs cpu or gpu, but both are 0; set resources.cpu to 1")
        if self.gpu > 1 and self.gpu != int(self.gpu):
            raise ValueError(f"more than one GPU must be a whole number, but got gpu={self.gpu}; use 1 or 2")
        if self.processes > 1 and self.gpu % self.processes:
            raise ValueError(
                "the GPUs of a trial are divided equally among its processes, "
                f"but got gpu={self.gpu:g} and processes={self.processes}; set gpu to a multiple of processes, or to 0"
            )
        return self


class Confirms(Part):
    """What a confirmation trains again with new seeds: trials of a study. Only such a study computes test metrics."""

    study: Annotated[str, Field(min_length=1, max_length=200)]
    trials: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1, max_length=100)
    seeds: int = Field(ge=1, le=100, description="How often each is trained.")
    horizon: float | None = Field(
        default=None, gt=0, description="Where learning-rate schedules end, if that is beyond max_resource."
    )
