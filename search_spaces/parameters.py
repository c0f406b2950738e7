"""The parameter types: one frozen model per type, a union told apart by `type`.

Here: what each type's definition may say, and the rules between its fields. Not here: how values lie
on the unit interval (`scales`, `grids`), and what parameters mean to each other (`space`).
A parameter is written as a mapping (`{type: loguniform, low: 1e-6, high: 0.1}`) or in Python
(`LogUniform(1e-6, 0.1)`); a broken rule raises `SpaceError` either way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypedDict, Unpack

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from search_spaces.errors import SpaceError, from_pydantic, nearest
from search_spaces.fields import AnyScalar, Number, Scalars, When, Whole
from search_spaces.grids import DiscreteScale, ListScale, PowerScale, StepScale, step_count
from search_spaces.scales import (
    SIGMAS,
    LinearScale,
    LogNormalScale,
    LogScale,
    NormalScale,
    Scale,
)

MAX_STEPS = 2**40
MAX_INTEGERS = 2**48
MAX_GRID = 1_000_000


class Common(TypedDict, total=False):
    """What every parameter's constructor takes by name, beside its own fields."""

    default: Any
    when: Mapping[str, Any] | None
    notes: str
    type: str  # as a document says it; the class knows


class BaseParameter(BaseModel):
    """What every parameter offers. Values are plain Python scalars that survive JSON exactly.

    `to_unit` maps a value to [0, 1] on the parameter's own scale (non-decreasing in the value), and
    `from_unit` maps back: `from_unit(to_unit(v)) == v` for every discrete value, and for every
    continuous one that was drawn or has at most 12 digits (see `scales`).
    """

    logarithmic: ClassVar[bool] = False
    """Whether equal factors, not equal differences, are equally likely: charts draw such an axis in logarithms."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    positional: ClassVar[tuple[str, ...]] = ("low", "high")

    default: AnyScalar = Field(default=None, description="The value of the baseline configuration, tried first.")
    when: When = Field(default=None, description="Active only when these parents match, such as {optimizer: sgd}.")
    notes: str = Field(default="", max_length=2_000, description="Free text; not part of the digest.")

    def __init__(self, *args: Any, **data: Any) -> None:
        names = self.positional
        if len(args) > len(names):
            raise TypeError(f"{type(self).__name__} takes {len(names)} positional values: {names}")
        for name, value in zip(names, args, strict=False):
            if name in data:
                raise TypeError(f"{type(self).__name__} got {name!r} twice")
            data[name] = value
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise from_pydantic(error, type(self).model_fields) from None

    @model_validator(mode="after")
    def _consistent(self) -> BaseParameter:
        self.check()
        if "default" in self.model_fields_set and (self.default is not None or self.contains(None)):
            try:
                # The model is frozen for its users; here it is still being made.
                self.__dict__["default"] = self.scale.parse(self.default)
            except SpaceError as error:
                raise error.under("default") from None
        return self

    def check(self) -> None:
        """Rules between fields; raises SpaceError with the field as its path."""

    @cached_property
    def scale(self) -> Scale:
        """How the values lie on the unit interval."""
        return self.make_scale()

    def make_scale(self) -> Scale:
        raise TypeError(f"{type(self).__name__} is not a parameter type by itself; use one such as Uniform")

    @property
    def has_default(self) -> bool:
        """Whether the definition names a default (null counts where null is a value)."""
        return "default" in self.model_fields_set and (self.default is not None or self.contains(None))

    @property
    def cardinality(self) -> int | None:
        """The number of values; None for a continuous parameter."""
        return self.scale.count

    @property
    def center(self) -> Any:
        """The default, or the middle of the scale."""
        return self.default if self.has_default else self.scale.from_unit(0.5)

    def parse(self, value: object) -> Any:
        """The legal value that this one stands for (3.0 for 3, say); SpaceError if there is none."""
        return self.scale.parse(value)

    def contains(self, value: object) -> bool:
        """Whether the value is legal."""
        try:
            self.scale.parse(value)
        except SpaceError:
            return False
        return True

    def sample(self, rng: np.random.Generator) -> Any:
        """One value drawn on the parameter's scale; takes exactly one number from `rng`."""
        return self.scale.from_unit(float(rng.random()))

    def to_unit(self, value: object) -> float:
        """The value's place in [0, 1]; SpaceError if it is not legal."""
        return self.scale.to_unit(self.scale.parse(value))

    def from_unit(self, u: float) -> Any:
        """The value at that place; u is clipped to [0, 1]."""
        if not u == u:
            raise SpaceError("a place on the unit interval must be a number", value=u)
        return self.scale.from_unit(min(1.0, max(0.0, float(u))))

    def grid(self, points: int) -> list[Any]:
        """Every value of a discrete parameter; `points` values, both ends included, of a continuous one.

        One point is the center. A scale without ends (normal, lognormal) gives the middle quantiles of
        `points` equal parts.
        """
        scale = self.scale
        if isinstance(scale, DiscreteScale):
            if scale.count > MAX_GRID:
                raise SpaceError(
                    f"a grid takes at most {MAX_GRID} values of a parameter",
                    value=scale.count,
                    remedy="raise step",
                )
            return [scale.at(k) for k in range(scale.count)]
        if points < 1:
            raise SpaceError("points must be >= 1", value=points)
        if points == 1:
            return [self.center]
        return [self.scale.from_unit(u) for u in self._grid_places(points)]

    def _grid_places(self, points: int) -> list[float]:
        return [k / (points - 1) for k in range(points)]

    def to_dict(self) -> dict[str, Any]:
        """The definition as JSON carries it; `parse_parameter` reads it back."""
        found: dict[str, Any] = {}
        for name in ("type", *self.positional, *type(self).model_fields):
            value = getattr(self, name)
            if name == "default":
                kept = self.has_default
            elif name == "notes":
                kept = value != ""
            else:
                kept = value is not None or name == "value"
            if kept:
                found[name] = list(value) if isinstance(value, tuple) else value
        return found


