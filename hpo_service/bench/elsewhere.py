"""What searches on the other problems of a collection found: past studies for methods that begin from such (`auto`).

Leave one out: a problem is never told of itself. The past searches are a Gaussian process's over whole trainings, 32 of
them, with a seed that no measured run has. They are made where they are needed, in seconds, and once per process. Not
here: what a method makes of them.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hpo_service.bench import ours
from hpo_service.bench.laboratory import laboratory
from hpo_service.bench.problems.base import Found, Problem
from hpo_service.bench.runs import Recorder, own_seed
from hpo_service.store import reading

VARIANT = "portfolio"
"""How runs that begin from past studies are told from those that do not."""
METHODS = frozenset({"auto"})
"""Which begin from past studies; all others would only be run again."""
BY: dict[str, Any] = {"name": "bayesian", "surrogate": "gp"}
FTE = 32.0
SEED = 1_000_000


def beginning(problem: Problem, all_problems: Sequence[Problem]) -> Problem:
    """The problem with what is known of the others of its collection."""
    others = [one for one in all_problems if one.collection == problem.collection and one.name != problem.name]
    found = tuple(_found(_Named(one)) for one in others)
    known_as = identity(problem, all_problems)
    return replace(problem, variant=VARIANT, elsewhere=found, identity=known_as, _known={})


def identity(problem: Problem, all_problems: Sequence[Problem]) -> str:
    """What tells `beginning` from that of others of the same name: what is known of the others counts, too."""
    if not problem.identity:
        return ""
    others = sorted(f"{one.title} {one.identity}" for one in all_problems if one.title != problem.title)
    return hashlib.sha256("\n".join([problem.identity, *others]).encode()).hexdigest()[:16]


class _Named:
    """A problem that is known by its title."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Named) and other.problem.title == self.problem.title

    def __hash__(self) -> int:
        return hash(self.problem.title)


@functools.cache
def _found(named: _Named) -> Found:
    problem = named.problem
    algorithm = {**BY, "max_resource": problem.max_resource}
    study = ours.definition(problem, algorithm, seed=own_seed(problem, SEED), workers=1, budget=FTE)
    with laboratory() as place:
        row = place.run(problem, study, Recorder(problem.maximize), workers=1, budget=FTE)
        trials = list(reading.iter_trials(place.db, row.id))
    return Found(
        title=problem.title,
        maximize=problem.maximize,
        trials=tuple((dict(one.params), one.value, one.resource) for one in trials if one.resource > 0),
    )
