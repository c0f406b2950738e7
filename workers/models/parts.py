"""Layers that draw nothing from the global generator, activations, normalisations, and how weights start."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - the name that everybody knows
from torch import Tensor, nn

from workers.models.steps import BatchNormed, LayerNormed, Step

Masks = tuple[Tensor, ...]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


class Network(nn.Module):
    """Base of the models: `dropout_widths` says which masks `forward` takes."""

    dropout_widths: tuple[int, ...] = ()

    def steps(self) -> tuple[Step, ...] | None:
        """What `forward` does to flattened rows, where it is a chain of known steps that begins with a linear layer;
        None for any other network. Lanes of a network that says so train several times faster."""
        return None

    def forward(self, x: Tensor, masks: Masks = ()) -> Tensor:
        """[rows, …] → [rows, outputs]."""
        raise TypeError(f"{type(self).__name__} must define forward")


class Linear(nn.Linear):
    """nn.Linear that leaves its weights to `initialise`."""

    def reset_parameters(self) -> None:
        """Nothing: the global generator is not ours to use."""


class Conv2d(nn.Conv2d):
    """nn.Conv2d that leaves its weights to `initialise`."""

    def reset_parameters(self) -> None:
        """Nothing: the global generator is not ours to use."""


def normalisation(kind: str, width: int, *, images: bool = False) -> nn.Module | None:
    """A layer over `width` features or channels; None for `none`. For images, `layer` normalises over all channels
    and pixels (a group norm of one group)."""
    if kind == "batch":
        return nn.BatchNorm2d(width) if images else nn.BatchNorm1d(width)
    if kind == "layer":
        return nn.GroupNorm(1, width) if images else nn.LayerNorm(width)
    return None


def normed(layer: nn.Module, name: str) -> Step:
    """The step of a normalisation over features, which is the submodule `name`."""
    return BatchNormed(name=name) if isinstance(layer, nn.BatchNorm1d) else LayerNormed(name=name)


def biased(norm: str) -> bool:
    """Whether a layer whose outputs go nowhere but into normalisations of this kind has a bias.

    Batch normalisation takes it away again (Ioffe and Szegedy 2015, section 3.2): its gradient would be rounding noise,
    by which optimisers that scale gradients step in full.
    """
    return norm != "batch"


def initialise(model: nn.Module, generator: torch.Generator, *, activation: str = "relu") -> None:
    """Weights from N(0, gain² / fan_in) (He et al. 2015, section 2.2; gain 1 for tanh), biases 0; the last linear
    layer starts with gain 1, so that the first outputs are small. Drawn in the order of `model.modules()`."""
    gain = 1.0 if activation == "tanh" else math.sqrt(2.0)
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    with torch.no_grad():
        for layer in layers:
            fan_in = layer.weight[0].numel()
            scale = (1.0 if layer is layers[-1] else gain) / math.sqrt(fan_in)
            layer.weight.normal_(0.0, scale, generator=generator)
            if layer.bias is not None:
                layer.bias.zero_()
