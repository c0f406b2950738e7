"""The memory that lanes by hand work in: written again at every batch, and lying alike for every lane."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from workers.loops.lane_storage import LINE, whole_lines, whole_vectors


class Rows:
    """[lanes, rows, width] and, where it lies in memory of ours, that memory as one vector of whole CPU vectors: the
    last few numbers of a loop are computed by other code, which rounds otherwise, and those would be a lane's."""

    __slots__ = ("flat", "view")

    def __init__(self, view: Tensor, flat: Tensor | None = None) -> None:
        self.view = view
        self.flat = view if flat is None else flat


class Workspace:
    """Makes memory for `lanes` lanes."""

    def __init__(self, lanes: int, device: torch.device) -> None:
        self._lanes, self._device = lanes, device

    def rows(self, rows: int, width: int, *, across: bool = False) -> Rows:
        """Memory for [lanes, rows, width], feature by feature where it lies `across`; holds anything."""
        apart = whole_lines(rows * width)
        numbers = whole_vectors(self._lanes * apart)
        flat = (
            torch.empty(numbers, device=self._device)
            if apart == rows * width
            else torch.zeros(numbers, device=self._device)
        )
        if across:
            return Rows(flat.as_strided((self._lanes, width, rows), (apart, rows, 1)).mT, flat)
        return Rows(flat.as_strided((self._lanes, rows, width), (apart, width, 1)), flat)

    def aligned(self, values: Tensor) -> Rows:
        """[lanes, rows, width] that came from elsewhere, copied where its lanes do not lie alike."""
        if values.stride(0) % LINE == 0:
            return Rows(values)
        kept = self.rows(values.shape[1], values.shape[2], across=values.stride(2) != 1)
        kept.view.copy_(values)
        return kept


class Kept:
    """Memory of one width, made at the first batch of a size and used again for every other of it."""

    def __init__(self, workspace: Workspace, width: int, *, across: bool = False) -> None:
        self._make = partial(workspace.rows, width=width, across=across)
        self._held: dict[int, Rows] = {}

    def at(self, rows: int) -> Rows:
        """The memory for batches of `rows` rows."""
        if rows not in self._held:
            self._held[rows] = self._make(rows)
        return self._held[rows]
