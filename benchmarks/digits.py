"""The work of `training`, as anybody would write it in PyTorch: digits, a perceptron 64-128-10, SGD with momentum.

All peers train through this; ours trains through its recipe. Rows and split are those of our recipe, read from a file.
"""

from __future__ import annotations

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


def epochs(data: dict[str, torch.Tensor], config: dict[str, Any], seed: int) -> Iterator[dict[str, float]]:
    """Train one configuration; yields the validation metrics after every epoch."""
    torch.manual_seed(seed)
    x, y = data["x_train"], data["y_train"]
    model = nn.Sequential(nn.Linear(x.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 10))
    optimiser = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=config["momentum"])
    for _ in range(EPOCHS):
        model.train()
        for batch in torch.split(torch.randperm(len(x)), int(config["batch_size"])):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
        model.eval()
        with torch.no_grad():
            out = model(data["x_val"])
            accuracy = (out.argmax(1) == data["y_val"]).float().mean().item()
            val_loss = nn.functional.cross_entropy(out, data["y_val"]).item()
        yield {"val_accuracy": accuracy, "val_loss": val_loss}


def train(data: dict[str, torch.Tensor], config: dict[str, Any], seed: int) -> float:
    """The last validation accuracy of one configuration."""
    accuracy = 0.0
    for metrics in epochs(data, config, seed):
        accuracy = metrics["val_accuracy"]
    return accuracy
