"""Losses of lanes: their gradients by hand, and the metrics of an epoch, gathered without waiting for the device.

Outputs are handed in as [lanes, outputs, rows] here: what works over the few outputs runs along the many rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor
from torch.func import vmap

from workers.loops import placement
from workers.loops.single import RowLoss, Task, row_values


class LaneLoss(Protocol):
    """The loss that the lanes are trained by."""

    def prepared(self, y: Tensor) -> Tensor:
        """Targets of a stretch, [batches, lanes, rows], in the form that `gradient` takes, batch by batch."""
        ...

    def gradient(self, out: Tensor, target: Tensor) -> Tensor:
        """That of the mean over a batch's rows, by the outputs [lanes, outputs, rows]; a tensor of its own."""
        ...

    def totals(self, out: Tensor, y: Tensor, *, smoothed: bool) -> Tensor:
        """[quantities, lanes], summed over the rows of [lanes, outputs, rows]; `y` is [lanes, rows], or [1, rows] where
        all lanes share it; `smoothed` in training only."""
        ...

    def metrics(self, totals: Tensor, rows: int) -> list[Tensor]:
        """From such sums over `rows` rows to what is reported, [lanes] each."""
        ...


class CrossEntropy:
    """With the label smoothing of each lane: (1 - s) · one-hot + s / classes."""

    def __init__(self, smoothing: Sequence[float], *, classes: int, device: str) -> None:
        self._classes = classes
        self._smooth = any(smoothing)
        self._amount = torch.tensor(smoothing, device=device)[:, None]

    def prepared(self, y: Tensor) -> Tensor:
        """-1 / rows of the distributions that outputs should have, [batches, lanes, classes, rows]."""
        batches, lanes, rows = y.shape
        target = torch.zeros(batches, lanes, self._classes, rows, device=y.device)
        target.scatter_(2, y.unsqueeze(2), -1.0 / rows)
        if self._smooth:
            amount = self._amount[:, :, None]
            target.mul_(1.0 - amount).sub_(amount / (self._classes * rows))
        return target

    def gradient(self, out: Tensor, target: Tensor) -> Tensor:
        """(softmax - what it should be) / rows."""
        found = torch.softmax(out, 1)
        return torch.add(target, found, alpha=1.0 / out.shape[2], out=found)

    def totals(self, out: Tensor, y: Tensor, *, smoothed: bool) -> Tensor:
        """Loss, rows classified rightly."""
        logs = torch.log_softmax(out, 1)
        loss = -logs.gather(1, y.unsqueeze(1).expand(len(out), 1, -1)).squeeze(1)
        if smoothed and self._smooth:
            mixed = loss * (1.0 - self._amount) - logs.mean(1) * self._amount
            loss = torch.where(self._amount > 0, mixed, loss)
        return torch.stack([loss, _right(out, y).float()]).sum(-1, dtype=torch.float64)

    def metrics(self, totals: Tensor, rows: int) -> list[Tensor]:
        """Loss and accuracy of each lane."""
        return list(totals / rows)


def _right(out: Tensor, y: Tensor) -> Tensor:
    """Whether the class of each row, `y`, has the greatest of its outputs, [lanes, classes, rows]; the first of several
    that are equal. On a CPU greatest values are found many times as fast as where they are."""
    if out.device.type == "cpu":
        index = y.unsqueeze(1).expand(len(out), 1, -1)
        own, others = out.gather(1, index), out.scatter(1, index, -torch.inf).amax(1, keepdim=True)
        if not torch.eq(own, others).any():
            return own.gt_(others).squeeze(1)
    return out.max(1).indices == y  # far faster than argmax over this dimension


class SquaredError:
    """Of one output; `scale` turns errors into the target's unit."""

    def __init__(self, scale: float) -> None:
        self._scale = scale

    def prepared(self, y: Tensor) -> Tensor:
        """As they are."""
        return y

    def gradient(self, out: Tensor, target: Tensor) -> Tensor:
        """2 (out - target) / rows."""
        return (out.flatten(1) - target).mul_(2.0 / out.shape[-1]).view_as(out)

    def totals(self, out: Tensor, y: Tensor, *, smoothed: bool) -> Tensor:
        """Squared error, targets, squared targets (for their variance)."""
        y = y.double().expand(len(out), -1)
        return torch.stack([(out.flatten(1) - y).square_(), y, y.square()]).sum(-1)

    def metrics(self, totals: Tensor, rows: int) -> list[Tensor]:
        """Loss, root mean squared error in the target's unit and R² of each lane."""
        error, mean, square = totals / rows
        spread = (square - mean.square()).clamp_min(1e-12)
        return [error, error.sqrt() * self._scale, 1.0 - error / spread]


