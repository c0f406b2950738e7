"""Lanes of networks over plain features, forward and backward by hand, in batched matrix products.

With small networks, recording a graph costs as much as the arithmetic; here a training step is a dozen calls whatever
the number of lanes, and writes into memory that is there already.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from workers.loops.dense_layers import Layer, layers_of
from workers.loops.lane_memory import Rows, Workspace
from workers.loops.lane_storage import LaneStorage
from workers.models.parts import Masks
from workers.models.steps import Step


class DenseLanes:
    """A LaneNetwork for models that name their steps."""

    def __init__(self, storage: LaneStorage, steps: Sequence[Step]) -> None:
        self._lanes = storage.lanes
        self._workspace = Workspace(storage.lanes, storage.values.flat.device)
        self._layers: tuple[Layer, ...] = layers_of(steps, storage, self._workspace)

    def forward(self, x: Tensor, masks: Masks) -> Tensor:
        """[lanes, rows, …] → [lanes, rows, outputs]; valid until the next call."""
        rows = Rows(x.flatten(2))
        for layer in self._layers:
            rows = layer.forward(rows, masks)
        return rows.view

    def backward(self, gradient: Tensor) -> None:
        """Write all gradients; `gradient` is that of the outputs."""
        rows = self._workspace.aligned(gradient)
        for layer in reversed(self._layers):
            rows = layer.backward(rows)

    @torch.no_grad()
    def evaluate(self, x: Tensor) -> Tensor:
        """[rows, …] → [lanes, rows, outputs]."""
        rows = Rows(x.flatten(1).expand(self._lanes, -1, -1))
        for layer in self._layers:
            rows = layer.evaluate(rows)
        return rows.view
