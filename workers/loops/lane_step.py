"""A training step of all lanes: what the device does with one batch, and nothing else.

Nothing here counts, decides or hangs on anything but the tensors handed in and the lanes' own memory, which stays where
it is: a step can be recorded once and replayed (see `recorded_steps`). What the host keeps of a step is kept by whoever
calls.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from workers.loops.lane_losses import LaneLoss
from workers.loops.lane_networks import LaneNetwork
from workers.loops.lane_optimisers import LaneClipping, LaneOptimiser, Now
from workers.models.parts import Masks


@dataclass(frozen=True, kw_only=True)
class LaneStep:
    """Forward, backward, clipping, and a step of the optimiser."""

    network: LaneNetwork
    loss: LaneLoss
    clip: LaneClipping
    optimiser: LaneOptimiser

    def __call__(self, x: Tensor, masks: Masks, target: Tensor, now: Now) -> Tensor:
        """Train on rows [lanes, rows, …] with prepared targets; the outputs before the step, [lanes, outputs, rows],
        valid until the next."""
        out = self.network.forward(x, masks).movedim(1, -1).contiguous()
        self.network.backward(self.loss.gradient(out, target).movedim(-1, 1))
        self.clip()
        self.optimiser.step(now)
        return out
