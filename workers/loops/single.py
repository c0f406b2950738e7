"""The plain loop: one trial, one network at a time (one per fold with cross-validation).

An epoch is a pure function of the network's and optimiser's state, the seed and the epoch's number, so a trial that was
paused between epochs goes on bit for bit as if it had not been. Nothing waits for the device within an epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody knows
from torch import Tensor, nn

from workers.data import Fold, TaskData
from workers.errors import InvalidOrderError
from workers.loops.batches import Batches
from workers.loops.optimisers import Optimiser
from workers.loops.progress import EVALUATED_ROWS, PREFLIGHT_BATCHES, Progress, last_epoch, metric_names, spread
from workers.loops.schedules import Schedule
from workers.loops.testing import Outputs, names_in_test, predictions
from workers.models import Network
from workers.streams import Streams
from workers.trial import Trial

RowLoss = Callable[[Tensor, Tensor], Tensor]
"""(outputs [rows, …], targets [rows, …]) → one value per row, [rows]; of torch operations alone."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a recipe hands to the loop: resolved parameters, data, and how to build a network for a fold.

    `loss` takes the place of the loss that the data imply (cross-entropy, or the squared error); `scores` are measured
    beside it, as means over rows, and reported as `train_<name>` and `val_<name>`.
    """

    params: Mapping[str, Any]
    data: TaskData
    device: str
    build: Callable[[Fold, torch.Generator], Network]
    loss: RowLoss | None = None
    scores: Mapping[str, RowLoss] = field(default_factory=dict)

    @property
    def data_identity(self) -> Mapping[str, Any]:
        """Names the data and its split."""
        return self.data.identity

    @property
    def metrics(self) -> tuple[str, ...]:
        """What an epoch measures, but for the learning rate."""
        return metric_names(regression=self.data.regression, own_loss=self.loss is not None, scores=self.scores)


class Learner:
    """A network and its optimiser on one fold."""

    def __init__(self, task: Task, *, fold: int, seed: int, horizon: float) -> None:
        params = task.params
        self._task = task
        self._rows = task.data.folds[fold]
        self._regression = task.data.regression
        self._scale = task.data.target_scale[fold]
        self._smoothing = float(params["label_smoothing"])
        self._clip = float(params["grad_clip"])
        streams = Streams(seed, fold=fold, device=task.device)
        self.model = task.build(self._rows, streams.initialisation()).to(task.device)
        self._params, self._grads = _flatten(self.model)
        self._batches = Batches(
            self._rows.x_train,
            self._rows.y_train,
            streams=streams,
            batch_size=int(params["batch_size"]),
            augmentation=str(params.get("augmentation", "none")),
            dropout=float(params["dropout"]),
            dropout_widths=self.model.dropout_widths,
        )
        self._schedule = Schedule(
            kind=str(params["lr_schedule"]),
            lr=float(params["lr"]),
            horizon=horizon,
            warmup=float(params["warmup_epochs"]),
        )
        self.optimiser = Optimiser(
            kind=str(params["optimizer"]),
            momentum=momentum_of(params),
            beta1=float(params["beta1"]),
            beta2=float(params["beta2"]),
            weight_decay=float(params["weight_decay"]),
        )

    def epoch(self, number: int, *, most_batches: int | None = None) -> dict[str, float]:
        """Train epoch `number` (from 1), validate, and return the epoch's metrics."""
        outputs, targets, losses, lr = self._train(number, most_batches)
        with torch.no_grad():
            weights = torch.tensor([float(len(y)) for y in targets], device=losses[0].device)
            train_loss = (torch.stack(losses) * weights).sum() / weights.sum()
            train = self._quality(torch.cat(outputs), torch.cat(targets))
            val = self._validate(None if most_batches is None else EVALUATED_ROWS)
            values = torch.stack([train_loss, *train, *val]).tolist()
        return {**dict(zip(self._task.metrics, values, strict=True)), "lr": lr}

    def test(self, *, most_rows: int | None = None) -> dict[str, float]:
        """The metrics of the test rows; none where there are none. Changes nothing."""
        x, y = self._rows.x_test, self._rows.y_test
        if x is None or y is None:
            return {}
        with torch.no_grad():
            values = torch.stack(self._measured(x[:most_rows], y[:most_rows])).tolist()
        return dict(zip(names_in_test(self._task.metrics), values, strict=True))

    def outputs(self) -> Outputs:
        """For validation and test rows. Changes nothing."""
        x = self._rows.x_test
        with torch.no_grad():
            return self._outputs(self._rows.x_val), None if x is None else self._outputs(x)

    def state_dict(self) -> dict[str, Any]:
        """Weights, buffers and optimiser, as tensors and plain containers."""
        model = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        return {"model": model, "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, stored: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.model.load_state_dict(stored["model"])
        self.optimiser.load_state_dict(stored["optimiser"], self._params.device)

    def _train(self, number: int, most_batches: int | None) -> tuple[list[Tensor], list[Tensor], list[Tensor], float]:
        self.model.train()
        model, params, grads = self.model, self._params, self._grads
        count, lr = self._batches.count, 0.0
        one = torch.ones((), device=params.device)
        outputs, targets, losses = [], [], []
        for i, (x, y, masks) in enumerate(self._batches.epoch(number)):
            if i == most_batches:
                break
            lr = self._schedule.at(number - 1 + i / count)
            out = model(x, masks)
            loss = self._loss(out, y)
            grads.zero_()
            loss.backward(one)  # type: ignore[no-untyped-call]  # torch leaves it untyped
            if self._clip > 0:
                grads.mul_((self._clip / (grads.norm() + 1e-6)).clamp_(max=1.0))
            self.optimiser.step(params, grads, lr)
            outputs.append(out.detach())
            targets.append(y)
            losses.append(loss.detach())
        return outputs, targets, losses, lr

    def _loss(self, out: Tensor, y: Tensor) -> Tensor:
        if self._task.loss is not None:
            return row_values(self._task.loss, out, y).mean()
        if self._regression:
            return F.mse_loss(out.squeeze(-1), y)
        return F.cross_entropy(out, y, label_smoothing=self._smoothing)

    def _validate(self, most_rows: int | None) -> list[Tensor]:
        return self._measured(self._rows.x_val[:most_rows], self._rows.y_val[:most_rows])

    def _outputs(self, x: Tensor) -> Tensor:
        self.model.eval()
        return torch.cat([self.model(part) for part in torch.split(x, EVALUATED_ROWS)])

    def _measured(self, x: Tensor, y: Tensor) -> list[Tensor]:
        """Loss and quality of rows that the network is not trained on."""
        out = self._outputs(x)
        smoothed = self._task.loss is None and not self._regression
        loss = F.cross_entropy(out, y) if smoothed else self._loss(out, y)  # validation is never smoothed
        return [loss, *self._quality(out, y)]

    def _quality(self, out: Tensor, y: Tensor) -> list[Tensor]:
        """[accuracy], or [root mean squared error in the target's unit, R²], or neither; and the scores."""
        scores = [row_values(score, out, y).mean() for score in self._task.scores.values()]
        if self._task.loss is not None:
            return scores
        if not self._regression:
            return [(out.argmax(1) == y).float().mean(), *scores]
        error = F.mse_loss(out.squeeze(-1), y)
        return [error.sqrt() * self._scale, 1.0 - error / y.var(correction=0).clamp_min(1e-12), *scores]


def row_values(function: RowLoss, out: Tensor, y: Tensor) -> Tensor:
    """The values of a loss or score.

    Raises:
        InvalidOrderError: it gives anything but one value per row.
    """
    values = function(out, y)
    if values.shape != y.shape[:1]:
        raise InvalidOrderError(
            f"a loss or score must give one value per row, shape ({len(y)},), but got shape {tuple(values.shape)}; "
            "leave the mean to the loop (reduction='none'), and take it over every dimension but the first"
        )
    return values


class Learns(Protocol):
    """What trains and measures one fold of a trial: `Learner`, or another that does as it does."""

    def epoch(self, number: int, *, most_batches: int | None = None) -> dict[str, float]: ...

    def test(self, *, most_rows: int | None = None) -> dict[str, float]: ...

    def outputs(self) -> Outputs: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, stored: Mapping[str, Any]) -> None: ...


