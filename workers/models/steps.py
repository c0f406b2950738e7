"""What a network over plain features does, said as a chain of steps.

A network that says so can be trained as lanes without autograd: a loop reads the steps and works forward and backward
for all lanes at once. Names are those of the module's own submodules. Nothing here computes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Affine:
    """A linear layer: x · weightᵀ + bias, of the submodule `name`."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchNormed:
    """Batch normalisation over the rows of a batch, of the submodule `name` (an nn.BatchNorm1d)."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerNormed:
    """Layer normalisation over a row's features, of the submodule `name` (an nn.LayerNorm)."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Activated:
    """An activation by its name in `workers.models.parts.ACTIVATIONS`."""

    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Masked:
    """The dropout mask of this index; nothing where no masks are given."""

    index: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Residual:
    """x + inner(x)."""

    inner: tuple[Step, ...]


Step = Affine | BatchNormed | LayerNormed | Activated | Masked | Residual
