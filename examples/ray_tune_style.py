"""Ray Tune trainables, as they are written for Ray Tune: a small network that learns the sum of its inputs' squares.

`train` is a function that reports and saves checkpoints, `Train` the same as a class. With Ray Tune itself:

    python examples/ray_tune_style.py

As a study here, unchanged:

    # study.yaml
    objective: {metric: val_loss}
    space:
      lr:     {type: loguniform, low: 1.0e-4, high: 1.0e-1}
      hidden: {type: power_of_two, low: 4, high: 64}
    algorithm: {name: hyperband, max_resource: 27}
    trainer: {ray_tune: "ray_tune_style:train"}      # or "ray_tune_style:Train"
    budget: {trials: 60}
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

import torch
from ray import tune
from torch import nn

EPOCHS = 27


def data(rows: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points in a square of four dimensions, and what is to be learnt of them."""
    x = torch.rand(rows, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return x, x.square().sum(1, keepdim=True)


def network(hidden: int) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 1))


def epoch_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, float]:
    """Train for one epoch; what it comes to."""
    x, y = data(256, seed=1)
    for batch in range(0, len(x), 32):
        loss = nn.functional.mse_loss(model(x[batch : batch + 32]), y[batch : batch + 32])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, y = data(256, seed=2)
    with torch.no_grad():
        return {"val_loss": float(nn.functional.mse_loss(model(x), y)), "train_loss": float(loss)}


def train(config: dict[str, Any]) -> None:
    """A function trainable."""
    model = network(config["hidden"])
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    first = 0
    checkpoint = tune.get_checkpoint()
    if checkpoint:
        with checkpoint.as_directory() as folder:
            state = torch.load(os.path.join(folder, "state.pt"))
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"] + 1
    for epoch in range(first, EPOCHS):
        metrics = epoch_of(model, optimizer)
        with tempfile.TemporaryDirectory() as folder:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
            torch.save(state, os.path.join(folder, "state.pt"))
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


class Train(tune.Trainable):
    """A class trainable."""

    def setup(self, config: dict[str, Any]) -> None:
        self.model = network(config["hidden"])
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=config["lr"])

    def step(self) -> dict[str, Any]:
        metrics = epoch_of(self.model, self.optimizer)
        return {**metrics, "done": self.iteration + 1 == EPOCHS}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])


if __name__ == "__main__":
    space = {"lr": tune.loguniform(1e-4, 1e-1), "hidden": tune.choice([4, 8, 16, 32, 64])}
    settings = tune.TuneConfig(metric="val_loss", mode="min", num_samples=8)
    print(tune.Tuner(train, param_space=space, tune_config=settings).fit().get_best_result())