class Makes(Protocol):
    """Makes the learner of a fold."""

    def __call__(self, task: Task, *, fold: int, seed: int, horizon: float) -> Learns: ...


def train(task: Task, trial: Trial, *, learner: Makes = Learner) -> None:
    """Train `trial` epoch by epoch until it ends, from its checkpoint if it has one."""
    progress = Progress(patience=int(task.params["early_stopping"]), last=last_epoch(task.params, trial))
    horizon = trial.resource_horizon if progress.last is None else float(progress.last)
    learners = [learner(task, fold=i, seed=trial.seed, horizon=horizon) for i in range(len(task.data.folds))]
    stored = trial.load_checkpoint()
    if stored is not None:
        progress.load(stored)
        for one, state in zip(learners, stored["learners"], strict=True):
            one.load_state_dict(state)
    while not progress.over:
        progress.epoch += 1
        began = time.perf_counter()
        most = PREFLIGHT_BATCHES if trial.preflight else None
        metrics = spread([one.epoch(progress.epoch, most_batches=most) for one in learners])
        seconds = time.perf_counter() - began
        progress.note(metrics["val_loss"])
        if trial.test and (trial.preflight or progress.ends_at(trial.resource_target)):
            metrics |= _tested(task, trial, learners)
        trial.report(progress.epoch, **metrics, seconds=seconds)
        if progress.over or trial.should_save:
            trial.save_checkpoint({**progress.stored(), "learners": [one.state_dict() for one in learners]})


def _tested(task: Task, trial: Trial, learners: Sequence[Learns]) -> dict[str, float]:
    """Of the trained model of a confirmation: the metrics of the test rows. Its predictions are kept."""
    if trial.preflight:
        return spread([learner.test(most_rows=EVALUATED_ROWS) for learner in learners])
    if task.loss is None:  # what outputs mean to a loss of the user's own is not known
        trial.keep_predictions(predictions(task.data, [learner.outputs() for learner in learners]))
    return spread([learner.test() for learner in learners])


def momentum_of(params: Mapping[str, Any]) -> float:
    """`momentum` as set; else 0.9 for the optimisers named after it and 0 for the others."""
    value = params.get("momentum")
    if value is not None:
        return float(value)
    return 0.9 if params["optimizer"] in ("momentum", "nesterov") else 0.0


def _flatten(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Make all parameters, and their gradients, views of two flat vectors; returns those."""
    parameters = list(model.parameters())
    flat = torch.cat([p.detach().reshape(-1) for p in parameters])
    grads = torch.zeros_like(flat)
    start = 0
    for parameter in parameters:
        stop = start + parameter.numel()
        parameter.data = flat[start:stop].view_as(parameter)
        parameter.grad = grads[start:stop].view_as(parameter)
        start = stop
    return flat, grads
