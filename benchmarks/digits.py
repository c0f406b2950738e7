"""The work of `training` and `hyperband`, as anybody would write it in PyTorch: digits, a perceptron 64-128-10, SGD
with momentum.

All peers train through this; ours trains through its recipe. Rows and split are those of our recipe, read from a file,
and weights start as the recipe's do, so that accuracies can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

EPOCHS = 10
HIDDEN = 128


def export(path: Path) -> None:
    """Write our recipe's rows, prepared and split, for the peers to train on."""
    from workers import recipes  # lazy: the peers never import it

    task = recipes.build("image_classifier", {"data": "digits", "model": "mlp"}, device="cpu")
    rows = task.data.folds[0]
    np.savez(
        path,
        x_train=rows.x_train.flatten(1).numpy(),
        y_train=rows.y_train.numpy(),
        x_val=rows.x_val.flatten(1).numpy(),
        y_val=rows.y_val.numpy(),
    )


def load(path: str) -> dict[str, torch.Tensor]:
    with np.load(path) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


class Training:
    """One configuration in training: an epoch at a time, and from a checkpoint."""

    def __init__(self, data: dict[str, torch.Tensor], config: dict[str, Any], seed: int) -> None:
        self._data = data
        self._batch_size = int(config["batch_size"])
        self._generator = torch.Generator().manual_seed(seed)  # its own: trials may share a process
        hidden, head = nn.Linear(data["x_train"].shape[1], HIDDEN), nn.Linear(HIDDEN, 10)
        for layer, gain in ((hidden, 2.0), (head, 1.0)):
            layer.weight.data.normal_(0.0, math.sqrt(gain / layer.in_features), generator=self._generator)
            layer.bias.data.zero_()
        self.model = nn.Sequential(hidden, nn.ReLU(), head)
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=config["lr"], momentum=config["momentum"])

    def epoch(self) -> dict[str, float]:
        """Train one epoch; the validation metrics after it."""
        x, y, model = self._data["x_train"], self._data["y_train"], self.model
        model.train()
        for batch in torch.split(torch.randperm(len(x), generator=self._generator), self._batch_size):
            self.optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            self.optimiser.step()
        model.eval()
        with torch.no_grad():
            out = model(self._data["x_val"])
            accuracy = (out.argmax(1) == self._data["y_val"]).float().mean().item()
            val_loss = nn.functional.cross_entropy(out, self._data["y_val"]).item()
        return {"val_accuracy": accuracy, "val_loss": val_loss}

    def state_dict(self) -> dict[str, Any]:
        """All that going on takes."""
        return {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self._generator.get_state(),
        }

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        self.model.load_state_dict(stored["model"])
        self.optimiser.load_state_dict(stored["optimiser"])
        self._generator.set_state(stored["generator"])


def epochs(data: dict[str, torch.Tensor], config: dict[str, Any], seed: int) -> Iterator[dict[str, float]]:
    """Train one configuration; yields the validation metrics after every epoch."""
    training = Training(data, config, seed)
    for _ in range(EPOCHS):
        yield training.epoch()


def train(data: dict[str, torch.Tensor], config: dict[str, Any], seed: int) -> float:
    """The last validation accuracy of one configuration."""
    accuracy = 0.0
    for metrics in epochs(data, config, seed):
        accuracy = metrics["val_accuracy"]
    return accuracy
