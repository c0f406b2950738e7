"""Optimisers over one flat vector of parameters.

All parameters of a model are views of one vector, so a step is a handful of elementwise operations however many layers
there are; with small networks that is most of the time an optimiser takes. `lane_optimisers` has the same rules for
lanes. Formulas and defaults are those of torch.optim, to which the tests compare every one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

OPTIMIZERS = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw")


@dataclass(kw_only=True)
class Optimiser:
    """State and settings; `step` changes `params` in place."""

    kind: str
    momentum: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    steps: int = 0
    state: dict[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Not bound to self: a cycle would keep the state until Python looks for cycles.
        self._rule: Callable[[Optimiser, Tensor, Tensor, float], None] = getattr(type(self), f"_{RULES[self.kind]}")

    def step(self, params: Tensor, grads: Tensor, lr: float) -> None:
        """One update of `params` ([P], no gradient recorded) by `grads` (overwritten where convenient)."""
        self.steps += 1
        if self.weight_decay:
            if self.kind == "adamw":
                params.mul_(1.0 - lr * self.weight_decay)
            else:
                grads.add_(params, alpha=self.weight_decay)
        self._rule(self, params, grads, lr)

    def state_dict(self) -> dict[str, Any]:
        """Plain containers and tensors."""
        return {"steps": self.steps, "state": {name: value.clone() for name, value in self.state.items()}}

    def load_state_dict(self, stored: dict[str, Any], device: torch.device) -> None:
        """Inverse of `state_dict`."""
        self.steps = stored["steps"]
        self.state = {name: value.to(device) for name, value in stored["state"].items()}

    def _buffer(self, name: str, like: Tensor) -> Tensor:
        if name not in self.state:
            self.state[name] = torch.zeros_like(like)
        return self.state[name]

    def _sgd(self, params: Tensor, grads: Tensor, lr: float) -> None:
        if not self.momentum:
            params.add_(grads, alpha=-lr)
            return
        velocity = self._buffer("velocity", params).mul_(self.momentum).add_(grads)
        if self.kind == "nesterov":
            params.add_(grads.add_(velocity, alpha=self.momentum), alpha=-lr)
        else:
            params.add_(velocity, alpha=-lr)

    def _adagrad(self, params: Tensor, grads: Tensor, lr: float) -> None:
        total = self._buffer("sum", params).addcmul_(grads, grads)
        params.addcdiv_(grads, total.sqrt().add_(1e-10), value=-lr)

    def _rmsprop(self, params: Tensor, grads: Tensor, lr: float) -> None:
        average = self._buffer("square", params).mul_(0.99).addcmul_(grads, grads, value=0.01)
        root = average.sqrt().add_(1e-8)
        if self.momentum:
            velocity = self._buffer("velocity", params).mul_(self.momentum).addcdiv_(grads, root)
            params.add_(velocity, alpha=-lr)
        else:
            params.addcdiv_(grads, root, value=-lr)

    def _adam(self, params: Tensor, grads: Tensor, lr: float) -> None:
        mean = self._buffer("mean", params).lerp_(grads, 1.0 - self.beta1)
        square = self._buffer("square", params).mul_(self.beta2).addcmul_(grads, grads, value=1.0 - self.beta2)
        correction = (1.0 - self.beta2**self.steps) ** 0.5
        root = square.sqrt().div_(correction).add_(1e-8)
        params.addcdiv_(mean, root, value=-lr / (1.0 - self.beta1**self.steps))


RULES = {
    "sgd": "sgd",
    "momentum": "sgd",
    "nesterov": "sgd",
    "adagrad": "adagrad",
    "rmsprop": "rmsprop",
    "adam": "adam",
    "adamw": "adam",
}
