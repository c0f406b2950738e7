"""What a model learns from, as arrays. No model is here, and no Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Trials in number order: `codes` (trials, parameters), NaN where a trial lacks one; `values` (trials,), NaN of
    those that are on their way."""

    codes: Floats
    values: Floats
    maximize: bool

    @cached_property
    def running(self) -> npt.NDArray[np.bool_]:
        """Which trials have no value yet."""
        return np.isnan(self.values)

    @cached_property
    def ranked(self) -> Integers:
        """The rows that have a value, best first; ties go to the earlier one."""
        known = np.flatnonzero(~self.running)
        return known[np.argsort(-self.values[known] if self.maximize else self.values[known], kind="stable")]

    def with_running(self, rows: Sequence[Floats]) -> Evidence:
        """The same with more trials that are on their way, which come last: a row each."""
        if not rows:
            return self
        codes = np.concatenate([self.codes, np.stack(rows)])
        values = np.concatenate([self.values, np.full(len(rows), np.nan)])
        return Evidence(codes=codes, values=values, maximize=self.maximize)
