"""The lanes of one fold: networks of equal structure, trained as one program.

Each lane is what `single.Learner` would be alone: the same first weights, order, augmentation and masks, its own
settings, schedule, optimiser state and buffers; a lane that diverges harms no other. At equal width a lane's place and
neighbours never change a bit of it; between widths, and against the plain loop, the last digits may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from workers.data import Fold
from workers.loops import graphs
from workers.loops.dense_lanes import DenseLanes
from workers.loops.lane_batches import LaneBatches, Stretch
from workers.loops.lane_losses import lane_loss
from workers.loops.lane_networks import lane_network, turned_weights
from workers.loops.lane_optimisers import LaneClipping, LaneOptimiser, LaneSettings
from workers.loops.lane_size import values_kept_per_row
from workers.loops.lane_step import LaneStep
from workers.loops.lane_storage import LaneStorage
from workers.loops.products import one_thread
from workers.loops.progress import EVALUATED_ROWS
from workers.loops.recorded_steps import Given, RecordedSteps
from workers.loops.schedules import Schedule
from workers.loops.single import Task, momentum_of
from workers.loops.testing import Outputs, names_in_test
from workers.streams import Streams

_EVALUATED_VALUES = 1 << 19  # of all lanes and layers, at a time: memory that the caches hold
_EVALUATED_VALUES_GPU = 1 << 28


class LaneLearner:
    """Networks and their optimisers on one fold; `tasks`, `seeds` and `horizons` have one entry per lane.

    The tasks share their data and every parameter that is not a lane's. Where `fresh` is given, only these lanes have
    first weights of their own; the others are to be loaded. `replaying` says whether steps may be recorded and replayed
    where the device can; they come to the same.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        fold: int,
        seeds: Sequence[int],
        horizons: Sequence[float],
        fresh: Collection[int] | None = None,
        replaying: bool = True,
    ) -> None:
        first, each = tasks[0], [task.params for task in tasks]
        self._device = first.device
        self._rows, self._names = first.data.folds[fold], first.metrics
        streams = [Streams(seed, fold=fold, device=first.device) for seed in seeds]
        modules = _modules(tasks, self._rows, streams, range(len(tasks)) if fresh is None else fresh)
        self._storage = LaneStorage(modules, lanes=len(tasks), device=first.device, turned=turned_weights)
        self._network = lane_network(self._storage)
        self._at_once = self._rows_evaluated_at_once()
        self._batches = LaneBatches(
            self._rows.x_train,
            self._rows.y_train,
            streams=streams,
            batch_size=int(each[0]["batch_size"]),
            augmentation=str(each[0].get("augmentation", "none")),
            dropouts=[float(params["dropout"]) for params in each],
            dropout_widths=getattr(self._storage.template, "dropout_widths", ()),
        )
        self._loss = lane_loss(tasks, fold=fold)
        by_hand = isinstance(self._network, DenseLanes) and first.loss is None and not first.scores
        self._ungraphed: Callable[[], AbstractContextManager[Any]] = torch.inference_mode if by_hand else torch.no_grad
        values, grads = self._storage.values, self._storage.grads
        self._optimiser = LaneOptimiser(str(each[0]["optimizer"]), _settings(each), values=values, grads=grads)
        clip = LaneClipping([float(params["grad_clip"]) for params in each], grads)
        self._step = LaneStep(network=self._network, loss=self._loss, clip=clip, optimiser=self._optimiser)
        self._schedules = [_schedule(params, horizon) for params, horizon in zip(each, horizons, strict=True)]
        self._recorded = self._recorded_steps() if replaying else None

    @property
    def graphs(self) -> str:
        """What came of replaying recorded steps, in words; "" as long as that is not settled, or was not tried."""
        return "" if self._recorded is None else self._recorded.said

    @property
    def settling(self) -> bool:
        """Whether replaying recorded steps is still to be tried, or being tried."""
        return self._recorded is not None and not self._recorded.said

    def epoch(
        self, numbers: Sequence[int], *, most_batches: int | None = None, ahead: int = 0
    ) -> list[dict[str, float]]:
        """Train epoch `numbers[lane]` (from 1) of every lane, validate, and return the metrics of each. `ahead` says
        how many epochs are planned after it: whether recording a step is worth it hangs on that, and nothing else does.

        Nothing waits for the device but the one transfer of all metrics at the end, and what a learner's first steps
        measure where they may be recorded.
        """
        with one_thread(self._device):
            return self._epoch(numbers, most_batches, ahead)

    def _epoch(self, numbers: Sequence[int], most_batches: int | None, ahead: int) -> list[dict[str, float]]:
        count = self._batches.count if most_batches is None else min(most_batches, self._batches.count)
        starts = [number - 1 for number in numbers]
        done = np.arange(count) / self._batches.count
        rates = np.stack([s.over(start + done) for s, start in zip(self._schedules, starts, strict=True)], axis=1)
        self._optimiser.plan(rates)
        trained, rows = self._train(numbers, count, ahead)
        checked, val_rows = self._validate(None if most_batches is None else EVALUATED_ROWS)
        metrics = [*self._loss.metrics(trained, rows), *self._loss.metrics(checked, val_rows)]
        names = self._names
        columns = zip(*torch.stack(metrics).tolist(), strict=True)
        last = [
            s.at(start + (count - 1) / self._batches.count) for s, start in zip(self._schedules, starts, strict=True)
        ]
        return [{**dict(zip(names, column, strict=True)), "lr": lr} for column, lr in zip(columns, last, strict=True)]

    def test(self, *, most_rows: int | None = None) -> list[dict[str, float]]:
        """The metrics of the test rows, of each lane; none where there are none. Changes nothing."""
        x, y = self._rows.x_test, self._rows.y_test
        if x is None or y is None:
            return [{} for _ in range(self._storage.lanes)]
        with one_thread(self._device):
            totals, rows = self._measured(x[:most_rows], y[:most_rows])
        columns = zip(*torch.stack(self._loss.metrics(totals, rows)).tolist(), strict=True)
        return [dict(zip(names_in_test(self._names), column, strict=True)) for column in columns]

    def outputs(self, lanes: Sequence[int]) -> list[Outputs]:
        """For validation and test rows, of these lanes. Changes nothing."""
        with one_thread(self._device):
            val = self._outputs(self._rows.x_val, lanes)
            test = None if self._rows.x_test is None else self._outputs(self._rows.x_test, lanes)
        return [(val[i], None if test is None else test[i]) for i in range(len(lanes))]

    def state_dict(self, lane: int) -> dict[str, Any]:
        """One lane in the layout of `single.Learner`: its checkpoint goes on in either loop."""
        return {"model": self._storage.state_dict(lane), "optimiser": self._optimiser.state_dict(lane)}

    def load_state_dict(self, lane: int, stored: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self._storage.load_state_dict(lane, stored["model"])
        self._optimiser.load_state_dict(lane, stored["optimiser"])

    def _recorded_steps(self) -> RecordedSteps | None:
        recorder = graphs.recorder_of(self._device)
        if recorder is None:
            return None
        state = [*self._optimiser.state(), *self._storage.buffers.values()]
        return RecordedSteps(self._step, rows=self._batches.size, state=state, recorder=recorder)

    def _train(self, numbers: Sequence[int], count: int, ahead: int = 0) -> tuple[Tensor, int]:
        """The sums of the loss over the rows trained on, and their number."""
        totals: list[Tensor] = []
        rows = done = 0
        whole = min(count, self._batches.rows // self._batches.size)  # batches of an epoch, without a smaller last one
        with self._ungraphed():
            for stretch in self._batches.epoch(numbers):
                steps = min(len(stretch.x), count - done)
                totals.append(self._train_on(stretch, done, steps, to_come=whole * (1 + ahead) - done))
                rows += steps * stretch.y.shape[2]
                done += steps
                if done == count:
                    break
        return torch.stack(totals).sum(0), rows

    def _train_on(self, stretch: Stretch, first: int, steps: int, *, to_come: int) -> Tensor:
        kept: list[Tensor] = []  # of all outputs, a view for every batch
        for i, out in enumerate(self._stepped(stretch, first, steps, to_come)):
            if not kept:
                outputs = out.new_empty(*out.shape[:-1], steps * out.shape[-1])
                kept = list(torch.split(outputs, out.shape[-1], -1))
            kept[i].copy_(out)
        self._optimiser.took(steps)
        y = stretch.y[:steps].transpose(0, 1).flatten(1, 2)
        return self._loss.totals(outputs, y, smoothed=True)

    def _stepped(self, stretch: Stretch, first: int, steps: int, to_come: int) -> Iterator[Tensor]:
        """The outputs of each step, valid until the next."""
        step, now = self._step, self._optimiser.now
        x, target = stretch.x.unbind(0), self._loss.prepared(stretch.y).unbind(0)
        if self._recorded is not None:
            each = zip(x, stretch.masks, target, range(first, first + steps), strict=False)
            given = [Given(x=x, masks=masks, target=target, index=i) for x, masks, target, i in each]
            yield from self._recorded.take(given, to_come)
            return
        for i in range(steps):
            yield step(x[i], stretch.masks[i], target[i], now(first + i))

    def _rows_evaluated_at_once(self) -> int:
        kept = values_kept_per_row(self._storage.template, self._rows.x_val) + self._rows.x_val[0].numel()
        values = _EVALUATED_VALUES if self._device == "cpu" else _EVALUATED_VALUES_GPU
        return max(1, min(EVALUATED_ROWS, values // (self._storage.lanes * kept)))

    def _validate(self, most_rows: int | None) -> tuple[Tensor, int]:
        return self._measured(self._rows.x_val[:most_rows], self._rows.y_val[:most_rows])

    def _outputs(self, x: Tensor, lanes: Sequence[int]) -> Tensor:
        """[lanes, rows, outputs] of the chosen lanes."""
        chosen = torch.tensor(lanes, device=self._device)
        return torch.cat([self._network.evaluate(part)[chosen] for part in torch.split(x, self._at_once)], 1)

    def _measured(self, x: Tensor, y: Tensor) -> tuple[Tensor, int]:
        """The sums of the loss over rows that no lane is trained on, and their number."""
        totals = [
            self._loss.totals(self._network.evaluate(xs).movedim(1, -1).contiguous(), ys[None], smoothed=False)
            for xs, ys in zip(torch.split(x, self._at_once), torch.split(y, self._at_once), strict=True)
        ]
        return torch.stack(totals).sum(0), len(y)


def _modules(
    tasks: Sequence[Task], rows: Fold, streams: Sequence[Streams], fresh: Collection[int]
) -> Iterator[nn.Module]:
    """Of each lane: with first weights of its own where it is `fresh`; of the others any, for they are to be loaded."""
    built: nn.Module | None = None
    for lane, (task, own) in enumerate(zip(tasks, streams, strict=True)):
        if built is None or lane in fresh:
            built = task.build(rows, own.initialisation())
        yield built


def _settings(each: Sequence[Mapping[str, Any]]) -> LaneSettings:
    return LaneSettings(
        momentum=[momentum_of(params) for params in each],
        beta1=[float(params["beta1"]) for params in each],
        beta2=[float(params["beta2"]) for params in each],
        weight_decay=[float(params["weight_decay"]) for params in each],
    )


def _schedule(params: Mapping[str, Any], horizon: float) -> Schedule:
    return Schedule(
        kind=str(params["lr_schedule"]), lr=float(params["lr"]), horizon=horizon, warmup=float(params["warmup_epochs"])
    )
