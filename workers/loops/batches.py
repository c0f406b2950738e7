"""What a network sees in an epoch: rows in a seeded order, augmented, with their dropout masks.

Everything is drawn for stretches of whole batches, on the device, and cut into batches as views.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.streams import Streams

_STRETCH_VALUES = 1 << 22  # at most about 16 MiB of float32 at a time
SHIFT = 8  # images move by at most one eighth of their side (at least one pixel)


def planned_rows(rows: int, batch_size: int) -> tuple[int, int]:
    """Rows of a batch, and of an epoch. A last batch of one row has no spread to normalise by: that row (another each
    epoch) is left out."""
    size = min(batch_size, rows)
    return size, rows - 1 if rows % size == 1 and rows > size else rows


def rows_drawn_at_once(size: int, values_per_row: int) -> int:
    """Rows of a stretch: whole batches of `size`, and as many as memory allows. Draws hang on it: never change it."""
    return size * max(1, _STRETCH_VALUES // (values_per_row * size))


@dataclass(frozen=True, kw_only=True, slots=True)
class Moves:
    """How images are augmented: which are `flipped` ([…, rows] of bool), how far each moves `down` and `across` (from 0
    to 2 · `reach` pixels; at `reach` it stays where it is). None for what a kind leaves as it is."""

    reach: int
    flipped: Tensor | None
    down: Tensor | None
    across: Tensor | None

    def each(self, change: Callable[[Tensor], Tensor]) -> Moves:
        """The same change made to all draws."""
        parts = (self.flipped, self.down, self.across)
        flipped, down, across = (None if part is None else change(part) for part in parts)
        return Moves(reach=self.reach, flipped=flipped, down=down, across=across)

    def to(self, device: torch.device) -> Moves:
        """On another device."""
        return self.each(lambda part: part.to(device))

    @staticmethod
    def joined(parts: Sequence[Moves], join: Callable[[list[Tensor]], Tensor]) -> Moves:
        """Several as one, their draws joined by `torch.cat` or `torch.stack`."""

        def together(each: list[Tensor | None]) -> Tensor | None:
            found = [part for part in each if part is not None]
            return join(found) if found else None

        return Moves(
            reach=parts[0].reach,
            flipped=together([part.flipped for part in parts]),
            down=together([part.down for part in parts]),
            across=together([part.across for part in parts]),
        )


def drawn_moves(rows: int, sides: Sequence[int], *, kind: str, generator: torch.Generator) -> Moves:
    """Flips from left to right with probability ½ (`flip`), moves by up to an eighth of the smaller side (`shift`), or
    both (`flip_shift`), for `rows` images of `sides` (height, width); drawn on the CPU."""
    reach = max(1, min(sides) // SHIFT)
    flipped = torch.rand(rows, generator=generator) < 0.5 if "flip" in kind else None
    if "shift" not in kind:
        return Moves(reach=reach, flipped=flipped, down=None, across=None)
    down, across = torch.randint(-reach, reach + 1, (2, rows), generator=generator) + reach
    return Moves(reach=reach, flipped=flipped, down=down, across=across)


def moved(x: Tensor, moves: Moves) -> Tensor:
    """Images ([rows, channels, height, width]) as `moves` (on their device) say; what moves in from the border is 0."""
    rows, _, height, width = x.shape
    if moves.flipped is not None:
        x = torch.where(moves.flipped[:, None, None, None], x.flip(-1), x)
    if moves.down is not None and moves.across is not None:
        reach = moves.reach
        padded = torch.nn.functional.pad(x, (reach, reach, reach, reach))
        down = torch.arange(height, device=x.device) + moves.down[:, None]
        across = torch.arange(width, device=x.device) + moves.across[:, None]
        row = torch.arange(rows, device=x.device)[:, None, None]
        x = padded[row, :, down[:, :, None], across[:, None, :]].permute(0, 3, 1, 2).contiguous()
    return x


def augmented(x: Tensor, *, kind: str, generator: torch.Generator) -> Tensor:
    """Images moved as `generator` draws."""
    return moved(x, drawn_moves(len(x), x.shape[-2:], kind=kind, generator=generator).to(x.device))


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
        self._size, self._rows = planned_rows(len(x), batch_size)
        self._augmentation = augmentation
        self._keep = 1.0 - dropout
        self._widths = dropout_widths if dropout > 0 else ()
        self._stretch = rows_drawn_at_once(self._size, x[0].numel() + sum(self._widths))

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
