"""Lanes of any network: its own `forward`, mapped over stacked parameters, with one recorded graph for all lanes.

On a CPU some operations round a number by where it lies in memory (see `placement`). Batches of a size at which that
would happen are worked through lane by lane instead: as slow as training one by one, and as exact.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.func import functional_call, vmap

from workers.loops import placement
from workers.loops.lane_storage import LINE, LaneStorage
from workers.models.parts import Masks


class VmappedLanes:
    """A LaneNetwork for modules that `torch.func.vmap` can map: no random draws of their own, no branches on values."""

    def __init__(self, storage: LaneStorage) -> None:
        self._storage = storage
        self._mapped, self._looped = _Mapped(storage), _Looped(storage)
        self._chosen: dict[tuple[int, bool], _Way] = {}
        self._last: _Way = self._mapped

    def forward(self, x: Tensor, masks: Masks) -> Tensor:
        """[lanes, rows, …] → [lanes, rows, outputs]."""
        self._storage.template.train()
        self._last = self._way(x, masks, training=True)
        return self._last.forward(x, masks)

    def backward(self, gradient: Tensor) -> None:
        """Through the graph of the last `forward`."""
        self._last.backward(gradient)

    @torch.no_grad()
    def evaluate(self, x: Tensor) -> Tensor:
        """[rows, …] → [lanes, rows, outputs]."""
        self._storage.template.eval()
        rows = len(x)
        x = torch.cat([x, x.new_zeros(-rows % LINE, *x.shape[1:])])  # whole lines, at which lanes are treated alike
        x = x.expand(self._storage.lanes, *x.shape)
        return self._way(x, (), training=False).evaluate(x)[:, :rows]

    def mapped(self, rows: int) -> bool:
        """True where training batches of `rows` rows are worked through all lanes at once; known after the first."""
        return self._chosen[rows, True] is self._mapped

    def _way(self, x: Tensor, masks: Masks, *, training: bool) -> _Way:
        key = (x.shape[1], training)
        if key not in self._chosen:
            alike = x.device.type != "cpu" or self._alike(x, masks, training=training)
            self._chosen[key] = self._mapped if alike else self._looped
        return self._chosen[key]

    def _alike(self, x: Tensor, masks: Masks, *, training: bool) -> bool:
        """True where a batch of this size, tried once, treats all lanes alike."""
        kept = {name: buffer.clone() for name, buffer in self._storage.buffers.items()}
        with placement.Watch() as watch:
            if training:
                out = self._mapped.forward(x, masks)
                self._mapped.backward(torch.zeros_like(out))
            else:
                self._mapped.evaluate(x)
        for name, buffer in self._storage.buffers.items():
            buffer.copy_(kept[name])
        alike: bool = watch.alike
        return alike


class _Way(Protocol):
    """How a batch is worked through."""

    def forward(self, x: Tensor, masks: Masks) -> Tensor: ...

    def backward(self, gradient: Tensor) -> None: ...

    def evaluate(self, x: Tensor) -> Tensor: ...


class _Mapped:
    """All lanes at once."""

    def __init__(self, storage: LaneStorage) -> None:
        self._model, self._buffers = storage.template, storage.buffers
        self._values = {name: value.detach() for name, value in storage.parameters.items()}
        self._trained = _trained(storage)
        self._grads = [storage.gradients[name] for name in self._trained]
        self._leaves = [self._values[name].requires_grad_() for name in self._trained]
        self._out: Tensor | None = None

    def forward(self, x: Tensor, masks: Masks) -> Tensor:
        with torch.enable_grad():
            self._out = self._call(x, masks)
        return self._out.detach()

    def backward(self, gradient: Tensor) -> None:
        assert self._out is not None
        _differentiate(self._out, gradient, self._leaves, self._grads)
        self._out = None

    def evaluate(self, x: Tensor) -> Tensor:
        return self._call(x, ())

    def _call(self, x: Tensor, masks: Masks) -> Tensor:
        def one(values: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, masks: Masks) -> Any:
            return functional_call(self._model, (values, buffers), (x, masks) if masks else (x,))

        out: Tensor = vmap(one, in_dims=(0, 0, 0, 0 if masks else None))(self._values, self._buffers, x, masks)
        return out


class _Looped:
    """One lane after the other."""

    def __init__(self, storage: LaneStorage) -> None:
        self._model = storage.template
        names = _trained(storage)
        lanes = range(storage.lanes)
        self._buffers = [{name: buffer[lane] for name, buffer in storage.buffers.items()} for lane in lanes]
        self._values = [{name: v.detach()[lane] for name, v in storage.parameters.items()} for lane in lanes]
        self._leaves = [[values[name].requires_grad_() for name in names] for values in self._values]
        self._grads = [[storage.gradients[name][lane] for name in names] for lane in lanes]
        self._outs: list[Tensor] = []

    def forward(self, x: Tensor, masks: Masks) -> Tensor:
        with torch.enable_grad():
            self._outs = [self._call(lane, x, masks) for lane in range(len(x))]
        return torch.stack([out.detach() for out in self._outs])

    def backward(self, gradient: Tensor) -> None:
        for out, own, leaves, grads in zip(self._outs, gradient, self._leaves, self._grads, strict=True):
            _differentiate(out, own.clone(), leaves, grads)  # in memory that lies alike for every lane
        self._outs = []

    def evaluate(self, x: Tensor) -> Tensor:
        return torch.stack([self._call(lane, x, ()) for lane in range(len(x))])

    def _call(self, lane: int, x: Tensor, masks: Masks) -> Tensor:
        given = (x[lane], tuple(mask[lane] for mask in masks)) if masks else (x[lane],)
        out: Tensor = functional_call(self._model, (self._values[lane], self._buffers[lane]), given)
        return out


def _trained(storage: LaneStorage) -> list[str]:
    return [name for name, value in storage.template.named_parameters() if value.requires_grad]


def _differentiate(out: Tensor, gradient: Tensor, leaves: list[Tensor], into: list[Tensor]) -> None:
    found = torch.autograd.grad(out, leaves, gradient, allow_unused=True)
    for grads, value in zip(into, found, strict=True):
        if value is None:
            grads.zero_()
        else:
            grads.copy_(value)
