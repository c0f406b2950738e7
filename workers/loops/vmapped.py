"""Lanes of any network: its own `forward`, mapped over stacked parameters, with one recorded graph for all lanes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from workers.loops.lane_storage import LaneStorage
from workers.models.parts import Masks


class VmappedLanes:
    """A LaneNetwork for modules that `torch.func.vmap` can map: no random draws of their own, no branches on values."""

    def __init__(self, storage: LaneStorage) -> None:
        self._model, self._buffers = storage.template, storage.buffers
        self._values = {name: value.detach() for name, value in storage.parameters.items()}
        self._grads = storage.gradients
        trained = {name for name, value in self._model.named_parameters() if value.requires_grad}
        self._trained = [name for name in self._values if name in trained]
        for name in self._trained:
            self._values[name].requires_grad_()
        self._out: Tensor | None = None

    def forward(self, x: Tensor, masks: Masks) -> Tensor:
        """[lanes, rows, …] → [lanes, rows, outputs]."""
        self._model.train()
        with torch.enable_grad():
            self._out = self._mapped(x, masks, rows=0)
        return self._out.detach()

    def backward(self, gradient: Tensor) -> None:
        """Through the graph of the last `forward`."""
        assert self._out is not None
        inputs = [self._values[name] for name in self._trained]
        found = torch.autograd.grad(self._out, inputs, gradient, allow_unused=True)
        self._out = None
        for name, value in zip(self._trained, found, strict=True):
            if value is None:
                self._grads[name].zero_()
            else:
                self._grads[name].copy_(value)

    @torch.no_grad()
    def evaluate(self, x: Tensor) -> Tensor:
        """[rows, …] → [lanes, rows, outputs]."""
        self._model.eval()
        return self._mapped(x, (), rows=None)

    def _mapped(self, x: Tensor, masks: Masks, *, rows: int | None) -> Tensor:
        def one(values: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, masks: Masks) -> Any:
            return functional_call(self._model, (values, buffers), (x, masks) if masks else (x,))

        mapped = vmap(one, in_dims=(0, 0, rows, 0 if masks else None))
        out: Tensor = mapped(self._values, self._buffers, x, masks)
        return out
