"""Networks over images: a plain convolutional network and a small residual one."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F  # noqa: N812 - the name that everybody knows
from torch import Tensor, nn

from workers.models.parts import ACTIVATIONS, Conv2d, Linear, Masks, Network, biased, normalisation


class Cnn(Network):
    """Three 3×3 convolutions of `width`, 2·`width` and 4·`width` channels, halving after each (while larger than 2),
    averaged over the pixels, dropout, a linear head."""

    def __init__(self, *, channels: int, outputs: int, width: int, activation: str, norm: str) -> None:
        super().__init__()
        widths = [channels, width, 2 * width, 4 * width]
        self.convolutions = nn.ModuleList(Conv2d(a, b, 3, padding=1, bias=biased(norm)) for a, b in pairwise(widths))
        norms = [normalisation(norm, w, images=True) for w in widths[1:]]
        self.norms = nn.ModuleList(n for n in norms if n is not None)
        self.head = Linear(widths[-1], outputs)
        self.dropout_widths = (widths[-1],)
        self._activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor, masks: Masks = ()) -> Tensor:
        """[rows, channels, height, width] → [rows, outputs]; one mask over the averaged features."""
        for i, convolution in enumerate(self.convolutions):
            x = convolution(x)
            if self.norms:
                x = self.norms[i](x)
            x = self._activation(x)
            if min(x.shape[-2:]) > 2:
                x = F.max_pool2d(x, 2)
        x = x.mean((-2, -1))
        if masks:
            x = x * masks[0]
        out: Tensor = self.head(x)
        return out


class _Block(nn.Module):
    """Two 3×3 convolutions and a shortcut (He et al. 2016), projected where shape changes."""

    def __init__(self, *, inputs: int, outputs: int, stride: int, activation: str, norm: str) -> None:
        super().__init__()
        self.first = Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=biased(norm))
        self.second = Conv2d(outputs, outputs, 3, padding=1, bias=biased(norm))
        norms = [normalisation(norm, outputs, images=True) for _ in range(2)]
        self.norms = nn.ModuleList(n for n in norms if n is not None)
        self.shortcut = Conv2d(inputs, outputs, 1, stride=stride) if stride > 1 or inputs != outputs else None
        self._activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        kept = x if self.shortcut is None else self.shortcut(x)
        x = self.first(x)
        x = self._activation(self.norms[0](x) if self.norms else x)
        x = self.second(x)
        return self._activation(kept + (self.norms[1](x) if self.norms else x))


class ResNet(Network):
    """A stem of `width` channels and three stages of one block each (width, 2·width, 4·width), averaged, a head."""

    def __init__(self, *, channels: int, outputs: int, width: int, activation: str, norm: str) -> None:
        super().__init__()
        self.stem = Conv2d(channels, width, 3, padding=1, bias=biased(norm))
        self.stem_norm = normalisation(norm, width, images=True)
        shapes = [(width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2)]
        self.blocks = nn.ModuleList(
            _Block(inputs=a, outputs=b, stride=stride, activation=activation, norm=norm) for a, b, stride in shapes
        )
        self.head = Linear(4 * width, outputs)
        self.dropout_widths = (4 * width,)
        self._activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor, masks: Masks = ()) -> Tensor:
        """[rows, channels, height, width] → [rows, outputs]; one mask over the averaged features."""
        x = self.stem(x)
        x = self._activation(self.stem_norm(x) if self.stem_norm is not None else x)
        for block in self.blocks:
            x = block(x)
        x = x.mean((-2, -1))
        if masks:
            x = x * masks[0]
        out: Tensor = self.head(x)
        return out
