"""Few trials for many places: no more lanes than leave work for every place."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.controller.widths import FEWEST, bounded, places
from hpo_service.core import launches
from hpo_service.core.definition import StudyDefinition, parse
from hpo_service.core.events import MethodChoice
from hpo_service.executors.base import Capacity
from workers import contract

DOCUMENT: dict[str, Any] = {
    "objective": {"metric": "val_accuracy", "direction": "maximize"},
    "space": {"lr": {"type": "loguniform", "low": 1e-5, "high": 0.1}},
    "algorithm": {"name": "random", "max_resource": 9},
    "trainer": {"recipe": "image_classifier"},
}


def study(*, trials: int | None, **resources: Any) -> StudyDefinition:
    return parse({**DOCUMENT, "budget": {"trials": trials} if trials else {"hours": 1}, "resources": resources})


def cluster(cpu: float, gpu: float = 0.0) -> Capacity:
    return Capacity(cpu=cpu, gpu=gpu, node_cpu=cpu, node_gpu=gpu)


def fused(width: int) -> MethodChoice:
    return MethodChoice(structure={}, method="fused", width=width, device="cpu", reason="measured so")


@given(width=st.integers(2, 512), trials=st.integers(1, 2000), cpus=st.integers(1, 256))
def test_every_place_has_work_or_nothing_is_changed(width: int, trials: int, cpus: int) -> None:
    found = bounded(fused(width), study(trials=trials), cluster(cpus))
    assert found.width <= width
    if found.width == width:
        assert width <= math.ceil(trials / cpus)
    elif found.method == "fused":
        assert FEWEST <= found.width == math.ceil(trials / cpus)
    else:
        assert found.width == 1
        assert math.ceil(trials / cpus) < FEWEST


@pytest.mark.parametrize(
    ("trials", "cpus", "width"), [(256, 2, 16), (16, 2, 8), (64, 32, 1), (128, 32, 4), (None, 1000, 16)]
)
def test_widths_of_sixteen(trials: int | None, cpus: int, width: int) -> None:
    assert bounded(fused(16), study(trials=trials), cluster(cpus)).width == width


def test_what_was_set_stays() -> None:
    assert bounded(fused(16), study(trials=4, lanes=16), cluster(64)).width == 16


def test_the_reason_says_why() -> None:
    assert bounded(fused(16), study(trials=16), cluster(2)).reason.endswith(
        "16 trials for 2 places leave 8 lanes to each"
    )
    assert "quicker one by one" in bounded(fused(16), study(trials=4), cluster(2)).reason


def test_places_are_those_of_the_scarcest_resource() -> None:
    assert places(study(trials=9, cpu=2, gpu=0.5), cluster(64, 4)) == pytest.approx(8)


def test_a_method_has_one_name_in_the_log_and_on_the_wire() -> None:
    assert (launches.PLAIN, launches.FUSED) == (contract.PLAIN, contract.FUSED)