def _ordered(low: float, high: float) -> None:
    if not low < high:
        raise SpaceError(
            "low must be < high",
            got=f"low={low!r}, high={high!r}",
            value=low,
            path="low",
            remedy="swap them" if low > high else "use a constant for a single value",
        )
    if not 1e-300 <= high - low < math.inf:
        raise SpaceError(
            "high - low must lie between 1e-300 and 1.7e308", got=f"low={low!r}, high={high!r}", path="low"
        )


def _positive(low: float) -> None:
    if not low > 0:
        raise SpaceError("a logarithmic scale needs low > 0", value=low, path="low", remedy="raise low above zero")


def _stepped(low: float, high: float, step: float) -> None:
    if not step > 0:
        raise SpaceError("step must be > 0", value=step, path="step")
    if max(abs(low), abs(high)) / step > MAX_STEPS:
        raise SpaceError("step must be at least 2**-40 of the bounds", value=step, path="step", remedy="raise it")


class Uniform(BaseParameter):
    """A real number, equally likely anywhere in [low, high]."""

    type: Literal["uniform"] = "uniform"
    low: Number = Field(description="The smallest value.")
    high: Number = Field(description="The largest value.")

    if TYPE_CHECKING:

        def __init__(self, low: float, high: float, **more: Unpack[Common]) -> None: ...

    def check(self) -> None:
        _ordered(self.low, self.high)

    def make_scale(self) -> Scale:
        return LinearScale(self.low, self.high)


class LogUniform(BaseParameter):
    """A real number whose logarithm is equally likely anywhere in [log low, log high]."""

    logarithmic: ClassVar[bool] = True

    type: Literal["loguniform"] = "loguniform"
    low: Number = Field(description="The smallest value, > 0.")
    high: Number = Field(description="The largest value.")

    if TYPE_CHECKING:

        def __init__(self, low: float, high: float, **more: Unpack[Common]) -> None: ...

    def check(self) -> None:
        _positive(self.low)
        _ordered(self.low, self.high)

    def make_scale(self) -> Scale:
        return LogScale(self.low, self.high)


