"""A real service in this process, and the SDK over it; studies are trained here, by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import hpo_service as hpo
from tests.unit.api.conftest import changed, client, db, empty_database, settings

__all__ = ["changed", "client", "db", "empty_database", "settings"]

DEFINITION: dict[str, Any] = {
    "name": "moons",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {
        "lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
        "width": {"type": "power_of_two", "low": 16, "high": 256},
        "kind": {"type": "choice", "values": ["a", "b", None]},
        "depth": {"type": "integer", "low": 1, "high": 9, "step": 2},
    },
    "algorithm": {"name": "random", "max_resource": 3},
    "trainer": {"external": True},
    "budget": {"trials": 8},
    "parallel": 4,
    "seed": 7,
}


@pytest.fixture
def sdk(client: Any) -> Iterator[hpo.Client]:
    with hpo.Client("http://localhost", transport=client._transport, client_id="me") as found:
        yield found


@pytest.fixture
def study(sdk: hpo.Client) -> hpo.Study:
    return sdk.create_study(DEFINITION)


def train(study: hpo.Study, number: int, *, steps: int = 3, fail: bool = False) -> hpo.Trial:
    """Asks for one trial, reports and ends it."""
    trial = study.ask(wait_s=0)
    assert trial is not None
    assert trial.number == number
    for step in range(1, steps + 1):
        trial.report(step, loss=number + 1 / step, accuracy=step / 10)
    if fail:
        trial.tell(state="failed", reason="the disc is full")
    else:
        trial.tell()
    return trial
