"""How much memory a lane takes, roughly: what bounds the width of a program on a GPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from workers.loops.batches import planned_rows, rows_drawn_at_once
from workers.loops.optimisers import RULES
from workers.loops.single import Task

_FLOAT = 4
_STATES = {"sgd": 1, "adagrad": 1, "rmsprop": 2, "adam": 2}  # vectors of the length of the parameters, at most


def lane_bytes(task: Task) -> int:
    """Bytes per lane: weights, gradients, optimiser state and buffers; what a training step keeps, and its gradients; a
    batch of rows and the dropout masks that are drawn at once. Memory that all lanes share (the data) is not in it."""
    fold, params = task.data.folds[0], task.params
    model = task.build(fold, torch.Generator())
    size, rows = planned_rows(len(fold.x_train), int(params["batch_size"]))
    numbers = sum(p.numel() for p in model.parameters())
    buffers = sum(b.numel() for b in model.buffers())
    row = fold.x_train[0].numel()
    widths = sum(model.dropout_widths)
    masks = widths * min(rows, rows_drawn_at_once(size, row + widths))
    states = _STATES[RULES[str(params["optimizer"])]]
    working = 2 * size * values_kept_per_row(model, fold.x_train[:0].cpu())
    return _FLOAT * ((2 + states) * numbers + 2 * buffers + working + size * row + masks)


def values_kept_per_row(model: nn.Module, x: Tensor) -> int:
    """Numbers that a forward pass keeps for its backward pass, per row of `x`; on their device."""
    kept: dict[int, int] = {}

    def keep(value: Tensor) -> Tensor:
        kept[value.data_ptr()] = value.numel()
        return value.detach()  # an output that its own graph holds on to would never be freed

    def back(value: Any) -> Any:
        return value

    own = {p.data_ptr() for p in (*model.parameters(), *model.buffers())}
    rows = x.new_zeros(2, *x.shape[1:])
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, back):
        out = model(rows)
    held = sum(numbers for place, numbers in kept.items() if place not in own)
    return max(1, (held + int(out.numel())) // 2)
