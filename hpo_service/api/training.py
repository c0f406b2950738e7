"""What is said about how trials are trained: the launch that an attempt was in, and the methods chosen by structure.

Models and how they are made of the store's rows. No requests here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field

from hpo_service.api.schemas import Answer
from hpo_service.core.events import MethodsChosen
from hpo_service.core.launches import structure_key
from hpo_service.core.states import AttemptState
from hpo_service.store.rows import AttemptRow


class Lane(Answer):
    """One attempt of a launch."""

    trial: int = Field(examples=[17])
    fence: int
    lane: int = Field(description="Its place, from 0.")
    state: AttemptState
    outcome: str | None
    resource: float
    seconds: float
    cost_microdollars: int


class Launch(Answer):
    """Attempts that were sent to a worker together: trained as lanes of one program (`fused`), or one after another."""

    launch: str
    method: str = Field(examples=["fused"])
    width: int = Field(description="Lanes of the program; those that no attempt has are clones, which report nothing.")
    worker_id: str | None
    node: str | None
    device: str | None
    started_at: datetime | None
    ended_at: datetime | None = Field(description="Null while one of them is open.")
    seconds: float | None = Field(description="From the first one's beginning to the last one's end.")
    cost_microdollars: int = Field(description="Of all of them.")
    lanes: list[Lane]


class Method(Answer):
    """How trials of one structure are trained from `seq` on."""

    structure: dict[str, Any] = Field(
        description="The parameters that are no lanes: trials that are equal in these can train together.",
        examples=[{"batch_size": 64, "hidden": 128}],
    )
    method: str = Field(examples=["fused"])
    width: int = Field(description="At most so many lanes a launch.", examples=[32])
    device: str
    reason: str
    source: str = Field(
        description="measured, earlier (for another study), set, assumed (from the nearest), out_of_memory, failed."
    )
    measured: dict[str, Any] = Field(description="Seconds per step and trial, as far as they were measured.")
    seq: int
    at: datetime


class Methods(Answer):
    """`lanes`: the parameters in which trials of one launch may differ; none where the trainer cannot be fused."""

    lanes: list[str]
    items: list[Method]


def launch_answer(rows: Sequence[AttemptRow]) -> Launch:
    """The launch that these attempts make up, by lane; at least one attempt."""
    first = next((row for row in rows if row.started_at is not None), rows[0])
    began = min((row.started_at for row in rows if row.started_at is not None), default=None)
    ends = [row.ended_at for row in rows]
    ended = None if None in ends else max(end for end in ends if end is not None)
    return Launch(
        launch=first.launch,
        method=first.method,
        width=first.width,
        worker_id=first.worker_id or first.client_id,
        node=first.node,
        device=first.device,
        started_at=began,
        ended_at=ended,
        seconds=None if began is None or ended is None else max((ended - began).total_seconds(), 0.0),
        cost_microdollars=sum(row.cost_microdollars for row in rows),
        lanes=[Lane(**{name: getattr(row, name) for name in Lane.model_fields}) for row in rows],
    )


def methods_answer(chosen: Iterable[tuple[int, datetime, MethodsChosen]]) -> Methods:
    """The newest choice of every structure, in the order in which structures were first met."""
    newest: dict[str, Method] = {}
    lanes: tuple[str, ...] = ()
    for seq, at, event in chosen:
        lanes = event.lanes
        for choice in event.choices:
            fields = {name: getattr(choice, name) for name in ("method", "width", "device", "reason", "source")}
            newest[structure_key(choice.structure, ())] = Method(
                structure=dict(choice.structure), measured=dict(choice.measured), seq=seq, at=at, **fields
            )
    return Methods(lanes=list(lanes), items=list(newest.values()))