class QUniform(BaseParameter):
    """A real number on the grid low, low + step, …, equally likely."""

    positional: ClassVar[tuple[str, ...]] = ("low", "high", "step")
    type: Literal["quniform"] = "quniform"
    low: Number = Field(description="The smallest value.")
    high: Number = Field(description="No value exceeds this.")
    step: Number = Field(description="The distance between neighbours, > 0.")

    if TYPE_CHECKING:

        def __init__(self, low: float, high: float, step: float, **more: Unpack[Common]) -> None: ...

    def check(self) -> None:
        _ordered(self.low, self.high)
        _stepped(self.low, self.high, self.step)

    def make_scale(self) -> Scale:
        return StepScale(self.low, self.step, step_count(self.low, self.high, self.step))


class QLogUniform(BaseParameter):
    """A real number on the grid low, low + step, …, drawn on a logarithmic scale."""

    logarithmic: ClassVar[bool] = True

    positional: ClassVar[tuple[str, ...]] = ("low", "high", "step")
    type: Literal["qloguniform"] = "qloguniform"
    low: Number = Field(description="The smallest value, > 0.")
    high: Number = Field(description="No value exceeds this.")
    step: Number = Field(description="The distance between neighbours, > 0.")

    if TYPE_CHECKING:

        def __init__(self, low: float, high: float, step: float, **more: Unpack[Common]) -> None: ...

    def check(self) -> None:
        _positive(self.low)
        _ordered(self.low, self.high)
        _stepped(self.low, self.high, self.step)

    def make_scale(self) -> Scale:
        return StepScale(self.low, self.step, step_count(self.low, self.high, self.step), log=True)


class Integer(BaseParameter):
    """A whole number low, low + step, … <= high, equally likely."""

    positional: ClassVar[tuple[str, ...]] = ("low", "high", "step")
    type: Literal["integer"] = "integer"
    low: Whole = Field(description="The smallest value.")
    high: Whole = Field(description="No value exceeds this.")
    step: Whole = Field(default=1, description="The distance between neighbours, >= 1.")

    if TYPE_CHECKING:

        def __init__(self, low: int, high: int, step: int = 1, **more: Unpack[Common]) -> None: ...

    def check(self) -> None:
        _ordered(self.low, self.high)
        if self.step < 1:
            raise SpaceError("step must be >= 1", value=self.step, path="step")
        if (self.high - self.low) // self.step >= MAX_INTEGERS:
            raise SpaceError("there may be at most 2**48 values", value=self.high, path="high", remedy="raise step")

    def make_scale(self) -> Scale:
        count = (self.high - self.low) // self.step + 1
        return StepScale(self.low, self.step, count, whole=True)


class LogInteger(BaseParameter):
    """A whole number of [low, high], drawn on a logarithmic scale."""

    logarithmic: ClassVar[bool] = True

    type: Literal["log_integer"] = "log_integer"
    low: Whole = Field(description="The smallest value, >= 1.")
    high: Whole = Field(description="The largest value, at most 2**40.")

    if TYPE_CHECKING:

        def __init__(self, low: int, high: int, **more: Unpack[Common]) -> None: ...

    def check(self) -> None:
        _positive(self.low)
        _ordered(self.low, self.high)
        if self.high > MAX_STEPS:
            raise SpaceError("high must be <= 2**40", value=self.high, path="high", remedy="use loguniform")

    def make_scale(self) -> Scale:
        return StepScale(self.low, 1, self.high - self.low + 1, log=True, whole=True)


