"""The benchmark of feeding: its functions have the least value 0, and its searches part where the rule begins."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import feeding
from hpo_service.core.definition import parse

BEST = {
    "Hartmann, 6 dimensions": dict(
        zip((f"x{i}" for i in range(6)), (0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573), strict=True)
    ),
    "Rosenbrock, 4 dimensions": {f"x{i}": 1.0 for i in range(4)},
    "Ackley, 8 dimensions": {f"x{i}": 0.0 for i in range(8)},
    "conditional and categorical": {"family": "branin", "kind": "b", "depth": 7, "bx": np.pi, "by": 2.275},
}


@pytest.mark.parametrize("problem", feeding.PROBLEMS, ids=lambda problem: problem.name)
def test_the_least_value_is_0(problem: feeding.Problem) -> None:
    assert problem.value(BEST[problem.name]) == pytest.approx(0, abs=1e-6)
    space = parse(feeding.definition({"name": "random"}, space=problem.space)).search_space
    rng = np.random.default_rng(0)
    assert all(problem.value(space.sample(rng)) > 0 for _ in range(2_000))


def test_searches_part_where_the_rule_begins() -> None:
    problem = feeding.PROBLEMS[1]
    same = feeding._search(problem, feeding.Plan(limit=30, trials=31, seeds=1), seed=4)
    assert same.ruled == same.full, "the first trial after 30 results is fed all of them in both"
    apart = feeding._search(problem, feeding.Plan(limit=30, trials=60, seeds=1), seed=4)
    assert apart.parted == same.parted
    assert apart.ruled_typical != apart.full_typical
    assert max(apart.ruled, apart.full) <= apart.parted
