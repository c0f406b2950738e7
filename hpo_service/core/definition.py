"""The study definition: one document, the same in REST, SDK, CLI and files.

`parse` turns untrusted data into a `StudyDefinition` or raises `InvalidInput` that names every broken field. What
needs the algorithms' code (grid sizes, rung arithmetic) is checked by `hpo_service.algorithms.check`; what needs a
worker (does the trainer import, is the data there) by preflight.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from hpo_service.core import constraints as constrained
from hpo_service.core.algorithm_specs import WITH_SCHEDULER, AlgorithmSpec, AutoSpec, model_of
from hpo_service.core.constraints import Constraint
from hpo_service.errors import FieldProblem, InvalidInput
from search_spaces import SearchSpace, SpaceError
from search_spaces.catalog import own_recipe, recipes_schema, validate_trainer

MAX_DOCUMENT_DEPTH = 32
Name = Annotated[str, Field(min_length=1, max_length=200)]
MAX_LANES = 4096
MODEL_PARALLEL = 4
"""Attempts at the same time where a model learns from earlier trials: the more, the less it knows when it chooses."""
FREE_PARALLEL = 256
"""Where nothing is learnt: enough for two launches of many lanes, and more than most clusters have room for."""


TRAINER_KINDS = ("recipe", "function", "ray_tune", "optuna", "external")
_IMPORT_PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$"


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Objective(_Model):
    """What is optimised. `at`: a trial's value is that of its last report (default) or of its best one."""

    metric: Name
    direction: Literal["maximize", "minimize"] = "minimize"
    at: Literal["last", "best"] = "last"

    @property
    def maximize(self) -> bool:
        return self.direction == "maximize"


class Trainer(_Model):
    """What trains a trial: exactly one of a recipe, a function, Ray Tune trainable or Optuna objective by import path,
    or external workers."""

    recipe: str | None = Field(
        default=None, description="A recipe by name, or one of your own by import path: `package.module:name`."
    )
    function: str | None = Field(
        default=None,
        pattern=_IMPORT_PATH,
        description="Import path of `def train(trial)`: `package.module:name`.",
    )
    ray_tune: str | None = Field(
        default=None,
        pattern=_IMPORT_PATH,
        description="Import path of a Ray Tune trainable, function or class: `package.module:name`.",
    )
    optuna: str | None = Field(
        default=None, pattern=_IMPORT_PATH, description="Import path of an Optuna objective: `package.module:name`."
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


class Budget(_Model):
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


class Resources(_Model):
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


def default_parallel(algorithm: AlgorithmSpec) -> int:
    """Most attempts open at the same time, where the definition does not say."""
    learns = model_of(algorithm) is not None or algorithm.name == "dehb"
    return MODEL_PARALLEL if learns else FREE_PARALLEL


class Confirms(_Model):
    """What a confirmation trains again with new seeds: trials of a study. Only such a study computes test metrics."""

    study: Annotated[str, Field(min_length=1, max_length=200)]
    trials: tuple[Annotated[int, Field(ge=0)], ...] = Field(min_length=1, max_length=100)
    seeds: int = Field(ge=1, le=100, description="How often each is trained.")
    horizon: float | None = Field(
        default=None, gt=0, description="Where learning-rate schedules end, if that is beyond max_resource."
    )


class StudyDefinition(_Model):
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


def parse(document: Any) -> StudyDefinition:
    """The definition in `document`; raises `InvalidInput` naming each broken field, its rule, value and remedy."""
    if not isinstance(document, Mapping):
        raise InvalidInput.of(
            FieldProblem(
                path="",
                rule="a study definition is a mapping",
                value=type(document).__name__,
                remedy="see `hpo schema`",
            )
        )
    _check_depth(document)
    try:
        definition = StudyDefinition.model_validate(document)
    except ValidationError as error:
        raise InvalidInput.of(*_problems(error, document)) from None
    problems = [*_space_problems(definition)]
    if not problems:
        told = [*_test_problems(definition), *_constraint_problems(definition)]
        problems = [*(told or _trainer_problems(definition)), *_bound_problems(definition)]
        problems += [*_patience_problems(definition), *_fidelity_problems(definition)]
    if problems:
        raise InvalidInput.of(*problems)
    return definition


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the document, for editors; `space` is described by `search_spaces.json_schema`, and
    what recipes take under `x-recipes`, for a recipe's name decides what `trainer.params` may hold."""
    from search_spaces import json_schema as space_schema

    schema = StudyDefinition.model_json_schema()
    objective = {"$ref": "#/$defs/Objective"}
    schema["properties"]["objective"] = {"anyOf": [objective, {"type": "array", "items": objective, "minItems": 1}]}
    schema["properties"].pop("objectives")
    schema["properties"]["parallel"].pop("default")  # it depends on the algorithm, as the description says
    schema["$defs"]["Resources"]["properties"]["share"].pop("default")  # it depends on the trainer
    schema["required"] = ["objective", *(r for r in schema["required"] if r != "objectives")]
    nested = space_schema()
    schema["$defs"] |= nested.pop("$defs", {})
    schema["properties"]["space"] = nested
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, **schema, "title": "Study definition", "x-recipes": recipes_schema()}


