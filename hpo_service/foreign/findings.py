"""What reading a foreign document finds: notes of what is not carried, and what makes it impossible. Nothing is silent.

Not here: any tool's vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hpo_service.errors import FieldProblem, InvalidInput
from search_spaces import SpaceError
from search_spaces.errors import nearest


@dataclass
class Findings:
    """Collects notes and problems while a document is read."""

    notes: list[str] = field(default_factory=list)
    problems: list[FieldProblem] = field(default_factory=list)

    def note(self, path: str, text: str) -> None:
        """Something that is not carried, or carried in another way."""
        self.notes.append(f"{path}: {text}")

    def refuse(self, path: str, rule: str, *, value: Any = None, remedy: str = "") -> None:
        """Something that cannot be carried at all."""
        self.problems.append(FieldProblem(path=path, rule=rule, value=value, remedy=remedy))

    @contextmanager
    def at(self, path: str) -> Iterator[None]:
        """What is wrong with a parameter that is made inside is told at the path."""
        try:
            yield
        except SpaceError as error:
            for one in error.errors:
                where = ".".join(part for part in (path, one.path) if part)
                self.refuse(where, one.rule, value=one.value, remedy=one.remedy)
        except ArithmeticError:
            self.refuse(path, "its bounds must be numbers that can be computed with", remedy="choose smaller ones")

    def known(self, path: str, mapping: Mapping[str, Any], names: set[str], *, carried: str = "") -> None:
        """Refuses unknown keys; with `carried` they are noted instead, with that reason."""
        for name in mapping:
            if name not in names and carried:
                self.note(f"{path}.{name}" if path else str(name), carried)
            elif name not in names:
                where = f"{path}.{name}" if path else str(name)
                self.refuse(where[:200], "unknown key", value=name, remedy=nearest(name, sorted(names)))

    def check(self) -> None:
        """Raises InvalidInput where something cannot be carried."""
        if self.problems:
            raise InvalidInput.of(*self.problems[:50])


def mapping_at(findings: Findings, path: str, value: Any) -> dict[str, Any]:
    """The value, if it is a mapping; else refused, and empty."""
    if isinstance(value, Mapping):
        return {str(key): one for key, one in value.items()}
    findings.refuse(path, "it must be a mapping", value=value, remedy="write name: value")
    return {}


def number_of(value: Any) -> float | None:
    """The finite number that a value is or spells; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if number - number == 0 else None


def whole_of(value: Any) -> int | None:
    """The whole number that a value is or spells; None where it is none."""
    number = number_of(value)
    return int(number) if number is not None and number == int(number) else None
