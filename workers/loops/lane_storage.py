"""Where the numbers of lanes lie: parameters, gradients, optimiser state and buffers of networks of equal structure.

Each parameter is one block [lanes, numbers], so that matrix products write whole blocks and a lane's settings
([lanes, 1]) broadcast over them; all blocks together are one flat vector, for what treats every number alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

VECTOR = 32  # numbers that the CPU's elementwise loops take at a time; what is left over may round otherwise
LINE = 16  # numbers in 64 bytes: matrix products may round otherwise where operands lie differently against these


def whole_vectors(numbers: int) -> int:
    """`numbers`, rounded up to whole vectors."""
    return -(-numbers // VECTOR) * VECTOR


def whole_lines(numbers: int) -> int:
    """`numbers`, rounded up to whole lines: so far apart, all lanes lie alike."""
    return -(-numbers // LINE) * LINE


class Blocks:
    """Blocks [lanes, n] for every n of `sizes`, all within `flat` (what lies between them means nothing)."""

    def __init__(self, sizes: Sequence[int], lanes: int, *, device: str | torch.device) -> None:
        self.sizes, self.lanes = tuple(sizes), lanes
        starts = [0]
        for size in sizes:
            starts.append(starts[-1] + whole_vectors(lanes * whole_lines(size)))
        self.flat = torch.zeros(starts[-1], device=device)
        self.each = [
            self.flat.as_strided((lanes, size), (whole_lines(size), 1), start)
            for start, size in zip(starts, sizes, strict=False)
        ]

    def like(self) -> Blocks:
        """Zeros of the same layout."""
        return Blocks(self.sizes, self.lanes, device=self.flat.device)

    def lane(self, lane: int) -> Tensor:
        """A copy of one lane's numbers, [P]: in the order and layout of the plain loop."""
        return torch.cat([block[lane] for block in self.each])

    def set_lane(self, lane: int, values: Tensor | None) -> None:
        """Inverse of `lane`; None for zeros."""
        if values is None:
            for block in self.each:
                block[lane] = 0.0
            return
        for block, part in zip(self.each, torch.split(values, list(self.sizes)), strict=True):
            block[lane] = part.to(block.device)


class LaneStorage:
    """The stacked parameters, gradients and buffers of `modules`, which must be of equal structure.

    `template` is the first module; its own numbers mean nothing afterwards.
    """

    def __init__(self, modules: Iterable[nn.Module], *, lanes: int, device: str) -> None:
        each = iter(modules)
        self.template = next(each)
        self.lanes = lanes
        named = dict(self.template.named_parameters())
        self._shapes = {name: tuple(value.shape) for name, value in named.items()}
        blocks = Blocks([math.prod(shape) for shape in self._shapes.values()], lanes, device="cpu")
        buffers = {n: torch.empty(lanes, *b.shape, dtype=b.dtype) for n, b in self.template.named_buffers()}
        for lane, module in enumerate([self.template, *each]):
            for block, parameter in zip(blocks.each, module.parameters(), strict=True):
                block[lane] = parameter.detach().reshape(-1)
            for name, buffer in module.named_buffers():
                buffers[name][lane] = buffer
        self.values = Blocks(blocks.sizes, lanes, device=device)
        self.values.flat.copy_(blocks.flat)
        self.grads = self.values.like()
        self.buffers = {name: buffer.to(device) for name, buffer in buffers.items()}
        self.template.to(device)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """Name → [lanes, *shape], views."""
        return self._shaped(self.values)

    @property
    def gradients(self) -> dict[str, Tensor]:
        """Name → [lanes, *shape], views."""
        return self._shaped(self.grads)

    def _shaped(self, blocks: Blocks) -> dict[str, Tensor]:
        shapes = self._shapes.items()
        return {name: block.view(self.lanes, *shape) for (name, shape), block in zip(shapes, blocks.each, strict=True)}

    def _stored(self) -> dict[str, Tensor]:
        """What a module's state_dict holds, by its names (one tensor may have several), stacked."""
        mine = {id(p): self.parameters[name] for name, p in self.template.named_parameters()}
        mine |= {id(b): self.buffers[name] for name, b in self.template.named_buffers()}
        return {name: mine[id(value)] for name, value in self.template.state_dict(keep_vars=True).items()}

    def state_dict(self, lane: int) -> dict[str, Tensor]:
        """What the lane's own module would give."""
        return {name: value[lane].clone() for name, value in self._stored().items()}

    def load_state_dict(self, lane: int, stored: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        for name, value in self._stored().items():
            value[lane] = stored[name].to(value.device)
