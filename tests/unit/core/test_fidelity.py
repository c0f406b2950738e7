"""Resource that is no training time: levels, prices of whole segments, who can be trained at sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hpo_service import algorithms
from hpo_service.controller import orders
from hpo_service.core import confirming
from hpo_service.core.definition import StudyDefinition, json_schema, parse
from hpo_service.core.proposals import Continue, Start
from hpo_service.errors import InvalidInput
from hpo_service.executors.curves import PowerLaw
from hpo_service.executors.simulated_attempt import Attempt, Rules
from hpo_service.store.rows import CheckpointRow, OpenAttempt
from tests.conformance.driver import Driver, Nature
from workers.contract import Reported

SPACE = {"lr": {"type": "loguniform", "low": 1e-5, "high": 0.1}}
SHARES = (1 / 27, 1 / 9, 1 / 3, 1.0)
DATA = {"fidelity": "data_fraction", "max_resource": 1}
WIDTH = {"fidelity": "width", "min_resource": 16, "max_resource": 144}


def study(algorithm: dict[str, Any], **more: Any) -> StudyDefinition:
    document = {"objective": {"metric": "val_loss"}, "space": SPACE, "trainer": {"function": "t:train"}}
    made = parse({**document, "budget": {"trials": 30}, "algorithm": algorithm, **more})
    algorithms.check(made)
    return made


def played(algorithm: dict[str, Any], **more: Any) -> Driver:
    return Driver(study(algorithm, **more), Nature(horizon=1), workers=4, seed=1, check_every=25).run()


def given_out(driver: Driver) -> float:
    proposals = [p for event in driver.log for p in getattr(event.payload, "proposals", ())]
    return sum(p.target for p in proposals if isinstance(p, Start | Continue))


@pytest.mark.parametrize(
    ("algorithm", "levels"),
    [
        ({"name": "auto", "fidelity": "data_fraction"}, SHARES),
        ({"name": "asha", **DATA}, SHARES),
        ({"name": "asha", **DATA, "max_resource": 0.5}, tuple(share / 2 for share in SHARES)),
        ({"name": "hyperband", **DATA}, SHARES),
        ({"name": "bohb", **WIDTH}, (16, 48, 144)),
        ({"name": "successive_halving", "trials": 9, **WIDTH}, (16, 48, 144)),
        ({"name": "random", **DATA}, (1.0,)),
    ],
    ids=lambda value: f"{value['name']}-{value['fidelity']}" if isinstance(value, dict) else "",
)
def test_a_segment_begins_anew_and_costs_its_whole_size(algorithm: dict[str, Any], levels: tuple[float, ...]) -> None:
    driver = played(algorithm)
    seen = {target for row in driver.rows.values() for target in row.segments}
    assert all(min(abs(target - level) for level in levels) < 1e-9 for target in seen)
    assert driver.algorithm.state.ledger.reserved == pytest.approx(given_out(driver))
    assert all(trial.segment_from == 0.0 for trial in driver.algorithm.history)


@pytest.mark.parametrize("name", ["asha", "hyperband"])
def test_a_budget_of_resource_holds_whole_sizes(name: str) -> None:
    driver = played({"name": name, **WIDTH}, budget={"resource": 900})
    assert given_out(driver) <= 900
    assert "budget.resource" in (driver.algorithm.ending() or "")


def test_the_plan_counts_every_rung_from_zero() -> None:
    halving = {"name": "successive_halving", "trials": 9}
    assert algorithms.plan(study({**halving, **WIDTH})).total_resource == 9 * 16 + 3 * 48 + 144
    assert algorithms.plan(study({**halving, **WIDTH, "fidelity": "epochs"})).total_resource == 9 * 16 + 3 * 32 + 96


def test_a_round_of_hyperband_fits_only_with_every_size_paid() -> None:
    plan = algorithms.plan(study({"name": "hyperband", **WIDTH}, budget={"resource": 432}))
    assert (plan.total_resource, plan.trials) == (432, 9)


def test_an_order_brings_no_checkpoint_and_names_the_size(tmp_path: Path) -> None:
    opened = OpenAttempt(
        study_id="s",
        trial=4,
        fence=2,
        params={},
        from_resource=1 / 9,
        target=1 / 3,
        horizon=1.0,
        launch="l",
        lane=0,
        width=1,
        method="plain",
        checkpoints=(CheckpointRow(trial=4, fence=1, step=1, resource=1 / 9, path="p", digest="d", size_bytes=1),),
    )
    order = orders.work_order(study({"name": "asha", **DATA}), opened, tmp_path)
    assert (order.from_resource, order.checkpoints, order.size, order.fidelity) == (0.0, (), 1 / 3, "data_fraction")
    plain = orders.work_order(study({"name": "asha", "max_resource": 9}), opened, tmp_path)
    assert (plain.from_resource, len(plain.checkpoints), plain.size) == (1 / 9, 1, None)


def test_a_preflight_is_trained_at_the_smallest_size(tmp_path: Path) -> None:
    launch = orders.preflight_launch(
        study({"name": "hyperband", **DATA}), "s", {}, target=1.0, number=1, storage_root=tmp_path
    )
    assert launch.orders[0].size == pytest.approx(1 / 27)


def test_simulated_training_begins_anew_and_reports_once(tmp_path: Path) -> None:
    opened = OpenAttempt(
        study_id="s",
        trial=0,
        fence=2,
        params={"lr": 0.01},
        from_resource=16.0,
        target=48.0,
        horizon=144.0,
        launch="l",
        lane=0,
        width=1,
        method="plain",
        checkpoints=(CheckpointRow(trial=0, fence=1, step=1, resource=16.0, path="p", digest="d", size_bytes=1),),
    )
    order = orders.work_order(study({"name": "asha", **WIDTH}), opened, tmp_path)
    rules = Rules(
        curve=lambda params, resource, seed: {**PowerLaw()(params, resource, seed), "val_loss": 1 / resource},
        seconds_per_resource=2.0,
        seed=0,
        failure_rate=0.0,
        loss_rate=0.0,
        step=1.0,
        checkpoint_every=1.0,
    )
    attempt = Attempt(order, rules, now=0.0)
    assert attempt.next_due(0.0) == 96.0, "48 of width from zero, at two seconds each"
    (report,) = attempt.report(96.0, None)
    assert isinstance(report, Reported)
    assert (report.step, report.resource, attempt.ending is not None) == (2, 48.0, True)


def test_a_confirmation_trains_at_the_size_that_the_best_trial_had() -> None:
    tabular = {"recipe": "tabular", "params": {"data": "digits", "epochs": 3}}
    made = confirming.definition_of(
        study({"name": "asha", **DATA}, trainer=tabular),
        study="s",
        candidates=[confirming.Candidate(trial=3, params={"lr": 0.01})],
        seeds=2,
        nth=0,
        resource=1 / 3,
        horizon=1.0,
    )
    assert (made.fidelity, made.algorithm.name, made.algorithm.max_resource) == ("data_fraction", "random", 1 / 3)  # type: ignore[union-attr]


def test_what_is_stored_reads_back() -> None:
    made = study({"name": "auto", "fidelity": "data_fraction"})
    assert parse(made.to_document()) == made
    assert "fidelity" not in study({"name": "asha", "max_resource": 9}).to_document()["algorithm"]
    assert "fidelity" in json_schema()["$defs"]["HyperbandSpec"]["properties"]


RECIPE = {"recipe": "tabular", "params": {"data": "digits"}}


@pytest.mark.parametrize(
    ("algorithm", "more", "words"),
    [
        ({"name": "asha", "fidelity": "data_fraction", "max_resource": 27}, {}, "a share of the data is at most 1"),
        ({"name": "auto", "fidelity": "data_fraction", "min_resource": 0}, {}, "greater than 0"),
        (
            {"name": "auto", "fidelity": "data_fraction", "min_resource": 2},
            {},
            "max_resource must be at least min_resource",
        ),
        ({"name": "auto", "fidelity": "width"}, {}, "got no min_resource and no max_resource"),
        ({"name": "asha", "fidelity": "resolution", "max_resource": 64}, {}, "got no min_resource"),
        ({"name": "asha", "fidelity": "frames", "max_resource": 64}, {}, "data_fraction"),
        ({"name": "bayesian", "fidelity": "width", "max_resource": 64}, {}, "unknown field"),
        ({"name": "asha", **DATA}, {"trainer": {"ray_tune": "t:train"}}, "ray_tune cannot be told a size"),
        ({"name": "asha", **DATA}, {"trainer": {"optuna": "t:train"}}, "optuna cannot be told a size"),
        ({"name": "asha", **DATA}, {"trainer": {"external": True}}, "external cannot be told a size"),
        ({"name": "asha", **WIDTH}, {"trainer": RECIPE}, "the recipe tabular has no width"),
        ({"name": "asha", **DATA}, {"resources": {"processes": 2}}, "sizes are trained by one process"),
    ],
)
def test_what_cannot_be_is_refused(algorithm: dict[str, Any], more: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        study(algorithm, **more)
    assert words in str(caught.value)


def test_epochs_may_be_set_or_tuned_where_resource_is_a_size() -> None:
    tabular = {"recipe": "tabular", "params": {"data": "digits", "epochs": 3}}
    assert study({"name": "asha", **DATA}, trainer=tabular).fidelity == "data_fraction"
    tuned = {**SPACE, "epochs": {"type": "integer", "low": 1, "high": 5}}
    for algorithm in ({"name": "hyperband", **DATA}, {"name": "auto", "fidelity": "data_fraction"}):
        made = study(algorithm, trainer=RECIPE, space=tuned)
        assert made.algorithm.name == algorithm["name"]
