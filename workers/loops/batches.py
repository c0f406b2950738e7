"""What a network sees in an epoch: rows in a seeded order, augmented, with their dropout masks.

Everything is drawn for stretches of whole batches, on the device, and cut into batches as views.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from workers.streams import Streams

_STRETCH_VALUES = 1 << 22  # at most about 16 MiB of float32 at a time
SHIFT = 8  # images move by at most one eighth of their side (at least one pixel)


def augmented(x: Tensor, *, kind: str, generator: torch.Generator) -> Tensor:
    """Images flipped left to right with probability ½ (`flip`), moved by up to an eighth of their side with the border
    filled by 0 (`shift`), or both (`flip_shift`); draws come from `generator`, on the CPU."""
    rows, _, height, width = x.shape
    if "flip" in kind:
        chosen = (torch.rand(rows, generator=generator) < 0.5).to(x.device)
        x = torch.where(chosen[:, None, None, None], x.flip(-1), x)
    if "shift" in kind:
        reach = max(1, min(height, width) // SHIFT)
        moves = torch.randint(-reach, reach + 1, (2, rows), generator=generator).to(x.device)
        padded = torch.nn.functional.pad(x, (reach, reach, reach, reach))
        down = torch.arange(height, device=x.device) + (reach + moves[0])[:, None]
        across = torch.arange(width, device=x.device) + (reach + moves[1])[:, None]
        row = torch.arange(rows, device=x.device)[:, None, None]
        x = padded[row, :, down[:, :, None], across[:, None, :]].permute(0, 3, 1, 2).contiguous()
    return x


class Batches:
    """The batches of one fold's training rows."""

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        streams: Streams,
        batch_size: int,
        augmentation: str,
        dropout: float,
        dropout_widths: tuple[int, ...],
    ) -> None:
        self._x, self._y, self._streams = x, y, streams
        self._rows = len(x)
        self._size = min(batch_size, self._rows)
        self._augmentation = augmentation
        self._keep = 1.0 - dropout
        self._widths = dropout_widths if dropout > 0 else ()
        if self._rows % self._size == 1 and self._rows > self._size:
            self._rows -= 1  # a batch of one row has no spread to normalise by: leave one (another each epoch) out
        per_row = x[0].numel() + sum(self._widths)
        self._stretch = self._size * max(1, _STRETCH_VALUES // (per_row * self._size))

    @property
    def count(self) -> int:
        """Batches per epoch."""
        return -(-self._rows // self._size)

    @property
    def rows(self) -> int:
        """Rows per epoch."""
        return self._rows

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor, tuple[Tensor, ...]]]:
        """Features, targets and masks of each batch; a pure function of (streams, number)."""
        order = torch.randperm(len(self._x), generator=self._streams.order(number))[: self._rows]
        order = order.to(self._x.device)
        moving = self._streams.augmentation(number) if self._augmentation != "none" else None
        dropping = self._streams.dropout(number) if self._widths else None
        for chosen in torch.split(order, self._stretch):
            x, y = self._x.index_select(0, chosen), self._y.index_select(0, chosen)
            if moving is not None:
                x = augmented(x, kind=self._augmentation, generator=moving)
            cut = zip(torch.split(x, self._size), torch.split(y, self._size), strict=True)
            if dropping is None:
                for xs, ys in cut:
                    yield xs, ys, ()
            else:
                for (xs, ys), masks in zip(cut, self._masks(len(x), dropping), strict=True):
                    yield xs, ys, masks

    def _masks(self, rows: int, generator: torch.Generator) -> Iterator[tuple[Tensor, ...]]:
        """0 for a dropped unit, 1 / (1 - rate) for a kept one (Srivastava et al. 2014, scaled while training)."""
        drawn = torch.empty(rows, sum(self._widths), device=self._x.device)
        drawn.bernoulli_(self._keep, generator=generator).div_(self._keep)
        for part in torch.split(drawn, self._size):
            yield torch.split(part, list(self._widths), dim=1)
