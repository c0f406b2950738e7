"""What a conversion may give up when it is told to, and how it refuses where it is not.

Here: the names of what may be dropped, and the errors. Not here: any tool.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from search_spaces.errors import SpaceError
from search_spaces.parameters import BaseParameter, Integer, Ordinal, PowerOfTwo, QUniform
from search_spaces.space import SearchSpace

DROPPABLE = {
    "default": "the default",
    "conditions": "the condition: the parameter is always there",
    "forbid": "the forbidden combinations",
    "order": "the order of its values: they become a plain choice",
}
MAX_LISTED = 10_000


def check_drop(drop: Collection[str]) -> frozenset[str]:
    """The names of what may be given up; raises SpaceError for an unknown one."""
    for name in [drop] if isinstance(drop, str) else drop:
        if name not in DROPPABLE:
            raise SpaceError(f"drop names some of {', '.join(DROPPABLE)}", value=name)
    return frozenset([drop] if isinstance(drop, str) else drop)


def refuse_extras(space: SearchSpace, tool: str, drop: frozenset[str], *, knows: Collection[str] = ()) -> None:
    """Raises SpaceError for defaults, conditions and forbidden combinations of a tool that has none, unless dropped."""
    given_up = drop | set(knows)
    if space.forbid and "forbid" not in given_up:
        raise SpaceError(
            f"{tool} has no forbidden combinations",
            got=f"{len(space.forbid)}",
            path="forbid",
            remedy='give them up with drop=("forbid",)',
        )
    for name, parameter in space.parameters.items():
        if parameter.when is not None and "conditions" not in given_up:
            raise SpaceError(
                f"{tool} has no conditions",
                value=parameter.when,
                path=f"space.{name}.when",
                remedy='give it up with drop=("conditions",)',
            )
        if parameter.has_default and "default" not in given_up:
            raise SpaceError(
                f"{tool} has no defaults",
                value=parameter.default,
                path=f"space.{name}.default",
                remedy='remove it, or give it up with drop=("default",)',
            )


def impossible(parameter: BaseParameter, tool: str, remedy: str) -> SpaceError:
    """The error for a type that the tool lacks."""
    return SpaceError(f"{tool} has nothing like {parameter.type}", got=_text(parameter), path="type", remedy=remedy)  # type: ignore[attr-defined]  # every subclass has it


def listed(parameter: BaseParameter, tool: str, drop: frozenset[str]) -> list[Any]:
    """The values of an ordered discrete parameter for a tool that has plain choices alone."""
    if not isinstance(parameter, PowerOfTwo | Ordinal | Integer | QUniform):
        raise impossible(parameter, tool, "use a uniform, loguniform, integer, log_integer or choice")
    if "order" not in drop:
        raise impossible(parameter, tool, 'make it a choice with drop=("order",)')
    return values_of(parameter, tool)


def values_of(parameter: BaseParameter, tool: str) -> list[Any]:
    """Every value; raises SpaceError where there are too many to list."""
    if (parameter.cardinality or 0) > MAX_LISTED:
        raise impossible(parameter, tool, f"raise step, so that it has at most {MAX_LISTED} values")
    return parameter.grid(1)


def _text(parameter: BaseParameter) -> str:
    written = parameter.to_dict()
    return ", ".join(f"{name}={value!r}" for name, value in written.items() if name in (*parameter.positional, "step"))


@contextmanager
def at(name: str) -> Iterator[None]:
    """Errors inside tell the parameter; those that the tool itself raises become ours."""
    try:
        yield
    except SpaceError as error:
        raise error.under(f"space.{name}") from None
    except (ValueError, TypeError, ArithmeticError) as error:
        rule = f"the other tool must take this parameter, but says: {error}"
        raise SpaceError(rule, got="a refusal", path=f"space.{name}", remedy="change it") from error
