"""Which proposals form a launch: alike in structure, and with as far to go."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_service import algorithms
from hpo_service.core import events as ev
from hpo_service.core.filling import Vacancy
from hpo_service.core.launches import Methods
from hpo_service.core.proposals import Continue, Start
from tests.conformance.driver import Driver, Nature
from tests.unit.core.test_fold import WIDE, study

ASHA = {"name": "asha", "min_resource": 1, "max_resource": 9, "eta": 3}
FUSED = ev.MethodsChosen(
    lanes=("lr",),
    choices=(ev.MethodChoice(structure={}, method="fused", width=8, device="cpu", reason="set", source="set"),),
)


@pytest.mark.parametrize(
    ("budget", "together"),
    [({"trials": 300}, 128), ({"hours": 1.0}, 8), ({"dollars": 5.0}, 8), ({"trials": 300, "target": 0.1}, 8)],
)
def test_what_may_end_at_any_moment_opens_one_launch_at_a_time(budget: dict[str, Any], together: int) -> None:
    played = Driver(study({"name": "random", "max_resource": 9}, space=WIDE, budget=budget), Nature(horizon=9), seed=1)
    played.algorithm.state.methods.take(FUSED)
    assert len(played.algorithm.propose(1, most=256)) == together


def lengths(played: Driver, groups: Any, proposals: Any) -> list[set[float]]:
    begins = {p.trial: 0.0 if isinstance(p, Start) else played.algorithm.history[p.trial].resource for p in proposals}
    targets = {p.trial: p.target for p in proposals if isinstance(p, Start | Continue)}
    return [{targets[t] - begins[t] for t in group.trials} for group in groups]


def test_trials_that_share_a_launch_have_as_far_to_go() -> None:
    played = Driver(study(ASHA, space=WIDE, budget={"trials": 40}), Nature(horizon=9), workers=9, seed=1)
    played.algorithm.state.methods.take(FUSED)
    mixed = 0
    for _ in range(200):
        proposals = [p for p in played.algorithm.propose(12) if isinstance(p, Start | Continue)]
        groups = played.algorithm.groups(proposals)
        assert sorted(t for group in groups for t in group.trials) == sorted(p.trial for p in proposals)
        found = lengths(played, groups, proposals)
        assert all(len(each) == 1 for each in found)
        mixed += len({length for each in found for length in each}) > 1
        if not played.step():
            break
    assert mixed, "promotions and new trials were proposed together"


def plain_block(space: dict[str, Any], *structures: dict[str, Any]) -> int | None:
    fold = algorithms.fold(study({"name": "random", "max_resource": 9}, space={**WIDE, **space}, parallel=32))
    choices = tuple(
        ev.MethodChoice(structure=s, method="plain", width=1, device="cpu", reason="", source="set") for s in structures
    )
    fold.state.methods.take(ev.MethodsChosen(lanes=tuple(WIDE), choices=choices))
    return fold.state.block


def test_where_nothing_can_be_fused_trials_are_placed_one_by_one() -> None:
    kind = {"kind": {"type": "choice", "values": ["a", "b"]}}
    assert plain_block({}, {}) is None
    assert plain_block(kind, {"kind": "a"}) == 16, "b may be fused yet"
    assert plain_block(kind, {"kind": "a"}, {"kind": "b"}) is None
    depth = {"depth": {"type": "integer", "low": 1, "high": 2, "when": {"kind": "a"}}}
    assert plain_block({**kind, **depth}, {"kind": "b"}, {"kind": "a", "depth": 1}) == 16


def test_without_lanes_equal_configurations_wait_for_no_measurement() -> None:
    groups = Methods().group([(0, {"a": 1}), (1, {"a": 1}), (2, {"a": 2})])
    assert [(group.trials, group.method) for group in groups] == [((0,), "plain"), ((1,), "plain"), ((2,), "plain")]


@pytest.mark.parametrize(
    ("spec", "more", "fills"),
    [
        (ASHA, {}, True),
        ({"name": "bayesian", "max_resource": 9, "startup_trials": 40}, {}, True),
        ({"name": "random", "max_resource": 9}, {}, False),
        ({"name": "hyperband", "max_resource": 9}, {}, False),
        (ASHA, {"deterministic": True}, False),
    ],
)
def test_only_who_decides_as_results_come_in_fills_lanes(
    spec: dict[str, Any], more: dict[str, Any], fills: bool
) -> None:
    fold = algorithms.fold(study(spec, space=WIDE, budget={"trials": 40}, **more))
    fold.state.methods.take(FUSED)
    choice = FUSED.choices[0]
    vacancy = Vacancy(launch="a", width=choice.width, lanes=(1,), left=99.0, params=dict(choice.structure))
    proposals = fold.propose(8, most=40)
    assert proposals
    seats = fold.seats(proposals, [vacancy], alone=True)
    assert bool(seats) is fills
    if fills:
        first = next(p for p in proposals if isinstance(p, Start))
        assert {trial: (seat.launch, seat.lane) for trial, seat in seats.items()} == {first.trial: ("a", 1)}
