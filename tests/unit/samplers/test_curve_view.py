"""What the view of the model of learning curves shows: what it expects at the end, in the objective's own units, with
nothing changed by looking."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.core.definition import parse
from hpo_service.samplers.freeze_thaw.evidence import WORST, Evidence, Seen
from tests.conformance.driver import Driver, Nature

SPACE = {
    "x": {"type": "uniform", "low": 0.0, "high": 1.0},
    "kind": {"type": "choice", "values": ["plain", "deep"]},
    "depth": {"type": "integer", "low": 2, "high": 9, "when": {"kind": "deep"}},
    "layers": {"type": "constant", "value": 3},
}


def driven(direction: str = "minimize", **more: Any) -> Driver:
    """Best at x = 0.7 and kind plain; curves fall by 1/epoch to a loss of 100 and more."""
    document = {
        "objective": {"metric": "loss", "direction": direction},
        "space": SPACE,
        "algorithm": {"name": "auto", "max_resource": 9, "warm_start": "off"},
        "trainer": {"function": "training:train"},
        "budget": {"resource": 150},
        "seed": 3,
        **more,
    }
    driver = Driver(parse(document), Nature(horizon=9), workers=1, seed=1)

    def loss(number: int, resource: float) -> float:
        params = driver.rows[number].params
        worse = 3.0 if params["kind"] == "deep" else 0.0
        value = 100.0 + 20.0 * (float(params["x"]) - 0.7) ** 2 + worse + 5.0 / resource
        return value if direction == "minimize" else -value

    driver.nature.losses = loss
    return driver


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_line_tells_what_is_expected_at_the_end_in_the_objectives_units(direction: str) -> None:
    driver = driven(direction)
    driver.run()
    view = driver.algorithm.view(final=True)
    assert view is not None
    told = view.to_json()
    json.dumps(told, allow_nan=False)
    sign = 1.0 if direction == "minimize" else -1.0
    assert (told["surrogate"], told["resource"]) == ("curves", 9.0)
    line = told["lines"]["x"]
    x, mean = np.array(line["x"]), sign * np.array(line["mean"])
    truth = 100.0 + 20.0 * (x - 0.7) ** 2 + 5.0 / 9.0
    near = np.abs(x - 0.7) < 0.15
    assert np.abs(mean - truth)[near].max() < 0.5, "it has looked there to the end"
    assert abs(x[np.argmin(mean)] - 0.7) < 0.12
    assert (np.array(line["low"]) <= np.array(line["mean"])).all()
    assert (np.array(line["mean"]) <= np.array(line["high"])).all()
    assert all(math.isfinite(one) for one in line["acquisition"])
    kinds = told["lines"]["kind"]
    expected = dict(zip(kinds["labels"], (sign * one for one in kinds["mean"]), strict=True))
    assert expected["plain"] < expected["deep"]
    assert told["incumbent"]["params"]["kind"] == "plain"
    assert set(told["left_out"]) == {"depth", "layers"}, "one is inactive at the incumbent, one has a single value"


def test_points_are_the_newest_values_of_the_trials_and_next_is_what_the_model_chose() -> None:
    driver = driven(parallel=3)

    def under_way(driver: Driver) -> bool:
        """A trial that the model chose is in its first segment."""
        first = [driver.rows[attempt.trial] for attempt in driver.open if len(driver.rows[attempt.trial].segments) == 1]
        return len(driver.rows) > 12 and any("promises most" in row.reasons[0] for row in first)

    driver.run(until=under_way)
    view = driver.algorithm.view(final=False)
    assert view is not None
    told = view.to_json()
    values = dict(zip(told["observed"]["number"], told["observed"]["value"], strict=True))
    trials = driver.algorithm.history.trials
    assert values
    for number, value in values.items():
        assert value == pytest.approx(trials[number].value, rel=1e-6)
    chosen = {one["trial"] for one in told["next"]}
    assert chosen
    assert all("promises most" in driver.rows[number].reasons[0] for number in chosen)


def test_looking_changes_no_decision() -> None:
    plain, looked = driven(), driven()
    plain.run()

    def look(driver: Driver) -> bool:
        driver.algorithm.view(final=len(driver.rows) % 2 == 0)
        return False

    looked.run(until=look)
    assert [(r.params, r.segments, r.reasons) for r in plain.rows.values()] == [
        (r.params, r.segments, r.reasons) for r in looked.rows.values()
    ]


def test_there_is_no_view_before_anything_is_known_or_where_all_is_the_same() -> None:
    driver = driven()
    assert driver.algorithm.view(final=False) is None
    flat = driven()
    flat.nature.losses = lambda number, resource: 2.5
    flat.run(until=lambda d: len(d.rows) > 7)
    assert flat.algorithm.view(final=True) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=20), st.floats(-3, 3))
def test_scaling_is_undone(values: list[float], z: float) -> None:
    evidence = Evidence([Seen(n, 1.0, value) for n, value in enumerate(values)])
    if not evidence.tells or evidence.size < 1e-3:
        return
    found = evidence.scaled(evidence.unscaled(np.array([z])))
    assert found[0] == pytest.approx(max(z, WORST), abs=1e-6)
