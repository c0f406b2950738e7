"""What views of surrogates show: the fit that decides, in the objective's own units, and nothing that changes it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.core.definition import parse
from hpo_service.samplers.encoding import Encoding
from hpo_service.samplers.evidence import Evidence
from hpo_service.samplers.parzen import Densities, ParzenEstimators
from tests.conformance.driver import Driver, Nature

ONE = {"x": {"type": "uniform", "low": -1.0, "high": 1.0}}
NESTED = {
    "optimizer": {"type": "choice", "values": ["sgd", "adam", None]},
    "momentum": {"type": "uniform", "low": 0.5, "high": 0.9, "when": {"optimizer": "sgd"}},
    "beta": {"type": "uniform", "low": 0.8, "high": 1.0, "when": {"optimizer": "adam"}},
    "lr": {"type": "loguniform", "low": 1e-5, "high": 1.0},
    "layers": {"type": "log_integer", "low": 1, "high": 1000},
    "width": {"type": "ordinal", "values": ["small", "medium", "large"]},
    "units": {"type": "integer", "low": 1, "high": 500},
    "noise": {"type": "normal", "mu": 0.0, "sigma": 1.0},
    "kind": {"type": "constant", "value": "mlp"},
}
Loss = Callable[[dict[str, Any]], float]


def bowl(params: dict[str, Any]) -> float:
    return 5.0 + 10.0 * (params["x"] - 0.3) ** 2


def driven(
    surrogate: str, loss: Loss, space: dict[str, Any] = ONE, *, trials: int, startup: int = 5, **more: Any
) -> Driver:
    direction, workers, seed = more.pop("direction", "minimize"), more.pop("workers", 1), more.pop("seed", 3)
    document = {
        "objective": {"metric": "loss", "direction": direction},
        "space": space,
        "algorithm": {"name": "bayesian", "surrogate": surrogate, "startup_trials": startup, "max_resource": 9},
        "trainer": {"function": "t:train"},
        "budget": {"trials": trials},
        "seed": seed,
        **more,
    }
    driver = Driver(parse(document), Nature(horizon=9), workers=workers, seed=1)
    driver.nature.losses = lambda number, _: loss(dict(driver.rows[number].params))
    return driver


def proposed(driver: Driver, number: int) -> Driver:
    """Run until that trial was chosen and is on its way."""
    return driver.run(until=lambda d: number in d.rows and bool(d.open))


def seen(driver: Driver, *, final: bool = False) -> dict[str, Any]:
    """The view as it is stored: through JSON, which refuses what is not finite."""
    view = driver.algorithm.view(final=final)
    assert view is not None
    document: dict[str, Any] = json.loads(json.dumps(view.to_json(), allow_nan=False))
    return document


def at(line: dict[str, Any], column: str, x: float) -> float:
    return float(np.interp(x, line["x"], line[column]))


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_process_goes_through_what_it_saw_in_the_objectives_own_units(direction: str) -> None:
    sign = 1.0 if direction == "minimize" else -1.0
    driver = proposed(driven("gp", lambda p: sign * bowl(p), trials=12, direction=direction), 9)
    view = seen(driver)
    line = view["lines"]["x"]
    assert view["observed"]["number"] == list(range(9))
    for x, value in zip(line["observed"], view["observed"]["value"], strict=True):
        assert value == pytest.approx(sign * bowl({"x": x}), rel=1e-6)
        assert at(line, "mean", x) == pytest.approx(value, abs=0.3)  # values span some 16
        assert at(line, "low", x) - 0.3 <= value <= at(line, "high", x) + 0.3
    best = min(view["observed"]["value"], key=lambda value: sign * value)
    assert view["incumbent"]["value"] == pytest.approx(best)
    assert line["incumbent"] in line["x"]


def test_the_band_is_wide_where_nobody_looked() -> None:
    driver = driven("gp", lambda p: math.sin(9 * p["x"]), trials=9, startup=6)
    driver.enqueue([{"x": x} for x in (-1.0, -0.9, -0.8, -0.7, -0.6, -0.5)])
    line = seen(proposed(driver, 6))["lines"]["x"]
    near, far = (at(line, "high", x) - at(line, "low", x) for x in (-0.8, 0.9))
    assert far > 3 * near > 0


@pytest.mark.parametrize("number", [6, 8, 10])
def test_the_proposal_is_where_the_acquisition_is_largest(number: int) -> None:
    driver = proposed(driven("gp", lambda p: math.sin(4 * p["x"]) + p["x"], trials=12, startup=4), number)
    view = seen(driver)
    line = view["lines"]["x"]
    chosen = driver.rows[number].params["x"]
    assert view["trial"] == number
    assert view["next"] == [{"trial": number, "params": {"x": chosen}}]
    assert line["next"] == [chosen]
    assert chosen in line["x"]
    places = np.abs(np.array(line["x"]) - chosen) <= 2.1 * 2 / 63  # two steps of the grid
    assert max(np.array(line["acquisition"])[places]) >= max(line["acquisition"]) - 0.05


def test_tpe_prefers_what_is_likelier_among_good_trials() -> None:
    view = seen(driven("tpe", bowl, trials=40, startup=40).run(), final=True)
    line = view["lines"]["x"]
    assert at(line, "acquisition", 0.3) > 5 * at(line, "acquisition", -0.8)
    assert at(line, "good", 0.3) > at(line, "bad", 0.3)
    assert line["x"][int(np.argmax(line["acquisition"]))] == pytest.approx(0.3, abs=0.3)
    for density in ("good", "bad"):
        assert np.trapezoid(line[density], (np.array(line["x"]) + 1) / 2) == pytest.approx(1, abs=0.01)
    assert line["mean"] is None


@pytest.mark.parametrize("surrogate", ["gp", "tpe"])
def test_the_view_is_of_the_very_fit_that_the_draw_was_made_from(surrogate: str) -> None:
    """What a fold that drew shows is what one that never drew says of the same trial, to the last digit."""
    driver = driven(surrogate, bowl, {**ONE, "y": ONE["x"]}, trials=20, startup=5, workers=3)
    driver.run(until=lambda d: len(d.rows) >= 10 and len(d.open) == 2)
    assert driver.algorithm.propose(1)
    drew, fresh = seen(driver), driver.refold().view(final=True)
    assert fresh is not None
    assert drew["trial"] == len(driver.rows)
    assert drew == json.loads(json.dumps(fresh.to_json()))
    running = {attempt.trial for attempt in driver.open}
    assert drew["observed"]["number"] == [n for n in driver.rows if n not in running]
    assert [one["trial"] for one in drew["next"]] == sorted(running, reverse=True)


class Watched(Driver):
    """Looks at the model all the time."""

    def propose(self, slots: int) -> Any:
        self.algorithm.view(final=False)
        self.algorithm.view(final=True)
        found = super().propose(slots)
        self.algorithm.view(final=False)
        return found


ALGORITHMS: list[dict[str, Any]] = [
    {"name": "bayesian", "startup_trials": 4},
    {"name": "bayesian", "startup_trials": 6, "surrogate": "gp"},
    {"name": "bohb"},
    {"name": "asha", "sampler": "tpe"},
    {"name": "successive_halving", "trials": 27, "sampler": "tpe"},
]


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=lambda a: a.get("surrogate", a["name"]))
def test_looking_changes_no_decision(algorithm: dict[str, Any]) -> None:
    trials = 11 if algorithm.get("surrogate") == "gp" else 35
    document = {
        "objective": {"metric": "loss"},
        "space": NESTED,
        "algorithm": {"max_resource": 9, **algorithm},
        "trainer": {"function": "t:train"},
        "budget": {"trials": trials},
    }
    nature = Nature(seed=4, failing=0.15, early=0.1, horizon=9)
    plain, watched = (
        kind(parse(document), nature, workers=3, seed=5, losing=0.03, crashing=0.02, lag=2).run()
        for kind in (Driver, Watched)
    )
    assert [e.payload for e in watched.log] == [e.payload for e in plain.log]
    view = watched.algorithm.view(final=True)
    assert view is not None
    assert view.to_json()["lines"]


@pytest.mark.parametrize("surrogate", ["gp", "tpe"])
def test_every_kind_of_parameter_has_its_axis(surrogate: str) -> None:
    driver = driven(surrogate, lambda p: abs(math.log10(p["lr"]) + 2), NESTED, trials=12, startup=11)
    view = seen(driver.run(), final=True)
    lines = view["lines"]
    best = view["incumbent"]["params"]
    inactive = {"momentum", "beta"} - set(best)
    assert set(view["left_out"]) == {"kind", *inactive}
    assert all("inactive at the incumbent" in view["left_out"][name] for name in inactive)
    assert lines["optimizer"]["labels"] == ["sgd", "adam", "null"]
    assert lines["optimizer"]["x"] == [0, 1, 2]
    assert lines["optimizer"]["incumbent"] == ["sgd", "adam", None].index(best["optimizer"])
    assert lines["width"]["labels"] == ["small", "medium", "large"]
    assert (lines["lr"]["log"], lines["layers"]["log"], lines["units"]["log"]) == (True, True, False)
    for name, line in lines.items():
        assert line["x"] == sorted(set(line["x"]))
        assert len(line["x"]) <= 65
        assert len(line["observed"]) == view["observations_used"] == 12
        for column in ("mean", "low", "high", "good", "bad", "acquisition"):
            assert line[column] is None or len(line[column]) == len(line["x"])
        for number, x in zip(view["observed"]["number"], line["observed"], strict=True):
            assert (x is None) == (name not in driver.rows[number].params)
    assert lines["lr"]["x"][0] == 1e-5
    assert lines["lr"]["x"][-1] == 1.0


def test_only_so_many_parameters_are_shown() -> None:
    space = {f"x{i:02}": ONE["x"] for i in range(23)}
    view = seen(driven("tpe", lambda p: p["x00"], space, trials=6, startup=5).run(), final=True)
    assert list(view["lines"]) == sorted(space)[:20]
    assert sorted(view["left_out"]) == ["x20", "x21", "x22"]


def test_there_is_no_view_before_the_model_starts_nor_without_one() -> None:
    driver = driven("gp", bowl, trials=9, startup=5).run(until=lambda d: len(d.rows) == 4)
    assert driver.algorithm.view(final=False) is None
    assert driver.algorithm.view(final=True) is None
    document = {**driver.definition.to_document(), "algorithm": {"name": "random", "max_resource": 9}}
    assert Driver(parse(document), Nature(horizon=9)).run().algorithm.view(final=True) is None


@settings(max_examples=8, deadline=None)
@given(
    xs=st.lists(st.integers(-100, 100), min_size=6, max_size=10, unique=True),
    factor=st.sampled_from([1e-3, 0.5, 40.0, 1e6]),
    shift=st.integers(-1000, 1000),
)
def test_other_units_of_the_objective_change_the_picture_by_them_alone(
    xs: list[int], factor: float, shift: int
) -> None:
    def line(loss: Loss) -> dict[str, Any]:
        driver = driven("gp", loss, trials=len(xs), startup=len(xs))
        driver.enqueue([{"x": x / 100} for x in xs])
        found: dict[str, Any] = seen(driver.run(), final=True)["lines"]["x"]
        return found

    plain, other = line(bowl), line(lambda p: factor * (bowl(p) + shift))
    for column in ("mean", "low", "high"):
        expected = factor * (np.array(plain[column]) + shift)
        assert other[column] == pytest.approx(expected, rel=1e-4, abs=factor * 0.02)


@pytest.mark.parametrize("name", ["lr", "optimizer", "units", "width"])
def test_densities_along_a_line_are_the_samplers_own(name: str) -> None:
    """A cut of the mixture, made in a fraction of the time, is what the sampler's estimators say point by point."""
    space = parse({**driven("tpe", bowl, NESTED, trials=1).definition.to_document()}).search_space
    encoding = Encoding(space)
    rng = np.random.default_rng(5)
    codes = [code for code in (encoding.encode_whole(space.sample(rng)) for _ in range(60)) if code is not None]
    rows = np.array([[code[one] for one in encoding.distributions] for code in codes], dtype=float)
    sampler = ParzenEstimators(1)
    names = dict(encoding.distributions)
    sampler.choose(Evidence(codes=rows, values=rng.random(60), maximize=False), names, encoding.columns(names))
    assert sampler.densities is not None
    along = sorted({code[name] for code in codes})
    points = [{**codes[7], name: place} for place in along]
    internal = {one: np.array([float(names[one].to_internal_repr(point[one])) for point in points]) for one in names}
    found = Densities(names, *sampler.densities, through=codes[7]).along(name, along)
    for logarithms, estimator in zip(found, sampler.densities, strict=True):
        assert logarithms == pytest.approx(estimator.log_pdf(internal), abs=1e-9)
