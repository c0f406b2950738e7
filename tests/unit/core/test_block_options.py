"""What the options of blocks may not say: each refusal names the field, the rule, the value and the remedy."""

from __future__ import annotations

from typing import Any

import pytest

from hpo_service import algorithms
from hpo_service.core.blocks import shared
from hpo_service.core.definition import json_schema, parse
from hpo_service.errors import InvalidInput

FUNCTION: dict[str, Any] = {
    "objective": {"metric": "loss"},
    "space": {
        "lr": {"type": "loguniform", "low": 1e-5, "high": 1.0},
        "batch_size": {"type": "power_of_two", "low": 16, "high": 256},
        "layers": {"type": "integer", "low": 1, "high": 3},
        "width": {"type": "integer", "low": 8, "high": 64, "when": {"layers": {">": 1}}},
    },
    "algorithm": {"name": "random", "max_resource": 1},
    "trainer": {"function": "t:train"},
    "budget": {"trials": 30},
}
RECIPE: dict[str, Any] = {
    **FUNCTION,
    "objective": {"metric": "val_loss"},
    "space": {
        "lr": {"type": "loguniform", "low": 1e-4, "high": 0.1},
        "batch_size": {"type": "power_of_two", "low": 16, "high": 64},
    },
    "algorithm": {"name": "random"},
    "trainer": {"recipe": "tabular", "params": {"epochs": 2}},
}


def with_blocks(document: dict[str, Any], **more: Any) -> dict[str, Any]:
    algorithm = more.pop("algorithm", document["algorithm"])
    repeats = {"repeats": more.pop("repeats")} if "repeats" in more else {}
    return {**document, **repeats, "algorithm": {**algorithm, **more}}


REFUSED = {
    "no blocks": (with_blocks(FUNCTION, block_on=["lr"]), "algorithm.block_on", "set algorithm.block"),
    "a model": (
        with_blocks(
            FUNCTION, algorithm={"name": "asha", "max_resource": 9, "sampler": "tpe"}, block=4, block_on=["batch_size"]
        ),
        "algorithm.block",
        "set algorithm.sampler to random",
    ),
    "not known what": (with_blocks(FUNCTION, block=4), "algorithm.block_on", "such as [batch_size]"),
    "a user's recipe": (
        {**with_blocks(FUNCTION, block=4), "trainer": {"recipe": "mine.nets:Conv"}},
        "algorithm.block_on",
        "such as [batch_size]",
    ),
    "unknown": (with_blocks(FUNCTION, block=4, block_on=["batchsize"]), "algorithm.block_on", "you mean 'batch_size'"),
    "altogether": (with_blocks(FUNCTION, block=4, block_on=["zzz"]), "algorithm.block_on", "known: lr, batch_size"),
    "an orphan": (with_blocks(FUNCTION, block=4, block_on=["width"]), "algorithm.block_on", "add layers to block_on"),
    "all alike": (
        with_blocks(FUNCTION, block=4, block_on=["lr", "batch_size", "layers", "width"]),
        "algorithm.block_on",
        "leave a tuned parameter out",
    ),
    "no lanes": (
        {**with_blocks(RECIPE, block=4), "space": {"batch_size": RECIPE["space"]["batch_size"]}},
        "algorithm.block_on",
        "leave a tuned parameter out",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_names_field_and_remedy(case: str) -> None:
    document, path, remedy = REFUSED[case]
    with pytest.raises(InvalidInput) as refused:
        algorithms.check(parse(document))
    (problem,) = refused.value.problems
    assert problem.path == path
    assert problem.rule
    assert remedy in problem.remedy


@pytest.mark.parametrize("block", [0, -3, 1025, 2.5])
def test_a_block_has_1_to_1024_trials(block: float) -> None:
    with pytest.raises(InvalidInput, match=r"algorithm\.block"):
        parse(with_blocks(FUNCTION, block=block, block_on=["batch_size"]))


@pytest.mark.parametrize("name", ["grid", "sobol", "bayesian", "bohb"])
def test_only_random_draws_come_in_blocks(name: str) -> None:
    with pytest.raises(InvalidInput, match="unknown field"):
        parse(with_blocks(FUNCTION, algorithm={"name": name, "max_resource": 9}, block=4))


def test_what_is_shared() -> None:
    assert shared(parse(with_blocks(RECIPE, block=4))) == {"batch_size"}
    assert shared(parse(with_blocks(RECIPE, block=4, block_on=["lr"]))) == {"lr"}
    assert shared(parse(with_blocks(FUNCTION, block=4))) == frozenset()
    algorithms.check(parse(with_blocks(FUNCTION, block=4, block_on=["width", "layers"])))
    algorithms.check(parse(with_blocks(RECIPE, block=1024)))
    everything = sorted(FUNCTION["space"])
    algorithms.check(parse(with_blocks(FUNCTION, block=4, block_on=everything, repeats=True)))


def test_a_definition_with_blocks_is_read_back() -> None:
    definition = parse(with_blocks(FUNCTION, block=4, block_on=["batch_size"]))
    assert parse(definition.to_document()) == definition
    assert definition.to_document()["algorithm"]["block"] == 4
    assert "block" not in parse(with_blocks(FUNCTION, block=1)).to_document()["algorithm"]


def test_the_schema_says_what_blocks_are() -> None:
    definitions = json_schema()["$defs"]
    for name in ("RandomSpec", "SuccessiveHalvingSpec", "HyperbandSpec", "AshaSpec", "MedianSpec"):
        assert definitions[name]["properties"]["block"]["maximum"] == 1024
        assert "no lanes" in definitions[name]["properties"]["block_on"]["description"]
    assert "block" not in definitions["BohbSpec"]["properties"]
