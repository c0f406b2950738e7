"""Networks over plain features: linear, multilayer perceptron, residual perceptron."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from workers.models.parts import ACTIVATIONS, Linear, Masks, Network, biased, normalisation, normed
from workers.models.steps import Activated, Affine, Masked, Residual, Step


class LinearModel(Network):
    """One linear layer: softmax regression, or linear regression with one output."""

    def __init__(self, *, inputs: int, outputs: int) -> None:
        super().__init__()
        self.head = Linear(inputs, outputs)

    def forward(self, x: Tensor, masks: Masks = ()) -> Tensor:
        """[rows, …] → [rows, outputs]; takes no masks."""
        out: Tensor = self.head(x.flatten(1))
        return out

    def steps(self) -> tuple[Step, ...]:
        """The head alone."""
        return (Affine(name="head"),)


class Mlp(Network):
    """`hidden_layers` × (linear, normalisation, activation, dropout), then a linear head."""

    def __init__(
        self, *, inputs: int, outputs: int, hidden_units: int, hidden_layers: int, activation: str, norm: str
    ) -> None:
        super().__init__()
        widths = [inputs] + [hidden_units] * hidden_layers
        self.hidden = nn.ModuleList(Linear(a, b, bias=biased(norm)) for a, b in pairwise(widths))
        norms = [normalisation(norm, hidden_units) for _ in range(hidden_layers)]
        self.norms = nn.ModuleList(n for n in norms if n is not None)
        self.head = Linear(widths[-1], outputs)
        self.dropout_widths = (hidden_units,) * hidden_layers
        self._kind, self._activation = activation, ACTIVATIONS[activation]

    def forward(self, x: Tensor, masks: Masks = ()) -> Tensor:
        """[rows, …] → [rows, outputs]; one mask of `hidden_units` per hidden layer."""
        x = x.flatten(1)
        for i, layer in enumerate(self.hidden):
            x = layer(x)
            if self.norms:
                x = self.norms[i](x)
            x = self._activation(x)
            if masks:
                x = x * masks[i]
        out: Tensor = self.head(x)
        return out

    def steps(self) -> tuple[Step, ...]:
        """Those of `forward`, in its order."""
        found: list[Step] = []
        for i in range(len(self.hidden)):
            found.append(Affine(name=f"hidden.{i}"))
            if self.norms:
                found.append(normed(self.norms[i], f"norms.{i}"))
            found += [Activated(kind=self._kind), Masked(index=i)]
        return (*found, Affine(name="head"))


class ResidualMlp(Network):
    """A linear stem, `blocks` × (normalisation, linear, activation, dropout, linear, added to its input), a head.

    The residual perceptron of Gorishniy et al. 2021 (section 3.1), with blocks of constant width.
    """

    def __init__(
        self, *, inputs: int, outputs: int, hidden_units: int, blocks: int, activation: str, norm: str
    ) -> None:
        super().__init__()
        self.stem = Linear(inputs, hidden_units, bias=biased(norm))
        norms = [normalisation(norm, hidden_units) for _ in range(blocks + 1)]
        self.norms = nn.ModuleList(n for n in norms if n is not None)
        self.widen = nn.ModuleList(Linear(hidden_units, hidden_units) for _ in range(blocks))
        self.narrow = nn.ModuleList(Linear(hidden_units, hidden_units, bias=biased(norm)) for _ in range(blocks))
        self.head = Linear(hidden_units, outputs)
        self.dropout_widths = (hidden_units,) * blocks
        self._kind, self._activation = activation, ACTIVATIONS[activation]

    def forward(self, x: Tensor, masks: Masks = ()) -> Tensor:
        """[rows, features] → [rows, outputs]; one mask of `hidden_units` per block."""
        x = self.stem(x.flatten(1))
        for i, (widen, narrow) in enumerate(zip(self.widen, self.narrow, strict=True)):
            inner = self._activation(widen(self.norms[i](x) if self.norms else x))
            if masks:
                inner = inner * masks[i]
            x = x + narrow(inner)
        if self.norms:
            x = self.norms[-1](x)
        out: Tensor = self.head(self._activation(x))
        return out

    def steps(self) -> tuple[Step, ...]:
        """Those of `forward`, in its order."""
        norms: list[tuple[Step, ...]] = [(normed(norm, f"norms.{i}"),) for i, norm in enumerate(self.norms)] or [()] * (
            len(self.widen) + 1
        )
        blocks = [
            (
                *norms[i],
                Affine(name=f"widen.{i}"),
                Activated(kind=self._kind),
                Masked(index=i),
                Affine(name=f"narrow.{i}"),
            )
            for i in range(len(self.widen))
        ]
        last = (*norms[-1], Activated(kind=self._kind), Affine(name="head"))
        return (Affine(name="stem"), *(Residual(inner=block) for block in blocks), *last)
