"""Where the numbers of lanes lie: parameters, gradients, optimiser state and buffers of networks of equal structure.

Each parameter is one block [lanes, numbers], so that matrix products write whole blocks and a lane's settings
([lanes, 1]) broadcast over them; all blocks together are one flat vector, for what treats every number alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

VECTOR = 32  # numbers that the CPU's elementwise loops take at a time; what is left over may round otherwise
LINE = 16  # numbers in 64 bytes: matrix products may round otherwise where operands lie differently against these


Shape = tuple[int, ...]


def whole_vectors(numbers: int) -> int:
    """`numbers`, rounded up to whole vectors."""
    return -(-numbers // VECTOR) * VECTOR


def whole_lines(numbers: int) -> int:
    """`numbers`, rounded up to whole lines: so far apart, all lanes lie alike."""
    return -(-numbers // LINE) * LINE


class Blocks:
    """Blocks [lanes, n] for every shape of n numbers, all within `flat` (what lies between them means nothing). Those
    whose index is in `turned`, matrices, lie column by column."""

    def __init__(
        self, shapes: Sequence[Shape], lanes: int, *, device: str | torch.device, turned: Collection[int] = ()
    ) -> None:
        self.shapes, self.lanes, self._turned = tuple(shapes), lanes, frozenset(turned)
        sizes = [math.prod(shape) for shape in shapes]
        starts = [0]
        for size in sizes:
            starts.append(starts[-1] + whole_vectors(lanes * whole_lines(size)))
        self.flat = torch.zeros(starts[-1], device=device)
        self.each = [
            self.flat.as_strided((lanes, size), (whole_lines(size), 1), start)
            for size, start in zip(sizes, starts, strict=False)
        ]

    def like(self, *, device: str | torch.device | None = None) -> Blocks:
        """Zeros of the same layout."""
        return Blocks(self.shapes, self.lanes, device=device or self.flat.device, turned=self._turned)

    def shaped(self, index: int) -> Tensor:
        """Block `index` as [lanes, *shape], a view."""
        shape, block = self.shapes[index], self.each[index]
        if index in self._turned:
            return block.view(self.lanes, *shape[::-1]).transpose(1, 2)
        return block.view(self.lanes, *shape)

    def lane(self, lane: int) -> Tensor:
        """A copy of one lane's numbers, [P]: in the order and layout of the plain loop."""
        return torch.cat([self.shaped(index)[lane].reshape(-1) for index in range(len(self.each))])

    def set_lane(self, lane: int, values: Tensor | None) -> None:
        """Inverse of `lane`; None for zeros."""
        if values is None:
            for block in self.each:
                block[lane] = 0.0
            return
        parts = torch.split(values, [math.prod(shape) for shape in self.shapes])
        for index, (shape, part) in enumerate(zip(self.shapes, parts, strict=True)):
            self.shaped(index)[lane] = part.view(shape).to(self.flat.device)


class LaneStorage:
    """The stacked parameters, gradients and buffers of `modules`, which must be of equal structure.

    `template` is the first module; its own numbers mean nothing afterwards. `turned` names those weights of a module
    that are to lie column by column. `parameters` and `gradients`: name → [lanes, *shape], views.
    """

    def __init__(
        self,
        modules: Iterable[nn.Module],
        *,
        lanes: int,
        device: str,
        turned: Callable[[nn.Module], Collection[str]] = lambda _: (),
    ) -> None:
        each = iter(modules)
        self.template = next(each)
        self.lanes = lanes
        named = dict(self.template.named_parameters())
        names = turned(self.template)
        columns = [index for index, name in enumerate(named) if name in names]
        blocks = Blocks([tuple(value.shape) for value in named.values()], lanes, device="cpu", turned=columns)
        places = [blocks.shaped(index) for index in range(len(named))]
        buffers = {n: torch.empty(lanes, *b.shape, dtype=b.dtype) for n, b in self.template.named_buffers()}
        for lane, module in enumerate([self.template, *each]):
            for place, parameter in zip(places, module.parameters(), strict=True):
                place[lane] = parameter.detach()
            for name, buffer in module.named_buffers():
                buffers[name][lane] = buffer
        self.values = blocks.like(device=device)
        self.values.flat.copy_(blocks.flat)
        self.grads = self.values.like()
        self.buffers = {name: buffer.to(device) for name, buffer in buffers.items()}
        self.template.to(device)
        self.parameters = {name: self.values.shaped(index) for index, name in enumerate(named)}
        self.gradients = {name: self.grads.shaped(index) for index, name in enumerate(named)}

    def _stored(self) -> dict[str, Tensor]:
        """What a module's state_dict holds, by its names (one tensor may have several), stacked."""
        mine = {id(p): self.parameters[name] for name, p in self.template.named_parameters()}
        mine |= {id(b): self.buffers[name] for name, b in self.template.named_buffers()}
        return {name: mine[id(value)] for name, value in self.template.state_dict(keep_vars=True).items()}

    def state_dict(self, lane: int) -> dict[str, Tensor]:
        """What the lane's own module would give."""
        plain = torch.contiguous_format
        return {name: value[lane].clone(memory_format=plain) for name, value in self._stored().items()}

    def load_state_dict(self, lane: int, stored: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        for name, value in self._stored().items():
            value[lane] = stored[name].to(value.device)
