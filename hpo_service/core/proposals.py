"""What an algorithm returns: values with a reason. Only the controller acts on them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hpo_service.core.states import Origin

UNLIMITED = math.inf
"""A target resource that the trainable itself ends (a function without `max_resource`)."""


def _checked(reason: str) -> None:
    if not reason.strip():
        raise ValueError("a proposal needs a non-empty reason")


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Start trial `trial` (the next free number, or an enqueued one that waits) and train it from 0 to `target`."""

    trial: int
    params: Mapping[str, Any]
    target: float
    horizon: float
    reason: str
    origin: Origin = Origin.SAMPLED
    bracket: int | None = None
    rung: int | None = None
    parent: int | None = None  # go on from this trial's checkpoint …
    parent_resource: float | None = None  # … at this resource level
    space_version: int = 1
    gain: float | None = None  # by how much it is expected to improve on the best value, where `patience: auto` asks

    def __post_init__(self) -> None:
        _checked(self.reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class Continue:
    """Train the paused trial on to `target`."""

    trial: int
    target: float
    reason: str
    bracket: int | None = None
    rung: int | None = None
    gain: float | None = None

    def __post_init__(self) -> None:
        _checked(self.reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """End the trial early: paused ones at once, a running one at its next report."""

    trial: int
    reason: str

    def __post_init__(self) -> None:
        _checked(self.reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finish:
    """The paused trial has been trained as far as it is to be."""

    trial: int
    reason: str

    def __post_init__(self) -> None:
        _checked(self.reason)


Proposal = Start | Continue | Stop | Finish
_KINDS: Mapping[str, type[Proposal]] = {"start": Start, "continue": Continue, "stop": Stop, "finish": Finish}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def to_json(proposal: Proposal) -> dict[str, Any]:
    """Plain JSON of a proposal; unlimited targets are null, defaults are left out."""
    document: dict[str, Any] = {"kind": _NAMES[type(proposal)]}
    for name in type(proposal).__slots__:
        value = getattr(proposal, name)
        if name in ("target", "horizon"):
            document[name] = None if value == UNLIMITED else value
        elif value is not None:
            document[name] = dict(value) if name == "params" else value
    return document


def from_json(document: Mapping[str, Any]) -> Proposal:
    """Inverse of `to_json`."""
    fields = dict(document)
    kind = _KINDS[fields.pop("kind")]
    if fields.get("target", 0.0) is None:
        fields["target"] = UNLIMITED
    if fields.get("horizon", 0.0) is None:
        fields["horizon"] = UNLIMITED
    if "origin" in fields:
        fields["origin"] = Origin(fields["origin"])
    return kind(**fields)
