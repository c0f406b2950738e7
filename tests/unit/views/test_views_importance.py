"""Importances against Optuna's evaluators, and against what is known of made-up objectives."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.views import fanova, importance, ped_anova
from tests.unit.views.columns_support import columns, definition

STUDY = definition()
SPACE = STUDY.search_space


def rows(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """lr matters most, then the optimizer, momentum where there is one; layers not at all."""
    found = []
    for number in range(n):
        params = SPACE.sample(np.random.default_rng([seed, number]))
        loss = (
            (np.log10(params["lr"]) + 3) ** 2 + 0.3 * (params["optimizer"] == "lion") + 0.2 * params.get("momentum", 0)
        )
        found.append({"params": params, "value": float(loss), "metrics": {"loss": float(loss)}})
    return found


def optuna_study(trials: list[dict[str, Any]]) -> optuna.Study:
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        "lr": optuna.distributions.FloatDistribution(1e-5, 1.0, log=True),
        "layers": optuna.distributions.IntDistribution(1, 8),
        "optimizer": optuna.distributions.CategoricalDistribution(["sgd", "adam", "lion"]),
        "momentum": optuna.distributions.FloatDistribution(0.0, 1.0),
        "beta": optuna.distributions.FloatDistribution(0.8, 1.0),
    }
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.trial.create_trial(
                params=one["params"],
                distributions={name: distributions[name] for name in one["params"]},
                value=one["value"],
            )
            for one in trials
        ]
    )
    return study


@settings(deadline=None, max_examples=15)
@given(n=st.integers(10, 120), seed=st.integers(0, 999))
def test_ped_anova_is_optunas(n: int, seed: int) -> None:
    trials = rows(n, seed)
    found = columns(STUDY, trials)
    mine = importance.by_quantile(found, importance.choose(found, np.ones(n, dtype=bool)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = optuna.importance.PedAnovaImportanceEvaluator().evaluate(optuna_study(trials))
        quantile = sum(o["value"] <= sorted(t["value"] for t in trials)[-(-n // 10) - 1] for o in trials) / n
    # A value on the edge of a cell of Optuna's grid may fall on either side of it.
    assert {name: value * quantile**2 for name, value in mine.items()} == pytest.approx(theirs, rel=1e-2, abs=1e-9)


def test_what_matters_comes_first() -> None:
    found = columns(STUDY, rows(400))
    chosen = importance.choose(found, np.ones(400, dtype=bool))
    first = importance.answer(found, "ped_anova", chosen, importance.by_quantile(found, chosen), "")
    forest = importance.forest_data(found, importance.spread(chosen, 300))
    second = importance.answer(found, "fanova", chosen, forest.importances(), "")
    for answer in (first, second):
        assert answer["parameters"][0]["name"] == "lr"
        assert sum(one["importance"] for one in answer["parameters"]) == pytest.approx(1, abs=1e-4)
        assert {one["name"] for one in answer["parameters"]} == set(SPACE.parameters)
    assert forest.losses.size == 300


def test_fanova_is_optunas_where_all_is_ordered() -> None:
    rng = np.random.default_rng(3)
    x = rng.random((60, 3))
    y = x[:, 0] ** 2 + 0.5 * x[:, 1] * x[:, 2]
    study = optuna.create_study()
    distribution = optuna.distributions.FloatDistribution(0, 1)
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={f"x{k}": float(row[k]) for k in range(3)},
                distributions={f"x{k}": distribution for k in range(3)},
                value=float(value),
            )
            for row, value in zip(x, y, strict=True)
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=fanova.SEED, n_trees=fanova.TREES)
    theirs = evaluator.evaluate(study)
    mine = fanova.importances(x, (0, 0, 0), y)
    assert dict(zip(["x0", "x1", "x2"], mine.tolist(), strict=True)) == pytest.approx(theirs, rel=1e-6)


def test_fanova_of_categories_is_the_variance_of_their_means() -> None:
    """A forest that saw every combination many times knows the table, whose main effects can be counted out."""
    table = np.random.default_rng(1).random((3, 4))
    combinations = list(itertools.product(range(3), range(4))) * 30
    places = np.array(combinations, dtype=np.float64)
    values = np.array([table[a, b] for a, b in combinations])
    found = fanova.importances(places, (3, 4), values)
    whole = table.var()
    assert found == pytest.approx([table.mean(axis=1).var() / whole, table.mean(axis=0).var() / whole], rel=1e-6)


def test_trials_at_the_highest_resource_that_enough_came_to() -> None:
    made = rows(160)
    for number, row in enumerate(made):
        row["resource"] = 1.0 if number < 90 else 3.0 if number < 155 else 9.0
    made[100]["state"] = "failed"
    made[101]["state"] = "running"
    found = columns(STUDY, made)
    chosen = importance.choose(found, np.ones(160, dtype=bool))
    assert chosen.words == "the trials that came to resource 3 or further"
    assert chosen.numbers.tolist() == [90, *range(91, 100), *range(102, 160)]
    few = importance.choose(found, np.arange(160) >= 130)
    assert few.numbers.size == 30


def test_too_few_trials_are_said() -> None:
    found = columns(STUDY, rows(3))
    chosen = importance.choose(found, np.ones(3, dtype=bool))
    assert "at least 10" in importance.too_few(found, chosen)
    assert importance.answer(found, "ped_anova", chosen, None, "x")["parameters"] == []


def test_equal_values_matter_nothing() -> None:
    made = [{**row, "value": 1.0} for row in rows(40)]
    found = columns(STUDY, made)
    chosen = importance.choose(found, np.ones(40, dtype=bool))
    answer = importance.answer(found, "ped_anova", chosen, importance.by_quantile(found, chosen), "")
    assert answer["parameters"] == [] or answer["note"] == ""
    forest = importance.forest_data(found, chosen).importances()
    assert importance.answer(found, "fanova", chosen, forest, "")["note"].startswith("The values do not differ")


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_places_are_those_of_the_scales(seed: int) -> None:
    trials = [{"params": SPACE.sample(np.random.default_rng([seed, i])), "value": 1.0} for i in range(30)]
    found = columns(STUDY, trials)
    for name, column in found.params.items():
        mine = importance.places(SPACE.parameters[name], column, np.arange(30))
        for row, place in zip(trials, mine.tolist(), strict=True):
            told = row["params"].get(name)
            assert (
                np.isnan(place)
                if told is None
                else place == pytest.approx(SPACE.parameters[name].to_unit(told), abs=1e-6)
            )


def test_shares() -> None:
    assert ped_anova.shares({"a": 1.0, "b": 3.0}) == [("b", 0.75), ("a", 0.25)]
    assert ped_anova.shares({"a": 0.0}) == ()


def test_a_forest_does_not_mind_how_large_losses_are() -> None:
    """Losses of runs that diverged are huge; their squares leave the range of a float."""
    rng = np.random.default_rng(0)
    lr = 10 ** rng.uniform(-5, 0, 60)
    rows = [{"params": {"lr": x, "layers": int(rng.integers(1, 9)), "optimizer": "sgd"}} for x in lr.tolist()]
    found = {}
    for scale in (1.0, 2.0**1000):
        made = columns(definition(), [{**r, "value": scale * x} for r, x in zip(rows, lr.tolist(), strict=True)])
        chosen = importance.choose(made, np.ones(made.n, dtype=np.bool_))
        found[scale] = importance.forest_data(made, chosen).importances()
    assert found[2.0**1000] == found[1.0]
    assert found[1.0]["lr"] > 0.9
