"""A trial's lineage: the schedule of parameters that population based training found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from hpo_service.client.protocol import Program, address
from hpo_service.client.results import Result
from hpo_service.client.study_operations import TrialBase


class Stage(Result):
    """One trial's part of a lineage: it trained between two resources with these parameters."""

    trial: int
    from_resource: float
    to_resource: float
    params: Mapping[str, Any] = Field(default_factory=dict)
    changed: tuple[str, ...] = ()  # that the stage before had otherwise
    value: float | None = None  # of the first objective, at `to_resource`


def lineage(trial: TrialBase) -> Program[tuple[Stage, ...]]:
    """The stages of the trial's lineage in the order of their resource, its own last; just that one where it went on
    from no other trial's weights."""
    found = yield from trial._core.get(address("studies", trial.study_id, "trials", trial.number, "lineage"))
    return tuple(Stage.parse(stage) for stage in found["stages"])
