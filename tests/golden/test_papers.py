"""The papers' own examples, run as whole studies: which trial is trained how far, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from hpo_service.core.definition import parse
from hpo_service.core.events import Decided
from hpo_service.core.proposals import Continue, Start
from tests.conformance.driver import Driver, Nature


def study(algorithm: dict[str, Any], *, horizon: float, losses: Any = None, workers: int = 1, **budget: Any) -> Driver:
    document = {
        "objective": {"metric": "loss"},
        "space": {"x": {"type": "uniform", "low": 0, "high": 1}},
        "algorithm": algorithm,
        "trainer": {"function": "training:train"},
        "budget": budget,
    }
    return Driver(parse(document), Nature(seed=1, horizon=horizon, losses=losses), workers=workers, seed=2).run()


def rungs(driver: Driver) -> dict[int, list[tuple[int, float]]]:
    """Of each bracket, how many trials came to which level."""
    found: dict[int, list[tuple[int, float]]] = {}
    for view in driver.algorithm.rungs():
        found.setdefault(view.bracket, []).append((len(view.entered), view.resource))
    return found


def jobs(driver: Driver) -> list[tuple[int, float]]:
    """Trial and target of every segment, in the order in which they were given out."""
    return [
        (proposal.trial, proposal.target)
        for event in driver.log
        if isinstance(event.payload, Decided)
        for proposal in event.payload.proposals
        if isinstance(proposal, Start | Continue)
    ]


LI_ET_AL = {  # Hyperband, Algorithm 1 with R = 81, eta = 3: n = ceil(5/(s + 1)·3^s), n_i = floor(n·3^-i)
    0: [(81, 1), (27, 3), (9, 9), (3, 27), (1, 81)],
    1: [(34, 3), (11, 9), (3, 27), (1, 81)],
    2: [(15, 9), (5, 27), (1, 81)],
    3: [(8, 27), (2, 81)],
    4: [(5, 81)],
}


@pytest.mark.parametrize("name", ["hyperband", "bohb"])
@pytest.mark.parametrize("workers", [1, 9])
def test_a_round_of_hyperband_and_of_bohb_for_81_and_3(name: str, workers: int) -> None:
    """BOHB's Algorithm 1 is Hyperband's; HpBandSter rounds (s_max + 1)/(s + 1) down first, to 81, 27, 9, 6 and 5."""
    driver = study({"name": name, "max_resource": 81}, horizon=81, workers=workers, trials=143)
    assert rungs(driver) == LI_ET_AL


def test_a_round_of_dehb_for_81_and_3() -> None:
    """The same places, but only the first bracket is promoted in: 81 + 49 + 21 + 10 + 5 trials."""
    driver = study({"name": "dehb", "max_resource": 81}, horizon=81, trials=81 + 49 + 21 + 10 + 5)
    assert rungs(driver) == LI_ET_AL
    starts = Counter((row.bracket, row.segments[0]) for row in driver.rows.values())
    assert starts == {(0, 1): 81} | {
        (bracket, level): count for bracket, found in LI_ET_AL.items() if bracket for count, level in found
    }


@pytest.mark.parametrize(
    ("lowest", "expected"),
    [(1, [(9, 1), (3, 3), (1, 9)]), (3, [(9, 3), (3, 9)]), (9, [(9, 9)])],
    ids=["s=0", "s=1", "s=2"],
)
def test_successive_halving_with_nine_configurations(lowest: int, expected: list[tuple[int, float]]) -> None:
    """Li et al. 2020 (ASHA), figure 1: n = 9, r = 1, R = 9, eta = 3 and early-stopping rates 0, 1 and 2."""
    spec = {"name": "successive_halving", "trials": 9, "min_resource": lowest, "max_resource": 9}
    assert rungs(study(spec, horizon=9))[0] == expected


def ranked(order: Sequence[int]) -> Any:
    """Losses by which the trials have this order, at every level."""
    return lambda number, resource: order.index(number) / 10


def test_asha_promotes_where_successive_halving_waits() -> None:
    """Li et al. 2020, Algorithm 2, with one worker and the configurations of figure 2: of nine, the eighth is the best,
    then the sixth, then the first (7, 5 and 0 here). Synchronous halving trains all nine before it promotes any."""
    losses = ranked([7, 5, 0, 1, 2, 3, 4, 6, 8])
    waits = study({"name": "successive_halving", "trials": 9, "max_resource": 9}, horizon=9, losses=losses)
    assert jobs(waits) == [*[(n, 1) for n in range(9)], (7, 3), (5, 3), (0, 3), (7, 9)]
    goes_on = study({"name": "asha", "max_resource": 9}, horizon=9, losses=losses, trials=9)
    assert jobs(goes_on) == [
        (0, 1), (1, 1), (2, 1), (0, 3),  # three in rung 0: one third of them is one
        (3, 1), (4, 1), (5, 1), (5, 3),  # six: the best two are 5 and 0, and 0 was promoted
        (6, 1), (7, 1), (7, 3), (7, 9),  # eight: the best two are 7 and 5; and of three in rung 1, 7 is the best
        (8, 1),
    ]  # fmt: skip


def test_asha_is_wrong_where_the_first_ones_are_bad_and_says_so_by_training_more() -> None:
    """The regret of not waiting: with the best last, asha promotes trials that halving would not have."""
    losses = ranked([8, 7, 6, 5, 4, 3, 2, 1, 0])
    waits = study({"name": "successive_halving", "trials": 9, "max_resource": 9}, horizon=9, losses=losses)
    goes_on = study({"name": "asha", "max_resource": 9}, horizon=9, losses=losses, trials=9)
    assert {n for n, level in jobs(waits) if level == 3} == {6, 7, 8}
    assert {n for n, level in jobs(goes_on) if level == 3} > {6, 7, 8}
    assert {n for n, level in jobs(goes_on) if level == 9} >= {8}
