"""The optimisers of `optimisers`, a step of all lanes at once: the same formulas with a setting of its own per lane.

The kind is common to the lanes. What hangs on a lane, a step or the schedule is worked out on the host for a whole
epoch and moved to the device once. A step itself is the device's work alone: what the host counts is counted apart
(`took`), so that a step can be recorded and replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from workers.loops.lane_storage import Blocks
from workers.loops.optimisers import RULES

_Numbers = npt.NDArray[np.float64]
Now = Mapping[str, list[Tensor]]
"""The numbers of one step: name → [lanes, 1], once per block."""


@dataclass(frozen=True, kw_only=True)
class LaneSettings:
    """What an optimiser is told, one value per lane."""

    momentum: Sequence[float]
    beta1: Sequence[float]
    beta2: Sequence[float]
    weight_decay: Sequence[float]


class LaneOptimiser:
    """State of all lanes. `plan` an epoch, take its steps in order, and say how many it `took`."""

    def __init__(self, kind: str, settings: LaneSettings, *, values: Blocks, grads: Blocks) -> None:
        self._kind = kind
        # Not bound to self: a cycle would keep the memory of all lanes until Python looks for cycles.
        self._rule: Callable[[LaneOptimiser], None] = getattr(type(self), f"_{RULES[kind]}")
        self._values, self._grads = values, grads
        self._momentum = np.array(settings.momentum)
        self._beta1, self._beta2 = np.array(settings.beta1), np.array(settings.beta2)
        self._decay = np.array(settings.weight_decay)
        self._moving = bool(self._momentum.any())
        self._steps = np.zeros(values.lanes, dtype=np.int64)
        self._state = {name: values.like() for name in self._names()}
        self._moved = values.flat  # what is planned, on the device: [names, steps, lanes, 1]
        self._planned: dict[str, Sequence[Tensor]] = {}
        self._now: Now = {}

    def _names(self) -> tuple[str, ...]:
        velocity = ("velocity",) if self._moving else ()
        return {"sgd": velocity, "adagrad": ("sum",), "rmsprop": ("square", *velocity), "adam": ("mean", "square")}[
            RULES[self._kind]
        ]

    def plan(self, rates: _Numbers) -> None:
        """Say the learning rates, [steps, lanes], of the steps to come."""
        numbers = {"rate": -rates}
        if self._decay.any():
            numbers["decay"] = 1.0 - rates * self._decay if self._kind == "adamw" else rates * 0.0 + self._decay
        if self._moving:
            numbers["momentum"] = rates * 0.0 + self._momentum
        if RULES[self._kind] == "adam":
            numbers |= self._adam_numbers(rates)
        stacked = np.stack([np.broadcast_to(n, rates.shape) for n in numbers.values()])[..., None]
        self._moved = torch.from_numpy(stacked.astype(np.float32)).to(self._values.flat.device)
        self._planned = {name: part.unbind(0) for name, part in zip(numbers, self._moved, strict=True)}

    def _adam_numbers(self, rates: _Numbers) -> dict[str, _Numbers]:
        """m / (1-β1^t) / (√(v / (1-β2^t)) + ε), its corrections moved into the rate and ε."""
        steps = self._steps + 1 + np.arange(len(rates))[:, None]
        root = np.sqrt(1.0 - self._beta2**steps)
        return {
            "rate": -rates * root / (1.0 - self._beta1**steps),
            "epsilon": 1e-8 * root,
            "first": 1.0 - self._beta1,
            "second": 1.0 - self._beta2,
        }

    def now(self, index: int) -> Now:
        """The numbers of step `index` of the plan."""
        blocks = len(self._values.each)
        return {name: [each[index]] * blocks for name, each in self._planned.items()}

    def numbers(self, index: int) -> Tensor:
        """The same as one tensor, [names, lanes, 1]."""
        return self._moved[:, index]

    def named(self, numbers: Tensor) -> Now:
        """Views of what `numbers` gives, or of memory like it, in the form that `step` takes."""
        blocks = len(self._values.each)
        return {name: [each] * blocks for name, each in zip(self._planned, numbers, strict=True)}

    def state(self) -> list[Tensor]:
        """All that a step reads and leaves changed beside the gradients: the values, and what is remembered of them."""
        return [self._values.flat, *(blocks.flat for blocks in self._state.values())]

    def took(self, steps: int) -> None:
        """Count the steps that were taken: what is planned next begins behind them."""
        self._steps += steps

    def step(self, now: Now) -> None:
        """Change the values, by gradients that it overwrites. On the device alone."""
        self._now = now
        if "decay" in self._now:
            if self._kind == "adamw":
                torch._foreach_mul_(self._values.each, self._now["decay"])
            else:
                torch._foreach_addcmul_(self._grads.each, self._values.each, self._now["decay"])
        self._rule(self)

    def _descend(self, direction: Blocks) -> None:
        torch._foreach_addcmul_(self._values.each, direction.each, self._now["rate"])

    def _gain(self) -> Blocks:
        """The velocity, after the gradients."""
        velocity = self._state["velocity"]
        for own, grads, momentum in zip(velocity.each, self._grads.each, self._now["momentum"], strict=True):
            torch.addcmul(grads, own, momentum, out=own)  # reads and writes once
        return velocity

    def _sgd(self) -> None:
        if not self._moving:
            self._descend(self._grads)
            return
        velocity = self._gain()
        if self._kind == "nesterov":
            torch._foreach_addcmul_(self._grads.each, velocity.each, self._now["momentum"])
            self._descend(self._grads)
        else:
            self._descend(velocity)

    def _adagrad(self) -> None:
        grads = self._grads.flat
        total = self._state["sum"].flat.addcmul_(grads, grads)
        grads.div_(total.sqrt().add_(1e-10))
        self._descend(self._grads)

    def _rmsprop(self) -> None:
        grads = self._grads.flat
        average = self._state["square"].flat.mul_(0.99).addcmul_(grads, grads, value=0.01)
        grads.div_(average.sqrt().add_(1e-8))
        self._descend(self._gain() if self._moving else self._grads)

    def _adam(self) -> None:
        grads, mean, square = self._grads, self._state["mean"], self._state["square"]
        torch._foreach_lerp_(mean.each, grads.each, self._now["first"])
        grads.flat.mul_(grads.flat)
        torch._foreach_lerp_(square.each, grads.each, self._now["second"])
        torch.sqrt(square.flat, out=grads.flat)
        torch._foreach_add_(grads.each, self._now["epsilon"])
        torch.div(mean.flat, grads.flat, out=grads.flat)
        self._descend(grads)

    def state_dict(self, lane: int) -> dict[str, Any]:
        """In the layout of the plain loop's optimiser, which has no state before its first step."""
        steps = int(self._steps[lane])
        still = not self._momentum[lane]
        names = [name for name in self._state if steps and not (name == "velocity" and still)]
        return {"steps": steps, "state": {name: self._state[name].lane(lane) for name in names}}

    def load_state_dict(self, lane: int, stored: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`; takes what the plain loop stored as well."""
        self._steps[lane] = stored["steps"]
        for name, blocks in self._state.items():
            blocks.set_lane(lane, stored["state"].get(name))


class LaneClipping:
    """Scales a lane's gradients down to a norm of at most its limit; a limit of 0 leaves them as they are."""

    def __init__(self, limits: Sequence[float], grads: Blocks) -> None:
        self._grads = grads
        self._active = any(limits)
        device = grads.flat.device
        self._limits = torch.tensor(limits, device=device)
        self._clipping = self._limits > 0
        self._one = torch.ones((), device=device)

    def __call__(self) -> None:
        """In place."""
        if not self._active:
            return
        norms = torch.stack([torch.linalg.vector_norm(block, dim=1) for block in self._grads.each], dim=1)
        scales = (self._limits / (torch.linalg.vector_norm(norms, dim=1) + 1e-6)).clamp_(max=1.0)
        scales = torch.where(self._clipping, scales, self._one).unsqueeze(1)
        torch._foreach_mul_(self._grads.each, [scales] * len(self._grads.each))
