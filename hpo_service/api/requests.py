"""What clients may send, beside study definitions: one model per body, unknown fields refused with the nearest name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from hpo_service.api.problems import UNKNOWN_FIELD
from hpo_service.core.values import from_json
from search_spaces.errors import nearest

Value = Annotated[float, BeforeValidator(from_json), Field(examples=[0.97])]
"""A number, or one of the strings "NaN", "Infinity", "-Infinity"."""
ClientId = Annotated[str, Field(min_length=1, max_length=200, examples=["lab-machine-3"])]
Lease = Annotated[float, Field(ge=1, le=86_400, description="Seconds until a silent client's trials go to others.")]
MetricName = Annotated[str, Field(min_length=1, max_length=200)]
Metrics = Annotated[dict[MetricName, Value], Field(max_length=1000, examples=[{"val_loss": 0.21}])]
Tag = Annotated[str, Field(min_length=1, max_length=100)]
TrialNumber = Annotated[int, Field(ge=0, lt=2**53)]
Fence = Annotated[int, Field(ge=1, lt=2**53)]
Step = Annotated[int, Field(ge=0, lt=2**53)]
Resource = Annotated[float, Field(ge=0, lt=1e15, allow_inf_nan=False)]


class Body(BaseModel):
    """Base of every request body."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _known_fields_only(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for name in data:
                if name not in cls.model_fields:
                    raise PydanticCustomError(
                        UNKNOWN_FIELD,
                        "unknown field",
                        {"name": str(name)[:200], "remedy": nearest(name, cls.model_fields)},
                    )
        return data


class Because(Body):
    reason: str = Field(default="", max_length=1000, examples=["the cluster is needed elsewhere"])


class Retry(Body):
    failed: bool = Field(default=False, description="Retry every failed trial.")
    trials: list[TrialNumber] = Field(default=[], max_length=10_000, examples=[[3, 17]])

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.failed == bool(self.trials):
            raise ValueError(f"give either failed: true or trials, but got failed={self.failed}, trials={self.trials}")
        return self


class Confirm(Body):
    """Which trials are trained again: the best `top`, or those named."""

    top: int = Field(default=5, ge=1, le=100, description="The best so many different configurations.")
    seeds: int = Field(default=5, ge=1, le=100, description="New seeds of each.")
    trials: list[TrialNumber] = Field(
        default=[], max_length=100, examples=[[3, 17]], description="These in place of the best; the first one is the "
        "winner that the others are compared with.",
    )  # fmt: skip


class Configurations(Body):
    configurations: list[dict[str, Any]] = Field(
        min_length=1, max_length=1000, examples=[[{"lr": 0.01, "batch_size": 32}]]
    )


class Annotate(Body):
    tags: list[Tag] | None = Field(default=None, max_length=100)
    notes: str | None = Field(default=None, max_length=100_000)


class PatchStudy(Body):
    """Everything optional; `budget` merges, the others replace. A field given as null in `budget` is removed."""

    parallel: int | None = None
    priority: float | None = None
    budget: dict[str, Any] | None = Field(default=None, examples=[{"trials": 400}])
    notes: str | None = None
    tags: list[str] | None = None
    name: str | None = None
    space: dict[str, Any] | None = None
    forbid: list[dict[str, Any]] | None = None
    trial_timeout_s: float | None = None
    stall_timeout_s: float | None = None
    retries: int | None = None


class Ask(Body):
    client_id: ClientId
    n: int = Field(default=1, ge=1, le=1000, description="Top the client's open trials up to this many.")
    lease_s: Lease = 60.0


class Key(Body):
    trial: TrialNumber
    fence: Fence


class Heartbeat(Body):
    client_id: ClientId
    trials: list[Key] | None = Field(default=None, max_length=1000, description="Left out: all of the client's.")
    lease_s: Lease = 60.0


class OneReport(Body):
    trial: TrialNumber
    fence: Fence
    step: Step
    resource: Resource | None = Field(default=None, description="Left out: the step.")
    metrics: Metrics


class Reports(Body):
    reports: list[OneReport] = Field(min_length=1, max_length=1000)


class Tell(Body):
    """How a trial ended. One of value (of the first objective), values (one per objective, by name or in their order)
    or metrics; none of them where the last report says it already, or the trial failed."""

    trial: TrialNumber
    fence: Fence
    value: Value | None = None
    values: dict[MetricName, Value] | list[Value] | None = Field(default=None, min_length=1, max_length=8)
    metrics: Metrics | None = None
    resource: Resource | None = Field(default=None, description="Left out: the target, or the last report's.")
    state: Literal["completed", "failed"] = "completed"
    reason: str = Field(default="", max_length=10_000)

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in ("value", "values", "metrics") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"give one of value, values and metrics, but got {' and '.join(given)}")
        return self


class CreateToken(Body):
    name: str = Field(min_length=1, max_length=200, examples=["ci"])
    role: Literal["viewer", "runner", "editor", "admin"] = "viewer"
    project: str = Field(default="*", pattern=r"^(\*|[A-Za-z0-9][A-Za-z0-9_.\-]{0,62})$")
    may_submit_code: bool = Field(
        default=False, description="May submit functions and recipes of its own: a shell on the workers."
    )
    days: float | None = Field(default=90.0, gt=0, le=3650, description="Lifetime; null: never expires.")