def _check_depth(document: Any) -> None:
    level, depth = [document], 0
    while level:
        if depth > MAX_DOCUMENT_DEPTH:
            raise InvalidInput.of(
                FieldProblem(path="", rule=f"a document nests at most {MAX_DOCUMENT_DEPTH} levels", remedy="flatten it")
            )
        children: list[Any] = []
        for item in level:
            if isinstance(item, Mapping):
                children.extend(item.values())
            elif isinstance(item, list | tuple):
                children.extend(item)
        level, depth = [c for c in children if isinstance(c, Mapping | list | tuple)], depth + 1


def _problems(error: ValidationError, document: Mapping[str, Any]) -> list[FieldProblem]:
    found = []
    for item in error.errors(include_url=False)[:20]:
        if isinstance(item["input"], list | tuple) and item["loc"] and str(item["loc"][-1]).startswith("literal["):
            continue  # a word or a list: what is wrong with the list has a line of its own
        if item["type"] == "too_short" and len(item["input"]) >= item["ctx"]["min_length"]:
            continue  # Pydantic counts what is valid of it; what is not has a line of its own
        path = ".".join(str(part) for part in _user_path(item["loc"], document))
        message, value = item["msg"].removeprefix("Value error, "), item.get("input")
        remedy = _within(item["type"], item.get("ctx", {}))
        if item["type"] == "extra_forbidden":
            message, value = "unknown field", item["loc"][-1]
            remedy = _nearest(str(value), _known_fields(item["loc"][:-1]))
        elif item["type"] == "union_tag_invalid":
            message, value = "unknown algorithm", item["ctx"]["tag"]
            remedy = _nearest(str(value), sorted(_specs()))
        elif item["type"] == "string_pattern_mismatch" and item["ctx"]["pattern"] == _IMPORT_PATH:
            message, remedy = "an import path is MODULE:NAME", "write it as train:main, or package.module:name"
        elif item["type"] in ("missing", "value_error"):
            value = None
            remedy = "add it" if item["type"] == "missing" else ""
        found.append(FieldProblem(path=path, rule=message, value=value, remedy=remedy))
    return found


_BOUNDS = {
    "string_too_long": "shorten it to {max_length} characters or fewer",
    "string_too_short": "write at least {min_length}",
    "too_long": "keep at most {max_length}",
    "too_short": "give at least {min_length}",
    "greater_than": "use more than {gt}",
    "greater_than_equal": "use {ge} or more",
    "less_than": "use less than {lt}",
    "less_than_equal": "use {le} or less",
}


def _within(kind: str, bounds: Mapping[str, Any]) -> str:
    """The remedy for what lies outside its bounds, as Pydantic names them; empty for anything else."""
    return _BOUNDS.get(kind, "").format_map(bounds)


_BRANCH = re.compile(r"(literal|tuple|list|set|dict)\[|constrained-")
"""How Pydantic names the branches of a union: no name of ours."""


def _user_path(loc: Sequence[int | str], document: Mapping[str, Any]) -> list[int | str]:
    """Pydantic's location as the user wrote it: without union tags, `objective` where that was given."""
    path = list(loc)
    if path[:1] == ["algorithm"] and len(path) > 1 and path[1] in _specs():
        path.pop(1)
    if path[:1] == ["objectives"] and "objectives" not in document:
        path[0] = "objective"
        if not isinstance(document.get("objective"), list | tuple) and len(path) > 1:
            path.pop(1)
    return [part for part in path if not (isinstance(part, str) and _BRANCH.match(part))]


def _dig(document: Any, path: Sequence[str]) -> Any:
    for part in path:
        document = document.get(part) if isinstance(document, Mapping) else None
    return document


@functools.cache
def _specs() -> Mapping[str, type[BaseModel]]:
    schema = TypeAdapter(AlgorithmSpec).json_schema()
    names = schema["discriminator"]["mapping"]
    from hpo_service.core import algorithm_specs

    return {name: getattr(algorithm_specs, ref.rsplit("/", 1)[-1]) for name, ref in names.items()}


def _known_fields(loc: Sequence[int | str]) -> list[str]:
    sections: Mapping[str, type[BaseModel]] = {
        "objectives": Objective,
        "constraints": Constraint,
        "trainer": Trainer,
        "budget": Budget,
        "resources": Resources,
    }
    if not loc:
        return ["objective", *StudyDefinition.model_fields]
    if loc[0] == "algorithm" and len(loc) > 1:
        return list(_specs()[str(loc[1])].model_fields)
    model = sections.get(str(loc[0]))
    return list(model.model_fields) if model else []


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def _space_problems(definition: StudyDefinition) -> list[FieldProblem]:
    try:
        _ = definition.search_space
    except SpaceError as error:
        errors = getattr(error, "errors", None) or (error,)
        return [FieldProblem(path=e.path, rule=e.rule, value=e.value, remedy=e.remedy) for e in errors]
    return []


