"""Conditions and forbidden combinations evaluated for many configurations at once, on arrays.

Here: one table of configurations, its columns computed when they are first asked for. Not here: what
the rules mean (`rules`), which configurations are looked at (`feasible`, `space`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from search_spaces.conditions import Reference, Test
from search_spaces.rules import Clause, Rules
from search_spaces.scales import FloatArray

Mask = npt.NDArray[np.bool_]


class Table:
    """Some configurations as columns of coordinates; `column(name)` gives one, shape (rows,)."""

    def __init__(self, rules: Rules, rows: int, column: Callable[[str], FloatArray]) -> None:
        self._rules = rules
        self._rows = rows
        self._make = column
        self._columns: dict[str, FloatArray] = {}
        self._active: dict[str, Any] = {}

    def hit(self, clause: Clause) -> Mask:
        """The rows that the clause forbids, shape (rows,)."""
        found: Any = np.ones(self._rows, dtype=np.bool_)
        for name, tests in clause.matchers:
            found = found & self._matches(name, tests)
        for name in clause.names:
            if name in self._rules.whens:
                found = found & self.active(name)
        mask: Mask = found
        return mask

    def allowed(self, clauses: Sequence[Clause]) -> Mask:
        """The rows that none of the clauses forbids, shape (rows,)."""
        left = np.ones(self._rows, dtype=np.bool_)
        for clause in clauses:
            left &= ~self.hit(clause)
            if not left.any():
                break
        return left

    def _column(self, name: str) -> FloatArray:
        if name not in self._columns:
            self._columns[name] = self._make(name)
        return self._columns[name]

    def _matches(self, name: str, tests: tuple[Test, ...]) -> Any:
        found: Any = np.True_
        for test in tests:
            other = self._column(test.operand.name) if isinstance(test.operand, Reference) else None
            found = found & test.holds(self._column(name), other)
        return found

    def active(self, name: str) -> Any:
        """Where a conditional parameter is active, shape (rows,); walks up to its parents without recursion."""
        whens = self._rules.whens
        todo = [name]
        while todo:
            top = todo[-1]
            missing = [p for p, _ in whens[top] if p in whens and p not in self._active]
            if missing and top not in self._active:
                todo.extend(missing)
                continue
            todo.pop()
            if top not in self._active:
                found: Any = np.True_
                for parent, tests in whens[top]:
                    found = found & self._active.get(parent, np.True_) & self._matches(parent, tests)
                self._active[top] = found
        return self._active[name]
