"""The study that confirms another one: its definition and its trials. Pure.

It trains the chosen configurations again, each with several new seeds, as far as the search's best one came and with
the same horizon of learning-rate schedules; it chooses nothing. The data are split as before, for a recipe's
`split_seed` is a parameter and not a trial's seed: what varies is what a seed governs, first weights, order,
augmentation and dropout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpo_service.core import seeds as seeding
from hpo_service.core.algorithm_specs import model_of
from hpo_service.core.confirmation import pairs
from hpo_service.core.definition import FREE_PARALLEL, StudyDefinition, parse

MOST_TRIALS = 1000
SUFFIX = " (confirmed)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A trial of the search and its configuration."""

    trial: int
    params: Mapping[str, Any]


def definition_of(
    original: StudyDefinition,
    *,
    study: str,
    candidates: Sequence[Candidate],
    seeds: int,
    nth: int,
    resource: float | None,
    horizon: float | None,
) -> StudyDefinition:
    """The definition of the `nth` confirmation (from 0) of a study; each has seeds of its own. `resource` is how far
    the search's best trial came, `horizon` that trial's: they count where a scheduler decided how far to train."""
    count = len(candidates) * seeds
    document = original.to_document()
    for name in ("trial_timeout_s", "notes"):
        document.pop(name, None)  # a limit for one segment says nothing of a whole training
    scheduled = original.has_scheduler or not original.resumes
    if not scheduled and original.trial_timeout_s is not None:
        document["trial_timeout_s"] = original.trial_timeout_s
    far = resource if scheduled else getattr(original.algorithm, "max_resource", None)
    sized = {} if original.resumes else {"fidelity": original.fidelity}
    confirms: dict[str, Any] = {"study": study, "trials": [one.trial for one in candidates], "seeds": seeds}
    if scheduled and horizon is not None and far is not None and horizon > far:
        confirms["horizon"] = horizon
    return parse(
        {
            **document,
            "name": original.name[: 200 - len(SUFFIX)] + SUFFIX,
            "algorithm": {"name": "random"} | sized | ({} if far is None else {"max_resource": far}),
            "budget": {"trials": count},
            "parallel": _parallel(original, count),
            "seed": _seed(original.seed, nth),
            "baseline": False,
            "repeats": True,
            "confirms": confirms,
        }
    )


def configurations(candidates: Sequence[Candidate], seeds: int) -> list[Mapping[str, Any]]:
    """The trials' configurations, by trial number."""
    return [candidates[place].params for _, place in pairs(seeds, len(candidates))]


def _seed(study_seed: int, nth: int) -> int:
    state = seeding.sequence(study_seed, nth, int(seeding.Purpose.CONFIRMATION)).generate_state(1, np.uint64)
    return int(state[0]) >> 1


def _parallel(original: StudyDefinition, count: int) -> int:
    """As many at a time as the search had, unless that was for a model's sake; where trials can be lanes, enough for
    all of them to be placed together."""
    if original.trainer.recipe is not None:
        return max(original.parallel, min(FREE_PARALLEL, 2 * count))
    return original.parallel if model_of(original.algorithm) is None else FREE_PARALLEL
