"""What the lanes see in an epoch: each its own order of the rows, augmentation and dropout masks.

Every lane draws from its own streams as the plain loop does, call for call, so its numbers are those that it would see
alone. Rows are gathered on the device in stretches of whole batches, batch after batch in memory, all lanes of a batch
together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.loops.batches import Moves, drawn_moves, moved, planned_rows, rows_drawn_at_once
from workers.loops.lane_storage import LINE
from workers.models.parts import Masks
from workers.streams import Streams

_GATHERED_VALUES = 1 << 22  # of all lanes: at most about 16 MiB of float32 at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """Batches of equal size: `x` and `y` [batches, lanes, rows, …], and each batch's masks."""

    x: Tensor
    y: Tensor
    masks: Sequence[Masks]


class LaneBatches:
    """The batches of one fold's training rows, for lanes of one batch size."""

    def __init__(
        self,
        x: Tensor,
        y: Tensor,
        *,
        streams: Sequence[Streams],
        batch_size: int,
        augmentation: str,
        dropouts: Sequence[float],
        dropout_widths: tuple[int, ...],
    ) -> None:
        self._x, self._y, self._streams = x, y, streams
        self._size, self._rows = planned_rows(len(x), batch_size)
        self._augmentation = augmentation
        self._keeps = [1.0 - rate for rate in dropouts]
        self._widths = dropout_widths if any(dropouts) else ()
        self._width = width = x[0].numel()
        self._drawn = [
            rows_drawn_at_once(self._size, width + (sum(dropout_widths) if rate else 0)) for rate in dropouts
        ]
        masked = (
            min(self._rows, min(d for d, rate in zip(self._drawn, dropouts, strict=True) if rate))
            if self._widths
            else self._rows
        )
        self._span = masked
        self._held: dict[int, Tensor] = {}
        self._gathered = max(1, _GATHERED_VALUES // (width * self._size * len(streams)))
        shape = (len(streams), masked, sum(self._widths))
        self._masks = torch.ones(shape, device=x.device) if self._widths else None

    @property
    def count(self) -> int:
        """Batches per epoch."""
        return -(-self._rows // self._size)

    @property
    def size(self) -> int:
        """Rows per batch; the last batch of an epoch may have fewer."""
        return self._size

    @property
    def rows(self) -> int:
        """Rows per epoch of each lane."""
        return self._rows

    def epoch(self, numbers: Sequence[int]) -> Iterator[Stretch]:
        """The batches of epoch `numbers[lane]` of every lane; a stretch is valid until the next one is asked for."""
        order = self._orders(numbers)
        moves = self._moves(numbers)
        dropping = [s.dropout(n) for s, n in zip(self._streams, numbers, strict=True)] if self._widths else []
        for start in range(0, self._rows, self._span):
            stop = min(start + self._span, self._rows)
            if dropping:
                self._draw_masks(stop - start, dropping)
            for first, last in self._cuts(start, stop):
                yield self._stretch(order, moves, first, last, offset=start)

    def _orders(self, numbers: Sequence[int]) -> Tensor:
        """[lanes, rows], on the device."""
        each = [
            torch.randperm(len(self._x), generator=streams.order(number))[: self._rows]
            for streams, number in zip(self._streams, numbers, strict=True)
        ]
        return torch.stack(each).to(self._x.device)

    def _moves(self, numbers: Sequence[int]) -> Moves | None:
        """[lanes, rows] of each draw, or None."""
        if self._augmentation == "none":
            return None
        each = []
        for streams, number, at_once in zip(self._streams, numbers, self._drawn, strict=True):
            generator = streams.augmentation(number)
            parts = [
                drawn_moves(
                    min(at_once, self._rows - start), self._x.shape[-2:], kind=self._augmentation, generator=generator
                )
                for start in range(0, self._rows, at_once)
            ]
            each.append(Moves.joined(parts, torch.cat))
        return Moves.joined(each, torch.stack).to(self._x.device)

    def _draw_masks(self, rows: int, generators: Sequence[torch.Generator]) -> None:
        assert self._masks is not None
        for lane, (keep, generator) in enumerate(zip(self._keeps, generators, strict=True)):
            if keep < 1.0:
                self._masks[lane, :rows].bernoulli_(keep, generator=generator).div_(keep)

    def _cuts(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Runs of whole batches, the last and smaller batch alone."""
        whole = stop - (stop - start) % self._size
        most = self._gathered * self._size
        for first in range(start, whole, most):
            yield first, min(first + most, whole)
        if whole < stop:
            yield whole, stop

    def _stretch(self, order: Tensor, moves: Moves | None, first: int, last: int, *, offset: int) -> Stretch:
        lanes = len(order)
        size = min(self._size, last - first)
        batches = (last - first) // size

        # A few rows more, so that lanes lie whole lines apart: see lane_storage.
        more = next(n for n in range(LINE) if (size + n) * self._width % LINE == 0)

        def by_batch(values: Tensor) -> Tensor:
            cut = values[:, first:last].reshape(lanes, batches, size).transpose(0, 1)
            return torch.nn.functional.pad(cut, (0, more)).reshape(-1)

        chosen = by_batch(order)
        x = torch.index_select(self._x, 0, chosen, out=self._memory(len(chosen)))
        if moves is not None:
            x = moved(x, moves.each(by_batch))
        return Stretch(
            x=x.view(batches, lanes, size + more, *self._x.shape[1:])[:, :, :size],
            y=self._y.index_select(0, chosen).view(batches, lanes, size + more, *self._y.shape[1:])[:, :, :size],
            masks=self._batch_masks(first - offset, last - offset, size),
        )

    def _memory(self, rows: int) -> Tensor:
        """For that many gathered rows: fresh pages would cost as much as the rows."""
        if rows not in self._held:
            self._held[rows] = torch.empty(rows, *self._x.shape[1:], dtype=self._x.dtype, device=self._x.device)
        return self._held[rows]

    def _batch_masks(self, first: int, last: int, size: int) -> list[Masks]:
        if self._masks is None:
            return [()] * ((last - first) // size)
        batches = torch.split(self._masks[:, first:last], size, dim=1)
        return [torch.split(batch, list(self._widths), dim=2) for batch in batches]
