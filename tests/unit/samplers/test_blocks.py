"""Blocks of trials: they agree in what they share, and every trial is distributed as it is declared."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hpo_service import algorithms
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.proposals import Start
from hpo_service.samplers import independent
from tests.conformance.driver import Driver, Nature

SPACE: dict[str, Any] = {
    "lr": {"type": "loguniform", "low": 1e-4, "high": 1.0},
    "batch_size": {"type": "power_of_two", "low": 16, "high": 256},
    "optimizer": {"type": "choice", "values": ["sgd", "adam"]},
    "momentum": {"type": "uniform", "low": 0.5, "high": 0.99, "when": {"optimizer": "sgd"}},
    "layers": {"type": "integer", "low": 1, "high": 3},
    "width": {"type": "integer", "low": 8, "high": 64, "when": {"layers": {">": 1}}},
    "dropout": {"type": "quniform", "low": 0.0, "high": 0.5, "step": 0.1},
}
FORBID = [
    {"batch_size": {">": 64}, "lr": {"<": 0.05}},  # between what is shared and what is not: most small lr go
    {"layers": 3, "optimizer": "adam"},
    {"layers": 2, "dropout": {">": 0.15}},
]
SHARED = ["batch_size", "optimizer", "layers", "width"]


def study(size: int, **more: Any) -> StudyDefinition:
    document = {
        "objective": {"metric": "loss"},
        "space": SPACE,
        "forbid": FORBID,
        "algorithm": {"name": "random", "max_resource": 1, "block": size, "block_on": SHARED},
        "trainer": {"function": "t:train"},
        "budget": {"trials": 100_000},
    }
    return parse({**document, **more})


def plain(definition: StudyDefinition) -> StudyDefinition:
    algorithm = {**definition.algorithm.model_dump(exclude_none=True), "block": 1}
    algorithm.pop("block_on", None)
    return parse({**definition.to_document(), "algorithm": algorithm})


def draws(definition: StudyDefinition, count: int) -> list[dict[str, Any]]:
    algorithms.check(definition)
    found = algorithms.build(definition).propose(count)
    return [dict(proposal.params) for proposal in found if isinstance(proposal, Start)]


def share(params: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(params.get(name) for name in SHARED)


def heads(size: int, blocks: int, seed: int, place: int) -> Iterator[dict[str, Any]]:
    """The trial at one place of many blocks: independent of each other, for every block draws for itself."""
    return iter(draws(study(size, seed=seed), size * blocks)[place::size])


@settings(max_examples=30, deadline=None)
@given(size=st.integers(2, 40), seed=st.integers(0, 2**31), count=st.integers(1, 90))
def test_the_trials_of_a_block_agree_in_what_they_share_and_differ_in_the_rest(
    size: int, seed: int, count: int
) -> None:
    definition = study(size, seed=seed)
    found = draws(definition, count)
    for first in range(0, count, size):
        block = found[first : first + size]
        assert len({share(params) for params in block}) == 1
        assert len({params["lr"] for params in block}) == len(block)
    for params in found:
        assert definition.search_space.validate_params(params) == params
    shares = [share(found[first]) for first in range(0, count, size)]
    assert len(shares) < 8 or len(set(shares)) > 1, "every block draws for itself"


@pytest.mark.parametrize("place", [0, 3])
def test_every_place_of_a_block_has_the_declared_distribution(place: int) -> None:
    """Against plain draws of another seed: no test of either sort may see a difference at 1 in 1,000, of some ten."""
    blocks = 3_000
    ours = list(heads(4, blocks, seed=11, place=place))
    theirs = draws(plain(study(4, seed=97)), blocks)
    for name in ("lr", "momentum"):
        columns = [[params[name] for params in found if name in params] for found in (ours, theirs)]
        assert stats.ks_2samp(*columns).pvalue > 1e-3, name
    for names in (("batch_size",), ("optimizer",), ("layers",), ("dropout",), ("layers", "dropout", "optimizer")):
        counts = [Counter(tuple(params[name] for name in names) for params in found) for found in (ours, theirs)]
        cells = sorted(set(counts[0]) | set(counts[1]), key=str)
        table = np.array([[count[cell] for cell in cells] for count in counts])
        assert stats.chi2_contingency(table).pvalue > 1e-3, names
    small = [[params["lr"] for params in found if params["batch_size"] == 64] for found in (ours, theirs)]
    assert stats.ks_2samp(*small).pvalue > 1e-3, "lr beside what is shared"


def test_a_draw_hangs_on_seed_and_number_alone() -> None:
    definition = study(8, budget={"trials": 60})
    at_once = draws(definition, 60)
    for workers in (1, 7):
        driver = Driver(definition, Nature(horizon=1), workers=workers, seed=workers, check_every=25).run()
        assert [dict(driver.rows[number].params) for number in range(60)] == at_once
    assert draws(study(8, seed=1), 8) != at_once[:8]


def test_blocks_of_one_are_no_blocks() -> None:
    definition = study(8)
    document = definition.to_document()
    document["algorithm"] = {"name": "random", "max_resource": 1, "block": 1}
    without = {**document, "algorithm": {"name": "random", "max_resource": 1}}
    assert draws(parse(document), 20) == draws(parse(without), 20)


@pytest.mark.parametrize(
    "algorithm",
    [
        {"name": "successive_halving", "trials": 27, "max_resource": 9},
        {"name": "hyperband", "max_resource": 9},
        {"name": "asha", "max_resource": 9},
        {"name": "median", "max_resource": 9},
    ],
    ids=lambda a: a["name"],
)
def test_schedulers_draw_in_blocks_too(algorithm: dict[str, Any]) -> None:
    definition = study(9, algorithm={**algorithm, "block": 9, "block_on": SHARED}, budget={"trials": 27})
    driver = Driver(definition, Nature(horizon=9), workers=5, seed=3).run()
    for first in (0, 9, 18):
        assert len({share(dict(driver.rows[number].params)) for number in range(first, first + 9)}) == 1
    assert "in the block of trials 9 to 17" in driver.rows[9].reasons[0]


def test_a_small_space_is_drawn_to_its_last_configuration_share_by_share() -> None:
    space = {
        "batch_size": {"type": "power_of_two", "low": 16, "high": 128},
        "momentum": {"type": "choice", "values": [0.0, 0.5, 0.9]},
    }
    algorithm = {"name": "random", "max_resource": 1, "block": 6, "block_on": ["batch_size"]}
    definition = study(6, space=space, forbid=[], algorithm=algorithm, budget={"trials": 50})
    driver = Driver(definition, Nature(horizon=1), workers=3, check_every=20).run()
    found = [(row.params["batch_size"], row.params["momentum"]) for row in driver.rows.values()]
    assert len(found) == len(set(found)) == 12
    assert len({size for size, _ in found[:6]}) == 2, "a block of six fills two shares of three"


def test_what_hardly_allows_anything_beside_it_does_not_hold_up_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search_spaces.space.BLOCKS", 0)
    monkeypatch.setattr("search_spaces.space.TRIES", 3)
    space = {name: {"type": "uniform", "low": 0, "high": 1} for name in ("x", "y")}
    forbid = [{"x": {"<": 0.9}, "y": {">": 0.4}}]
    algorithm = {"name": "random", "max_resource": 1, "block": 30, "block_on": ["x"]}
    definition = study(30, space=space, forbid=forbid, algorithm=algorithm, seed=2)
    sampler = algorithms.fold(definition)._sampler
    monkeypatch.setattr(type(sampler), "_share", lambda self, space, block, which: {"x": 0.1})
    found = draws(definition, 20)
    assert all(not definition.search_space.is_forbidden(params) for params in found)
    assert any(params["x"] != 0.1 for params in found)


def test_shares_are_kept_for_the_newest_blocks_only() -> None:
    definition = study(2)
    fold = algorithms.fold(definition)
    fold.propose(4 * independent.KEPT)
    assert len(fold._sampler._shares) == independent.KEPT
    starts = [proposal for proposal in fold.propose(2) if isinstance(proposal, Start)]
    assert share(dict(starts[0].params)) == share(dict(starts[1].params))


def test_by_default_a_block_of_a_recipe_shares_all_that_is_no_lane() -> None:
    document = {
        "objective": {"metric": "val_loss"},
        "space": {
            "lr": {"type": "loguniform", "low": 1e-4, "high": 0.1},
            "weight_decay": {"type": "loguniform", "low": 1e-6, "high": 0.1},
            "batch_size": {"type": "power_of_two", "low": 16, "high": 256},
            "hidden_units": {"type": "integer", "low": 8, "high": 200},
        },
        "algorithm": {"name": "random", "block": 16},
        "trainer": {"recipe": "tabular", "params": {"epochs": 2}},
        "budget": {"trials": 64},
    }
    found = draws(parse(document), 64)
    for first in range(0, 64, 16):
        block = found[first : first + 16]
        assert len({(params["batch_size"], params["hidden_units"]) for params in block}) == 1
        assert len({(params["lr"], params["weight_decay"]) for params in block}) == 16
    assert len({found[first]["hidden_units"] for first in range(0, 64, 16)}) > 1


def test_neighbours_in_a_block_are_independent_in_what_they_do_not_share() -> None:
    found = draws(study(2, seed=5, forbid=[]), 3_000)
    logs = [math.log(params["lr"]) for params in found]
    pairs = [pair for place, pair in enumerate(pairwise(logs)) if place % 2 == 0]
    assert abs(np.corrcoef(np.array(pairs).T)[0, 1]) < 0.09