class PowerOfTwo(BaseParameter):
    """A power of two inside [low, high], equally likely: 16, 32, 64, …"""

    logarithmic: ClassVar[bool] = True

    type: Literal["power_of_two"] = "power_of_two"
    low: Whole = Field(description="No value is smaller; >= 1.")
    high: Whole = Field(description="No value is larger.")

    if TYPE_CHECKING:

        def __init__(self, low: int, high: int, **more: Unpack[Common]) -> None: ...

    def check(self) -> None:
        _positive(self.low)
        _ordered(self.low, self.high)
        if self.last < self.first:
            raise SpaceError(
                "there must be a power of two in [low, high]",
                got=f"low={self.low!r}, high={self.high!r}",
                path="low",
                remedy=f"the nearest are {1 << self.last} and {1 << self.first}",
            )

    @property
    def first(self) -> int:
        """The smallest exponent."""
        return (self.low - 1).bit_length()

    @property
    def last(self) -> int:
        """The largest exponent."""
        return self.high.bit_length() - 1

    def make_scale(self) -> Scale:
        return PowerScale(self.first, self.last - self.first + 1)


class Choice(BaseParameter):
    """One of the listed values, equally likely; their order means nothing."""

    positional: ClassVar[tuple[str, ...]] = ("values",)
    type: Literal["choice"] = "choice"
    values: Scalars = Field(description="Distinct JSON scalars; true is not 1.")

    if TYPE_CHECKING:

        def __init__(self, values: Sequence[Any], **more: Unpack[Common]) -> None: ...

    def make_scale(self) -> Scale:
        return ListScale(self.values)

    @property
    def center(self) -> Any:
        """The default, or the first value: an unordered list has no middle."""
        return self.default if self.has_default else self.values[0]


class Ordinal(BaseParameter):
    """One of the listed values, equally likely; they stand in ascending order."""

    positional: ClassVar[tuple[str, ...]] = ("values",)
    type: Literal["ordinal"] = "ordinal"
    values: Scalars = Field(description="Distinct JSON scalars in ascending order.")

    if TYPE_CHECKING:

        def __init__(self, values: Sequence[Any], **more: Unpack[Common]) -> None: ...

    def make_scale(self) -> Scale:
        return ListScale(self.values, ranked=True)


class Normal(BaseParameter):
    """A normally distributed number, cut to [low, high] where given; drawn within six sigma."""

    positional: ClassVar[tuple[str, ...]] = ("mu", "sigma")
    type: Literal["normal"] = "normal"
    mu: Number = Field(description="The mean, before truncation.")
    sigma: Number = Field(description="The standard deviation, before truncation; > 0.")
    low: Number | None = Field(default=None, description="No value is smaller.")
    high: Number | None = Field(default=None, description="No value is larger.")

    if TYPE_CHECKING:

        def __init__(
            self,
            mu: float,
            sigma: float,
            *,
            low: float | None = None,
            high: float | None = None,
            **more: Unpack[Common],
        ) -> None: ...

    def check(self) -> None:
        _spread(self.mu, self.sigma)
        low, high = self._bounds()
        if self.low is not None and self.high is not None:
            _ordered(self.low, self.high)
        reach = SIGMAS * self.sigma
        inside = min(high, self.mu + reach) - max(low, self.mu - reach)
        if not inside >= 1e-6 * self.sigma:
            raise SpaceError(
                "[low, high] must share at least 1e-6 sigma with mu ± 6 sigma",
                got=f"low={self.low!r}, high={self.high!r}, mu={self.mu!r}, sigma={self.sigma!r}",
                path="low" if self.low is not None else "high",
                remedy="use uniform",
            )

    def _bounds(self) -> tuple[float, float]:
        return (
            -math.inf if self.low is None else self.low,
            math.inf if self.high is None else self.high,
        )

    def make_scale(self) -> Scale:
        return NormalScale(self.mu, self.sigma, *self._bounds())

    def _grid_places(self, points: int) -> list[float]:
        if self.low is not None and self.high is not None:
            return super()._grid_places(points)
        return [(k + 0.5) / points for k in range(points)]


