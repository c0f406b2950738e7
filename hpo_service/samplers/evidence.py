"""What a model learns from, as arrays. No model is here, and no Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from hpo_service.samplers.judged import Judged

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Trials in number order: `codes` (trials, parameters), NaN where a trial lacks one; `values` (trials,), NaN of
    those that are on their way. `judged`: the same rows, where there are several objectives or constraints."""

    codes: Floats
    values: Floats
    maximize: bool
    judged: Judged | None = None

    @cached_property
    def running(self) -> npt.NDArray[np.bool_]:
        """Which trials have no value yet."""
        return np.isnan(self.values)

    @property
    def several(self) -> bool:
        """Whether there is more than one objective."""
        return self.judged is not None and self.judged.losses.shape[1] > 1

    @cached_property
    def ranked(self) -> Integers:
        """The rows that have a value, best first; ties go to the earlier one."""
        known = np.flatnonzero(~self.running)
        return known[np.argsort(-self.values[known] if self.maximize else self.values[known], kind="stable")]

    def good(self, count: int) -> npt.NDArray[np.bool_]:
        """The best so many of the trials that have a value."""
        found = np.zeros(len(self.values), dtype=np.bool_)
        if self.judged is None:
            found[self.ranked[:count]] = True
        else:
            judged = self.judged.good(count)
            found[: len(judged)] = judged  # what is on its way came last
        return found

    def with_running(self, rows: Sequence[Floats]) -> Evidence:
        """The same with more trials that are on their way, which come last: a row each."""
        if not rows:
            return self
        codes = np.concatenate([self.codes, np.stack(rows)])
        values = np.concatenate([self.values, np.full(len(rows), np.nan)])
        return Evidence(codes=codes, values=values, maximize=self.maximize, judged=self.judged)
