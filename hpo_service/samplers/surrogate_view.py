"""What a surrogate sees, for people to look at: along each parameter, the others at the incumbent, what the model
expects, where it would look next, and what it learned from.

Pure: it reads a fitted model and the facts that it was fitted to, and changes neither; no later draw hangs on it. The
model is the one that a trial was chosen by, never one of its own. Not here: fitting (`surrogate`), Optuna's models
(`parzen`, `process`), when a view is made and where it is kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from hpo_service.core.history import TrialRecord
from search_spaces import BaseParameter, Choice, SearchSpace

if TYPE_CHECKING:
    from hpo_service.samplers.encoding import Encoding
    from hpo_service.samplers.process import FittedProcess

Floats = npt.NDArray[np.float64]
POINTS = 64
"""Places along a parameter; one of fewer values shows each of them."""
MAX_LINES = 20
MAX_CATEGORIES = 200
MAX_OBSERVED = 500
"""Of more observations the picture shows an even spread; the model had them all."""
MAX_NEXT = 100
MARKED = 4
"""Of the newest proposals, so many are places on every line."""
SIGMAS = 1.959964
"""Half of the 95 % band of a normal distribution."""
MAX_LOG_RATIO = 69.0
IMPROVEMENT, RATIO = "log expected improvement", "density ratio l(x)/g(x)"


def acquisition_name(surrogate: str, *, objectives: int, constrained: bool) -> str:
    """What the acquisition is, in words."""
    if surrogate == "tpe":
        return RATIO
    if objectives > 1:
        return "log expected hypervolume improvement"
    return "log constrained expected improvement" if constrained else IMPROVEMENT


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One parameter. `x` is in its own units, or indexes into `labels`; all columns are as long as `x`. `observed` and
    `next` are the places of the view's trials on it, None where they lack it."""

    log: bool
    labels: tuple[str, ...] | None
    x: tuple[float, ...]
    mean: tuple[float | None, ...] | None = None
    low: tuple[float | None, ...] | None = None
    high: tuple[float | None, ...] | None = None
    good: tuple[float | None, ...] | None = None
    bad: tuple[float | None, ...] | None = None
    acquisition: tuple[float | None, ...]
    observed: tuple[float | None, ...]
    incumbent: float | None
    next: tuple[float | None, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class SurrogateView:
    """A model with what it learned from. `trial`: the one that it was fitted for; `resource`: the level that the
    values are of, None without levels; `next`: what it chose that has no result yet, the newest first; `left_out`: why
    a parameter has no line."""

    surrogate: str
    acquisition_name: str
    trial: int
    resource: float | None
    observations_used: int
    of: int
    incumbent: TrialRecord
    observed: tuple[tuple[int, float | None], ...]
    next: tuple[TrialRecord, ...]
    lines: Mapping[str, Line]
    left_out: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they are stored."""
        return {
            "surrogate": self.surrogate,
            "acquisition_name": self.acquisition_name,
            "trial": self.trial,
            "resource": self.resource,
            "observations_used": self.observations_used,
            "of": self.of,
            "incumbent": {
                "trial": self.incumbent.number,
                "params": dict(self.incumbent.params),
                "value": self.incumbent_value,
            },
            "observed": {
                "number": [number for number, _ in self.observed],
                "value": [_short(value) for _, value in self.observed],
            },
            "next": [{"trial": trial.number, "params": dict(trial.params)} for trial in self.next],
            "lines": {name: asdict(line) for name, line in self.lines.items()},
            "left_out": dict(self.left_out),
        }

    @property
    def incumbent_value(self) -> float | None:
        """At the view's level."""
        return dict(self.observed).get(self.incumbent.number)


class Model(Protocol):
    """A fitted model, asked along one line: configurations in codes that differ in the parameter `name` alone."""

    def columns(self, name: str, codes: Sequence[dict[str, Any]], places: Floats) -> dict[str, Floats] | None:
        """The columns of `Line` that the model gives; None where it knows nothing of the parameter."""
        ...


class ProcessModel:
    """A Gaussian process."""

    def __init__(self, process: FittedProcess) -> None:
        self._process = process

    def columns(self, name: str, codes: Sequence[dict[str, Any]], places: Floats) -> dict[str, Floats]:
        """Mean, band and log expected improvement."""
        found = self._process.at(codes)
        band = SIGMAS * found.deviation
        return {
            "mean": found.mean,
            "low": found.mean - band,
            "high": found.mean + band,
            "acquisition": found.acquisition,
        }


class Cuts(Protocol):
    """Two densities over parameters that are drawn together, of the good trials and of the rest, along each of them."""

    @property
    def distributions(self) -> Mapping[str, Any]:
        """The parameters, by name."""
        ...

    def along(self, name: str, codes: Sequence[Any]) -> tuple[Floats, Floats]:
        """Their natural logarithms where the parameter `name` has these codes, and the others stay."""
        ...


class DensityModel:
    """TPE: a pair of densities for each group of parameters that are drawn together."""

    def __init__(self, levels: Sequence[Cuts]) -> None:
        self._levels = levels

    def columns(self, name: str, codes: Sequence[dict[str, Any]], places: Floats) -> dict[str, Floats] | None:
        """Both densities along the line, each with the area 1, and the ratio by which TPE chooses."""
        level = next((level for level in self._levels if name in level.distributions), None)
        if level is None:
            return None
        good, bad = level.along(name, [code[name] for code in codes])
        return {
            "good": _with_area_1(good, places),
            "bad": _with_area_1(bad, places),
            "acquisition": np.exp(np.clip(good - bad, -MAX_LOG_RATIO, MAX_LOG_RATIO)),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """What a view is made of, beside the model: `used` are the observations that it was given, in number order."""

    surrogate: str
    trial: int
    resource: float
    used: tuple[tuple[int, float | None], ...]
    of: int
    trials: Mapping[int, TrialRecord]
    incumbent: TrialRecord
    next: tuple[TrialRecord, ...]
    encoding: Encoding
    acquisition_name: str = RATIO


def incumbent(
    used: Sequence[tuple[int, float | None]], trials: Mapping[int, TrialRecord], encoding: Encoding, *, maximize: bool
) -> TrialRecord | None:
    """The trial with the best value that the model was given, of those that its space still allows."""
    sign = -1.0 if maximize else 1.0
    ranked = sorted((sign * value, number) for number, value in used if value is not None)
    found = (trials[number] for _, number in ranked if encoding.encode_whole(trials[number].params) is not None)
    return next(found, None)


def look(scene: Scene, model: Model) -> SurrogateView:
    """The view of a fitted model."""
    observed = _shown(scene.used, scene.incumbent.number)
    lines: dict[str, Line] = {}
    left_out: dict[str, str] = {}
    for name in scene.encoding.space.parameters:
        why = _why_not(name, scene, len(lines))
        line = None if why else _line(name, scene, model, observed)
        if line is None:
            left_out[name] = why or f"no trial that the model learned from has {name}"
        else:
            lines[name] = line
    return SurrogateView(
        surrogate=scene.surrogate,
        acquisition_name=scene.acquisition_name,
        trial=scene.trial,
        resource=None if math.isinf(scene.resource) else scene.resource,
        observations_used=len(scene.used),
        of=scene.of,
        incumbent=scene.incumbent,
        observed=observed,
        next=scene.next,
        lines=lines,
        left_out=left_out,
    )


def _why_not(name: str, scene: Scene, lines: int) -> str:
    """Why the parameter has no line; empty where it may have one."""
    space = scene.encoding.space
    if name not in scene.encoding.distributions:
        return f"{name} has one value only"
    if name not in space.active(scene.incumbent.params):
        return f"{name} is inactive at the incumbent, trial {scene.incumbent.number}"
    if _labelled(space.parameters[name]) and (space.parameters[name].cardinality or 0) > MAX_CATEGORIES:
        return f"{name} has more than {MAX_CATEGORIES} categories"
    return f"the view shows the first {MAX_LINES} parameters" if lines >= MAX_LINES else ""


def _line(name: str, scene: Scene, model: Model, observed: Sequence[tuple[int, float | None]]) -> Line | None:
    encoding = scene.encoding
    parameter = encoding.space.parameters[name]
    marked = [trial.params[name] for trial in (scene.incumbent, *scene.next[:MARKED]) if name in trial.params]
    along = _along(name, encoding, [value for value in marked if parameter.contains(value)])
    codes = _codes(name, along, encoding, scene.incumbent.params)
    columns = model.columns(name, codes, _places(name, along, encoding))
    if columns is None:
        return None
    axis = _Axis(parameter)
    return Line(
        log=parameter.logarithmic,
        labels=axis.labels,
        x=tuple(axis.at(encoding.decode(name, code)) or 0.0 for code in along),
        acquisition=_rounded(columns.pop("acquisition")),
        observed=tuple(axis.of(scene.trials[number], name) for number, _ in observed),
        incumbent=axis.of(scene.incumbent, name),
        next=tuple(axis.of(trial, name) for trial in scene.next),
        **{key: _rounded(column) for key, column in columns.items()},
    )


class _Axis:
    """Where values lie on a chart's axis: at themselves, or at their position among the labels."""

    def __init__(self, parameter: BaseParameter) -> None:
        self._parameter = parameter
        self.labels: tuple[str, ...] | None = None
        if _labelled(parameter):
            self.labels = tuple(v if isinstance(v, str) else json.dumps(v) for v in parameter.grid(1))

    def at(self, value: Any) -> float | None:
        if self.labels is None:
            return float(value)
        if not self._parameter.contains(value):
            return None
        return float(int(self._parameter.to_unit(value) * len(self.labels)))

    def of(self, trial: TrialRecord, name: str) -> float | None:
        value = trial.params.get(name)
        if name not in trial.params or (self.labels is None and not isinstance(value, int | float)):
            return None
        return self.at(value)


def _labelled(parameter: BaseParameter) -> bool:
    """Whether a chart shows its values by name: categories, and what is no number."""
    return isinstance(parameter, Choice) or not parameter.scale.numeric


def _along(name: str, encoding: Encoding, marked: Sequence[Any]) -> list[Any]:
    """Codes of one parameter, ascending: each of few values, else an even spread on its own scale and the `marked`
    values, so that the line goes through the incumbent, and shows the peaks at the proposals."""
    parameter = encoding.space.parameters[name]
    count = parameter.cardinality
    if count is None or count <= max(POINTS, MAX_CATEGORIES if _labelled(parameter) else 0):
        values = parameter.grid(POINTS)
    else:
        values = [parameter.from_unit(k / (POINTS - 1)) for k in range(POINTS)]
    return sorted({encoding.code(name, value) for value in (*values, *marked)})


def _codes(name: str, along: Sequence[Any], encoding: Encoding, params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The configurations of the line, as the model was given them: what a value makes inactive is at its center."""
    base = encoding.encode_whole(params) or {}
    if name not in _parents(encoding.space):
        return [{**base, name: code} for code in along]
    found = []
    for code in along:
        moved = {**params, name: encoding.decode(name, code)}
        active = encoding.space.active(moved)
        whole = encoding.encode_whole({key: value for key, value in moved.items() if key in active})
        found.append({**(whole or base), name: code})
    return found


def _parents(space: SearchSpace) -> set[str]:
    return {parent for parameter in space.parameters.values() for parent in parameter.when or ()}


def _places(name: str, along: Sequence[Any], encoding: Encoding) -> Floats:
    """The codes as places on [0, 1], for areas; NaN where every value is there, and areas are sums."""
    count = encoding.space.parameters[name].cardinality
    if any(isinstance(code, float) for code in along):
        return np.array(along, dtype=np.float64)
    if count is None or len(along) == count:
        return np.full(len(along), np.nan)
    return (np.array(along, dtype=np.float64) + 0.5) / count


def _with_area_1(logarithms: Floats, places: Floats) -> Floats:
    heights = np.exp(logarithms - logarithms.max())
    trapezoids = (heights[1:] + heights[:-1]) * np.diff(places) / 2
    area = heights.sum() if np.isnan(places).any() else trapezoids.sum()
    found: Floats = heights / area if area > 0 else heights
    return found


def _shown(
    used: Sequence[tuple[int, float | None]], best: int, limit: int = MAX_OBSERVED
) -> tuple[tuple[int, float | None], ...]:
    """The observations that are drawn, in number order: an even spread where there are more than `limit`."""
    if len(used) <= limit:
        return tuple(used)
    kept = {used[(2 * i + 1) * len(used) // (2 * limit)][0] for i in range(limit)} | {best}
    return tuple(item for item in used if item[0] in kept)


def _rounded(column: Floats) -> tuple[float | None, ...]:
    return tuple(_short(value) for value in column.tolist())


def _short(value: float | None) -> float | None:
    """Seven digits, as charts need them; None for what is not finite."""
    return float(f"{value:.7g}") if value is not None and math.isfinite(value) else None