class LogNormal(BaseParameter):
    """A number whose natural logarithm is normal (mu, sigma); drawn within six sigma."""

    logarithmic: ClassVar[bool] = True

    positional: ClassVar[tuple[str, ...]] = ("mu", "sigma")
    type: Literal["lognormal"] = "lognormal"
    mu: Number = Field(description="The mean of the logarithm.")
    sigma: Number = Field(description="The standard deviation of the logarithm, > 0.")

    if TYPE_CHECKING:

        def __init__(self, mu: float, sigma: float, **more: Unpack[Common]) -> None: ...

    def check(self) -> None:
        _spread(self.mu, self.sigma)
        if abs(self.mu) + SIGMAS * self.sigma > 690:
            raise SpaceError(
                "exp(mu ± 6 sigma) must be a float",
                got=f"mu={self.mu!r}, sigma={self.sigma!r}",
                path="mu",
                remedy="mu and sigma are those of log(x)",
            )

    def make_scale(self) -> Scale:
        return LogNormalScale(self.mu, self.sigma)

    def _grid_places(self, points: int) -> list[float]:
        return [(k + 0.5) / points for k in range(points)]


def _spread(mu: float, sigma: float) -> None:
    if not sigma > 0:
        raise SpaceError("sigma must be > 0", value=sigma, path="sigma")
    if sigma < 1e-7 * abs(mu) or sigma < 1e-290:
        raise SpaceError("sigma must be at least 1e-7 of mu", value=sigma, path="sigma", remedy="use a constant")
    if abs(mu) + SIGMAS * sigma > 1e300:
        raise SpaceError("mu ± 6 sigma must be finite", value=sigma, path="sigma")


class Constant(BaseParameter):
    """Always the same value."""

    positional: ClassVar[tuple[str, ...]] = ("value",)
    type: Literal["constant"] = "constant"
    value: AnyScalar = Field(description="A JSON scalar.")

    if TYPE_CHECKING:

        def __init__(self, value: Any, **more: Unpack[Common]) -> None: ...

    def make_scale(self) -> Scale:
        return ListScale((self.value,))

    @property
    def center(self) -> Any:
        """The value."""
        return self.value


PARAMETER_TYPES: dict[str, type[BaseParameter]] = {
    "uniform": Uniform,
    "quniform": QUniform,
    "loguniform": LogUniform,
    "qloguniform": QLogUniform,
    "integer": Integer,
    "log_integer": LogInteger,
    "power_of_two": PowerOfTwo,
    "choice": Choice,
    "ordinal": Ordinal,
    "normal": Normal,
    "lognormal": LogNormal,
    "constant": Constant,
}

Parameter = Annotated[
    Uniform
    | QUniform
    | LogUniform
    | QLogUniform
    | Integer
    | LogInteger
    | PowerOfTwo
    | Choice
    | Ordinal
    | Normal
    | LogNormal
    | Constant,
    Field(discriminator="type"),
]


def parse_parameter(definition: object) -> BaseParameter:
    """A parameter from its definition (a mapping with a `type`), or a parameter as it is.

    Raises SpaceError whose path starts at the parameter (`low`, `when.optimizer`).
    """
    if isinstance(definition, BaseParameter):
        return definition
    if not isinstance(definition, Mapping):
        raise SpaceError(
            "a parameter must be a mapping with a type",
            value=definition,
            remedy="write {type: uniform, low: 0, high: 1}",
        )
    kind = definition.get("type")
    if kind is None:
        raise SpaceError(
            "the field is required",
            got="nothing",
            path="type",
            remedy=f"add one of {', '.join(PARAMETER_TYPES)}",
        )
    model = PARAMETER_TYPES.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise SpaceError("type must be a known one", value=kind, path="type", remedy=nearest(kind, PARAMETER_TYPES))
    try:
        return model(**{str(name)[:128]: value for name, value in definition.items()})
    except TypeError as error:
        raise SpaceError(str(error), value=kind) from None