def _test_problems(definition: StudyDefinition) -> list[FieldProblem]:
    """A search must not see test rows, not even through a metric: what it chooses by is no test any more."""
    if definition.confirms is not None:
        return []
    several = len(definition.objectives) > 1
    return [
        FieldProblem(
            path=f"objective.{i}.metric" if several else "objective.metric",
            rule="a search does not optimise a test metric: choosing by it would make the test rows part of the search",
            value=o.metric,
            remedy="optimise a validation metric such as val_"
            + f"{o.metric.removeprefix('test_')}; `hpo confirm` measures test metrics of the best trials afterwards",
        )
        for i, o in enumerate(definition.objectives)
        if o.metric.startswith("test_")
    ]


def _constraint_problems(definition: StudyDefinition) -> list[FieldProblem]:
    metrics = [objective.metric for objective in definition.objectives]
    of_search = definition.confirms is None
    return list(constrained.problems(definition.constraints, metrics, of_search=of_search))


def _trainer_problems(definition: StudyDefinition) -> list[FieldProblem]:
    """What breaks the recipe's declaration; for other trainers only `epochs` beside a scheduler. Only a function is
    trained by several processes."""
    trainer = definition.trainer
    processes = definition.resources.processes
    if processes > 1 and trainer.function is None:
        rule = "several processes train a function only (trainer.function)"
        remedy = "set resources.processes to 1, or write a function that uses torch.distributed"
        return [FieldProblem(path="resources.processes", rule=rule, value=processes, remedy=remedy)]
    if trainer.recipe is not None:
        found = validate_trainer(
            trainer.recipe,
            trainer.params,
            definition.space,
            metrics=[o.metric for o in definition.objectives],
            constrained=[c.metric for c in definition.constraints],
            has_scheduler=definition.has_scheduler and definition.resumes,
        )
        return [FieldProblem(path=p.path, rule=p.rule, value=p.value, remedy=p.remedy) for p in found]
    if definition.has_scheduler and definition.resumes and ("epochs" in definition.space or "epochs" in trainer.params):
        where = "space.epochs" if "epochs" in definition.space else "trainer.params.epochs"
        rule = f"the algorithm {definition.algorithm.name} decides how far each trial is trained"
        return [FieldProblem(path=where, rule=rule, remedy="remove epochs and set algorithm.max_resource")]
    return []


def _fidelity_problems(definition: StudyDefinition) -> list[FieldProblem]:
    """Who can be trained at sizes: functions, which read `trial.fidelity`; recipes on shares of their data; own recipes
    that declare more. Of those only a worker knows."""
    trainer, fidelity = definition.trainer, definition.fidelity
    if definition.resumes:
        return []
    path, rule, remedy = "algorithm.fidelity", "", ""
    if trainer.kind not in ("recipe", "function"):
        rule = f"the trainer {trainer.kind} cannot be told a size to train at"
        remedy = "write a function that reads trial.fidelity, or set fidelity: epochs"
    elif trainer.recipe is not None and trainer.code is None and fidelity != "data_fraction":
        rule = f"the recipe {trainer.recipe} has no {fidelity} to be trained at"
        remedy = "use fidelity: data_fraction, or a recipe of your own that declares it"
    elif definition.resources.processes > 1:
        rule = "sizes are trained by one process"
        path, remedy = "resources.processes", "set resources.processes to 1"
    return [FieldProblem(path=path, rule=rule, value=fidelity, remedy=remedy)] if rule else []


def _patience_problems(definition: StudyDefinition) -> list[FieldProblem]:
    patience, worth = definition.budget.patience, definition.budget.worth
    if patience != "auto" and worth is not None:
        rule, remedy = "worth is weighed by patience: auto alone", "write patience: auto beside it, or remove worth"
        return [FieldProblem(path="budget.worth", rule=rule, value=worth, remedy=remedy)]
    if patience != "auto" or len(definition.objectives) == 1:
        return []
    rule = "patience: auto weighs the gain of one objective"
    remedy = "count trials without improvement (budget.patience: 50), or bound the study by trials or hours"
    return [FieldProblem(path="budget.patience", rule=rule, value="auto", remedy=remedy)]


def _bound_problems(definition: StudyDefinition) -> list[FieldProblem]:
    if definition.trainer.external or definition.budget.bounded:
        return []
    if definition.algorithm.name in ("grid", "successive_halving", "pbt"):
        return []
    return [
        FieldProblem(
            path="budget",
            rule=f"the algorithm {definition.algorithm.name} never ends by itself",
            remedy="set one of budget.trials, budget.resource, budget.hours, budget.dollars, budget.patience",
        )
    ]
