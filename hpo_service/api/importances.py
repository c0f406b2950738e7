"""The importance of parameters as an answer: at once where that takes milliseconds, else from the background."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo_service.api.background import Background
from hpo_service.views import fanova, importance
from hpo_service.views.columns import Bools, StudyColumns
from hpo_service.views.importance import ForestData

WAIT_S = 0.2
COMPUTING = "Being computed from the newest trials; ask again in a moment."
MISSING = "fanova needs scikit-learn, which is not installed here: pip install 'hpo-service[worker]', or use ped_anova."


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What a forest is grown from, and the answer without its result; `data` is None where there is too little."""

    answer: Mapping[str, Any]
    data: ForestData | None


def quick(columns: StudyColumns, mask: Bools) -> dict[str, Any]:
    """PED-ANOVA, made at once."""
    chosen = importance.choose(columns, mask)
    note = importance.too_few(columns, chosen)
    found = {} if note else importance.by_quantile(columns, chosen)
    answer = importance.answer(columns, "ped_anova", chosen, found, note)
    return {**answer, "matching": int(np.count_nonzero(mask)), "computing": False}


def forest(columns: StudyColumns, mask: Bools) -> Job:
    """What fANOVA needs, copied from the columns; hold their lock."""
    chosen = importance.spread(importance.choose(columns, mask), importance.FOREST_TRIALS)
    note = importance.too_few(columns, chosen)
    answer = importance.answer(columns, "fanova", chosen, None, note)
    common = {"seq": columns.seq, "matching": int(np.count_nonzero(mask)), "computing": False}
    return Job(answer={**answer, **common}, data=None if note else importance.forest_data(columns, chosen))


def forest_answer(background: Background, key: Hashable, job: Job) -> Mapping[str, Any]:
    """The answer with its forest's result, or the last one's while that is being made."""
    data = job.data
    if data is None:
        return job.answer
    try:
        result = background.get(key, data.digest, lambda: (data.importances(), data.losses.size), wait_s=WAIT_S)
    except fanova.Missing:
        return {**job.answer, "note": MISSING}
    if result is None:
        return {**job.answer, "note": COMPUTING, "computing": True}
    shares, used = result.made
    made = importance.with_shares(job.answer, shares, used)
    return made if result.fresh else {**made, "note": COMPUTING, "computing": True}
