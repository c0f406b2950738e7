"""A recipe of one's own: which spiral does a point lie on?

Put this file's folder on the workers' PYTHONPATH and name it in a study: trainer: {recipe: "spirals:Spirals"}.
"""

import numpy as np
import torch
from torch import nn


class Waves(nn.Module):
    """sin and cos of random projections (Tancik et al. 2020): how fast they turn is `frequency`."""

    def __init__(self, features, frequency):
        super().__init__()
        self.register_buffer("directions", frequency * torch.randn(2, features))

    def forward(self, x):
        turns = x @ self.directions
        return torch.cat([turns.sin(), turns.cos()], dim=-1)


class Spirals:
    parameters = {"features": 16, "hidden": 32, "frequency": 2.0, "lr": 0.01}  # name: default
    lanes = ("frequency",)  # changes numbers in a buffer, and no shape: such trials can train together
    loss = "cross_entropy"

    def model(self, params):
        return nn.Sequential(
            Waves(params["features"], params["frequency"]),
            nn.Linear(2 * params["features"], params["hidden"]),
            nn.ReLU(),
            nn.Linear(params["hidden"], 2),
        )

    def data(self, params):
        rng = np.random.default_rng(0)
        arm = rng.integers(0, 2, 400)
        angle = rng.uniform(0.5, 3.0 * np.pi, 400)
        turned = angle + np.pi * arm
        x = angle[:, None] / 9.0 * np.stack([np.cos(turned), np.sin(turned)], axis=1) + rng.normal(0, 0.02, (400, 2))
        return x[100:], arm[100:], x[:100], arm[:100]
