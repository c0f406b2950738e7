"""The search space: named parameters, their conditions, and the combinations that are forbidden.

Here: the frozen `SearchSpace` with validation, draws, grids, the unit-cube encoding, JSON and digests.
Not here: parameter types (`parameters`), the matcher language (`conditions`), samplers.
Behaviour never depends on the order of declaration: arrays go by sorted name.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from search_spaces.conditions import canonical_matcher
from search_spaces.enumeration import count_combinations, walk
from search_spaces.errors import MAX_ERRORS, SpaceError, combine, nearest
from search_spaces.feasible import check_feasible
from search_spaces.parameters import BaseParameter, parse_parameter
from search_spaces.rules import Rules, compile_rules
from search_spaces.scales import FloatArray
from search_spaces.tables import Mask, Table

MAX_PARAMETERS = 1_000
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,127}\Z")
TRIES = 32
BLOCK = 4_096
BLOCKS = 25


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode


def _hash(value: object) -> str:
    return hashlib.sha256(_canonical(value).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """A checked search space. Make it with `from_definition` or `from_json`; treat it as read-only.

    `parameters` maps names to parameters as declared; `forbid` holds the clauses as given; `rules` is
    their compiled form. A configuration (`params`) maps the names of its active parameters to values.
    """

    parameters: Mapping[str, BaseParameter]
    forbid: tuple[Mapping[str, Any], ...]
    rules: Rules

    @classmethod
    def from_definition(cls, parameters: Mapping[str, Any], forbid: Sequence[Any] = ()) -> SearchSpace:
        """Check everything and build the space.

        Values of `parameters` are mappings with a `type`, or parameters made in Python. Raises a
        SpaceError whose `errors` list everything found (up to 20), with paths such as `space.lr.low`
        and `forbid.0.lr`.
        """
        parsed = _parse_parameters(parameters)
        rules = compile_rules(parsed, forbid)
        check_feasible(parsed, rules)
        return cls(parsed, tuple(dict(clause) for clause in forbid), rules)

    @classmethod
    def from_json(cls, text: str | bytes | Mapping[str, Any]) -> SearchSpace:
        """Read what `to_json` (or `to_dict`) wrote."""
        try:
            found = text if isinstance(text, Mapping) else json.loads(text)
        except (ValueError, RecursionError):
            raise SpaceError("a space must be valid JSON", value=text, path="space") from None
        if not isinstance(found, Mapping) or not set(found) <= {"parameters", "forbid"}:
            raise SpaceError("a space must be an object of parameters and forbid", value=found, path="space")
        return cls.from_definition(found.get("parameters", {}), found.get("forbid", ()))

    def to_dict(self) -> dict[str, Any]:
        """`{"parameters": …, "forbid": […]}`, ready for JSON."""
        return {
            "parameters": {name: parameter.to_dict() for name, parameter in self.parameters.items()},
            "forbid": [dict(clause) for clause in self.forbid],
        }

    def to_json(self) -> str:
        """The definition as JSON text; `from_json` reads it back to an equal space."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names, sorted: the order of the columns of `to_unit` and `from_unit`."""
        return tuple(sorted(self.parameters))

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical definition; names the space.

        The order of declaration, notes and the spelling of matchers do not count; defaults do.
        """
        definitions = {name: _digestible(parameter) for name, parameter in self.parameters.items()}
        clauses = [{name: canonical_matcher(matcher) for name, matcher in clause.items()} for clause in self.forbid]
        return _hash({"parameters": definitions, "forbid": sorted(clauses, key=_canonical)})

    def active(self, params: Mapping[str, Any]) -> frozenset[str]:
        """The names of the parameters that are active under these values.

        A parent that is missing or has an illegal value matches nothing.
        """
        coordinates: dict[str, float] = {}
        found: set[str] = set()
        for name in self.rules.order:
            if self.rules.holds(name, coordinates):
                found.add(name)
                parameter = self.parameters[name]
                if name in params and parameter.contains(params[name]):
                    coordinates[name] = parameter.scale.coordinate(parameter.parse(params[name]))
        return frozenset(found)

    def validate_params(self, params: Mapping[str, Any], *, path: str = "params") -> dict[str, Any]:
        """The configuration with its values as plain legal ones, in declared order.

        Raises SpaceError: an unknown name, a missing active or a present inactive parameter, an illegal
        value, a forbidden combination. `errors` holds all of them.
        """
        if not isinstance(params, Mapping):
            raise SpaceError("params must map names to values", value=params, path=path)
        errors = [
            SpaceError(
                "the name must be a parameter of the space",
                value=name,
                path=str(name)[:128],
                remedy=nearest(name, self.parameters),
            )
            for name in [name for name in params if name not in self.parameters][:MAX_ERRORS]
        ]
        values, coordinates = self._take(params, errors)
        if not errors and (number := self.rules.broken(coordinates)) is not None:
            errors.append(self._forbidden(values, number))
        if errors:
            raise combine([error.under(path) for error in errors[:MAX_ERRORS]])
        return self._declared(values)

    def _take(self, params: Mapping[str, Any], errors: list[SpaceError]) -> tuple[dict[str, Any], dict[str, float]]:
        values: dict[str, Any] = {}
        coordinates: dict[str, float] = {}
        for name in self.rules.order:
            active = self.rules.holds(name, coordinates)
            if active and name in params:
                try:
                    values[name] = self.parameters[name].parse(params[name])
                    coordinates[name] = self.parameters[name].scale.coordinate(values[name])
                except SpaceError as error:
                    errors.append(error.under(name))
            elif active:
                errors.append(
                    SpaceError("an active parameter needs a value", got="nothing", path=name, remedy="add it")
                )
            elif name in params:
                errors.append(
                    SpaceError(
                        "an inactive parameter must be left out",
                        value=params[name],
                        path=name,
                        remedy=f"its condition is {_canonical(self.parameters[name].when)}",
                    )
                )
        return values, coordinates

    def _declared(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: values[name] for name in self.parameters if name in values}

    def _forbidden(self, values: Mapping[str, Any], number: int) -> SpaceError:
        names = self.rules.clauses[number].names
        return SpaceError(
            f"the combination must not be one that forbid.{number} names",
            got=", ".join(f"{name}={values[name]!r}" for name in sorted(names)),
            remedy=f"the clause is {json.dumps(self.forbid[number])[:400]}",
        )

    def is_forbidden(self, params: Mapping[str, Any]) -> bool:
        """Whether a clause of `forbid` refuses a configuration (whose values are legal)."""
        return self._broken(params) is not None

    def _broken(self, params: Mapping[str, Any]) -> int | None:
        if not self.rules.clauses:
            return None
        return self.rules.broken(
            {name: self.parameters[name].scale.coordinate(value) for name, value in params.items()}
        )

    def sample(self, rng: np.random.Generator, *, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Draw an allowed configuration (its active parameters).

        Every try takes one number per parameter, by sorted name, whether it is active or not. After 32
        forbidden tries, blocks of 4,096 are drawn at once; SpaceError after 25 of them. `given` are values that
        some parameters have already: the others are drawn as they are distributed beside these.
        """
        known = given or {}
        columns = [k for k, name in enumerate(self.names) if name in known]
        places = [self.parameters[self.names[k]].to_unit(known[self.names[k]]) for k in columns]
        for _ in range(TRIES):
            point = rng.random(len(self.names))
            point[columns] = places
            params = self.from_unit(point)
            if self._broken(params) is None:
                return params
        for _ in range(BLOCKS):
            block = rng.random((BLOCK, len(self.names)))
            block[:, columns] = places
            for row in np.flatnonzero(self.allowed(block)):
                params = self.from_unit(block[row])
                if self._broken(params) is None:
                    return params
        raise SpaceError(
            "forbid must leave enough to draw from",
            got=f"none of {BLOCKS * BLOCK} draws allowed",
            path="forbid",
            remedy="narrow the parameters instead",
        )

    def allowed(self, block: FloatArray) -> Mask:
        """Which of the configurations at points of the unit cube, (n, d), no clause forbids, shape (n,): as
        `is_forbidden` says of one, up to a value's last digits."""
        return self._table(block).allowed(self.rules.clauses)

    def activity(self, block: FloatArray) -> Mask:
        """Which parameters are active in the configurations at points of the unit cube, (n, d), the same shape, columns
        as `names`: as `from_unit` says of one, up to a value's last digits."""
        table, found = self._table(block), np.ones(block.shape, dtype=np.bool_)
        for k, name in enumerate(self.names):
            if name in self.rules.whens:
                found[:, k] = table.active(name)
        return found

    def _table(self, block: FloatArray) -> Table:
        columns = {name: block[:, k] for k, name in enumerate(self.names)}
        return Table(self.rules, len(block), lambda name: self.parameters[name].scale.coordinates(columns[name]))

    @property
    def has_default(self) -> bool:
        """Whether any parameter names a default."""
        return any(parameter.has_default for parameter in self.parameters.values())

    def default_params(self) -> dict[str, Any]:
        """The configuration of the defaults, and of the middles where there is none.

        Raises SpaceError if `forbid` refuses it.
        """
        params = self._build(lambda name: self.parameters[name].center)
        number = self._broken(params)
        if number is not None:
            found = self._forbidden(params, number)
            raise SpaceError(
                f"the configuration of the defaults must not be one that forbid.{number} names",
                got=found.got,
                path=f"forbid.{number}",
                remedy="give one of these parameters another default",
            )
        return params

    def _build(self, choose: Callable[[str], Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        coordinates: dict[str, float] = {}
        for name in self.rules.order:
            if self.rules.holds(name, coordinates):
                values[name] = choose(name)
                if self.rules.whens:
                    coordinates[name] = self.parameters[name].scale.coordinate(values[name])
        return self._declared(values)

    def grid(self, points: int) -> Iterator[dict[str, Any]]:
        """Every allowed combination: all values of discrete parameters, `points` of continuous ones."""
        for values in walk(self.parameters, self.rules, points):
            yield self._declared(values)

    def grid_size(self, points: int, *, limit: int = 1_000_000) -> int:
        """How many configurations `grid` gives, without building it.

        Exact. Parameters tied by conditions or clauses are enumerated, at most `limit` combinations per
        group, else SpaceError; all others are multiplied.
        """
        return count_combinations(self.parameters, self.rules, points, limit=limit)

    @cached_property
    def is_finite(self) -> bool:
        """Whether every parameter is discrete."""
        return all(parameter.cardinality is not None for parameter in self.parameters.values())

    @cached_property
    def cardinality(self) -> int | None:
        """The number of configurations; None if one parameter is continuous.

        Where conditions or clauses tie more than 100,000 combinations: their product, an upper bound.
        """
        if not self.is_finite:
            return None
        try:
            return self.grid_size(1, limit=100_000)
        except SpaceError:
            return math.prod(parameter.cardinality or 1 for parameter in self.parameters.values())

    def to_unit(self, params: Mapping[str, Any]) -> FloatArray:
        """Shape (d,), columns as `names`: places in [0, 1], NaN for parameters that are not in `params`."""
        return np.array(
            [self.parameters[n].to_unit(params[n]) if n in params else math.nan for n in self.names],
            dtype=np.float64,
        )

    def from_unit(self, array: Any) -> dict[str, Any]:
        """The configuration at a point of the unit cube, shape (d,), columns as `names`.

        Columns of inactive parameters are ignored; NaN for an active one raises SpaceError. The
        configuration may be forbidden: see `is_forbidden`.
        """
        u = np.asarray(array, dtype=np.float64)
        if u.shape != (len(self.names),):
            raise SpaceError(f"a point must have shape ({len(self.names)},)", got=f"shape {u.shape}")
        places = dict(zip(self.names, u.tolist(), strict=True))
        return self._build(lambda name: self.parameters[name].from_unit(places[name]))

    def config_key(self, params: Mapping[str, Any]) -> str:
        """Equal for equal configurations, however their values are spelled (64 hex digits)."""
        return _hash(
            {
                name: self.parameters[name].parse(value) if name in self.parameters else value
                for name, value in params.items()
            }
        )


def _digestible(parameter: BaseParameter) -> dict[str, Any]:
    found = parameter.to_dict()
    found.pop("notes", None)
    if parameter.when is not None:
        found["when"] = {parent: canonical_matcher(spec) for parent, spec in parameter.when.items()}
    return found


def _parse_parameters(parameters: object) -> dict[str, BaseParameter]:
    if not isinstance(parameters, Mapping):
        raise SpaceError(
            "space must map names to parameters",
            value=parameters,
            path="space",
            remedy="write {lr: {type: loguniform, low: 1.0e-5, high: 0.1}}",
        )
    if not 1 <= len(parameters) <= MAX_PARAMETERS:
        raise SpaceError(f"a space must have 1 to {MAX_PARAMETERS} parameters", got=f"{len(parameters)}", path="space")
    found: dict[str, BaseParameter] = {}
    errors: list[SpaceError] = []
    for name, definition in parameters.items():
        try:
            if not isinstance(name, str) or not NAME.match(name):
                raise SpaceError(
                    "a name must start with a letter or _ and go on with letters, digits, _, . or -",
                    value=name,
                    remedy="use at most 128 such characters",
                )
            found[name] = parse_parameter(definition)
        except SpaceError as error:
            errors.append(error.under(f"space.{str(name)[:128]}"))
            if len(errors) == MAX_ERRORS:
                break
    if errors:
        raise combine(errors)
    return found