class OwnLoss:
    """A user's own, by autograd."""

    def __init__(self, function: RowLoss) -> None:
        self._function = _ByLane(function)

    def prepared(self, y: Tensor) -> Tensor:
        """As they are."""
        return y

    def gradient(self, out: Tensor, target: Tensor) -> Tensor:
        """Of the mean over rows."""
        return self._function.gradient(out, target).div_(out.shape[-1])

    def totals(self, out: Tensor, y: Tensor, *, smoothed: bool) -> Tensor:
        """Loss."""
        return self._function.sums(out, y)

    def metrics(self, totals: Tensor, rows: int) -> list[Tensor]:
        """Loss of each lane."""
        return list(totals / rows)


class Scored:
    """A loss, and scores measured beside it."""

    def __init__(self, loss: LaneLoss, scores: Mapping[str, RowLoss]) -> None:
        self._loss, self._scores = loss, [_ByLane(score) for score in scores.values()]
        self.prepared, self.gradient = loss.prepared, loss.gradient

    def totals(self, out: Tensor, y: Tensor, *, smoothed: bool) -> Tensor:
        """Those of the loss, then one per score."""
        scores = [score.sums(out, y) for score in self._scores]
        return torch.cat([self._loss.totals(out, y, smoothed=smoothed), *scores])

    def metrics(self, totals: Tensor, rows: int) -> list[Tensor]:
        """Those of the loss, then the scores' means."""
        own = len(totals) - len(self._scores)
        return [*self._loss.metrics(totals[:own], rows), *(totals[own:] / rows)]


def lane_loss(tasks: Sequence[Task], *, fold: int) -> LaneLoss:
    """What tasks of equal structure are trained by and measured with."""
    first = tasks[0]
    loss: LaneLoss
    if first.loss is not None:
        loss = OwnLoss(first.loss)
    elif first.data.regression:
        loss = SquaredError(first.data.target_scale[fold])
    else:
        smoothing = [float(task.params["label_smoothing"]) for task in tasks]
        loss = CrossEntropy(smoothing, classes=first.data.classes, device=first.device)
    return Scored(loss, first.scores) if first.scores else loss


class _ByLane:
    """A user's row function over all lanes at once; lane by lane on a CPU at sizes at which lanes would not be treated
    alike (see `placement`)."""

    def __init__(self, function: RowLoss) -> None:
        self._function = function
        self._alike: dict[tuple[object, ...], bool] = {}

    def sums(self, out: Tensor, y: Tensor) -> Tensor:
        """[1, lanes], over the rows of outputs [lanes, …, rows] and targets [lanes, rows, …], or [1, rows, …]."""
        return self._way(self._sums, out, y)[None]

    def gradient(self, out: Tensor, y: Tensor) -> Tensor:
        """Of each lane's sum over rows, by its outputs."""
        return self._way(self._gradient, out, y)

    def _way(self, work: Callable[[Tensor, Tensor], Tensor], out: Tensor, y: Tensor) -> Tensor:
        y = y.expand(len(out), *y.shape[1:])
        key = (work, out.shape)
        if key not in self._alike:
            with placement.Watch() as watch:
                work(out, y)
            self._alike[key] = out.device.type != "cpu" or watch.alike
        if self._alike[key]:
            return work(out, y)
        return torch.cat([work(out[lane, None].clone(), y[lane, None].clone()) for lane in range(len(out))])

    def _sums(self, out: Tensor, y: Tensor) -> Tensor:
        return self._values(out, y).sum(-1, dtype=torch.float64)

    def _gradient(self, out: Tensor, y: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = out.detach().requires_grad_()
            total = self._values(leaf, y).sum()
        (found,) = torch.autograd.grad(total, leaf)
        return found

    def _values(self, out: Tensor, y: Tensor) -> Tensor:
        values: Tensor = vmap(partial(row_values, self._function))(out.movedim(-1, 1), y)
        return values
