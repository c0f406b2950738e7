"""What the fused loop asks of a network whose lanes it trains, and which one serves which model."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from workers.loops.dense_lanes import DenseLanes
from workers.loops.dense_layers import trainable_by_hand
from workers.loops.lane_storage import LaneStorage
from workers.loops.products import by_numpy
from workers.loops.vmapped import VmappedLanes
from workers.models.parts import Masks, Network
from workers.models.steps import Affine, Step


class LaneNetwork(Protocol):
    """Guarantees: a lane's numbers depend on nothing but its own rows, masks, parameters and buffers, and, at equal
    number of lanes, on its place not at all, to the bit."""

    def forward(self, x: Tensor, masks: Masks) -> Tensor:
        """[lanes, rows, …] → [lanes, rows, outputs], in training mode; valid until the next call."""
        ...

    def backward(self, gradient: Tensor) -> None:
        """Write the gradients of all parameters, from that of the last `forward`'s outputs."""
        ...

    def evaluate(self, x: Tensor) -> Tensor:
        """[rows, …], the same for all lanes → [lanes, rows, outputs], in evaluation mode."""
        ...


def lane_network(storage: LaneStorage) -> LaneNetwork:
    """By hand where the model says what its steps are; through autograd and vmap for any other."""
    steps = steps_of(storage.template)
    return VmappedLanes(storage) if steps is None else DenseLanes(storage, steps)


def turned_weights(module: nn.Module) -> tuple[str, ...]:
    """The weights that lie column by column, where numpy's library multiplies: those by which the rows of the data are
    multiplied. No gradient goes back through them, and the two products that there are go faster so."""
    steps = steps_of(module) if by_numpy() else None
    return (f"{steps[0].name}.weight",) if steps and isinstance(steps[0], Affine) else ()


def steps_of(module: nn.Module) -> tuple[Step, ...] | None:
    """What a model says of its steps; None for a module that says nothing, or steps that nothing here can do."""
    steps = module.steps() if isinstance(module, Network) else None
    return steps if steps and trainable_by_hand(steps, module) else None
