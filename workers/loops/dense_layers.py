"""The layers that `dense_lanes` chains: each works forward, backward and in evaluation for all lanes at once.

Tensors are [lanes, rows, width]. A layer owns what it writes and may overwrite the gradient that it is handed unless
that is the gradient of a residual sum. No autograd anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from workers.loops.dense_norms import BatchNormLayer, LayerNormLayer
from workers.loops.lane_memory import Kept, Rows, Workspace
from workers.loops.lane_storage import LaneStorage
from workers.loops.products import multiply, multiply_add
from workers.models.parts import Masks
from workers.models.steps import Activated, Affine, BatchNormed, LayerNormed, Masked, Residual, Step

_aten = torch.ops.aten
_NARROW = 16  # outputs: fewer than a CPU's vector holds


class Layer(Protocol):
    """One step of the chain."""

    def forward(self, x: Rows, masks: Masks) -> Rows:
        """Training mode; keeps what `backward` needs."""
        ...

    def backward(self, gradient: Rows) -> Rows:
        """From the gradient of the outputs to that of the inputs; writes the gradients of its parameters."""
        ...

    def evaluate(self, x: Rows) -> Rows:
        """Evaluation mode."""
        ...


class AffineLayer:
    """x · weightᵀ + bias (if it has one), lane by lane. A network's few outputs lie output by output in memory rather
    than row by row: products are faster so, and what the loss does over classes then runs along rows."""

    def __init__(self, name: str, storage: LaneStorage, workspace: Workspace, *, first: bool, last: bool) -> None:
        values, grads = storage.parameters, storage.gradients
        self._weight, self._weight_grad = values[f"{name}.weight"], grads[f"{name}.weight"]
        self._transposed = self._weight.transpose(1, 2)
        bias = values.get(f"{name}.bias")
        self._bias_grad = None if bias is None else grads[f"{name}.bias"].unsqueeze(1)
        self._first = first
        self._turned = self._weight.stride(2) != 1
        _, outputs, inputs = self._weight.shape
        self._narrow = last and outputs < _NARROW and bias is not None
        self._added = None if bias is None else bias.unsqueeze(2 if self._narrow else 1)
        self._out = Kept(workspace, outputs, across=self._narrow)
        self._fresh = partial(workspace.rows, width=outputs, across=self._narrow)
        self._back = Kept(workspace, inputs)
        self._x = self._weight

    def forward(self, x: Rows, masks: Masks) -> Rows:
        """One batched product."""
        self._x = x.view
        return self._product(x.view, self._out.at(x.view.shape[1]))

    def _product(self, x: Tensor, out: Rows) -> Rows:
        if self._added is None:
            multiply(x, self._transposed, out=out.view)
        elif self._narrow:
            multiply_add(self._added, self._weight, x.mT, out=out.view.mT)
        else:
            multiply_add(self._added, x, self._transposed, out=out.view)
        return out

    def backward(self, gradient: Rows) -> Rows:
        """Two batched products; one in the first layer of all, whose inputs need no gradient."""
        d = gradient.view
        if self._turned:
            multiply(self._x.mT, d, out=self._weight_grad.mT)
        else:
            multiply(d.mT, self._x, out=self._weight_grad)
        if self._bias_grad is not None:
            torch.sum(d, 1, keepdim=True, out=self._bias_grad)
        if self._first:
            return gradient
        back = self._back.at(d.shape[1])
        multiply(d, self._weight, out=back.view)
        return back

    def evaluate(self, x: Rows) -> Rows:
        """Into fresh memory: the number of rows is another than in training, and this happens once an epoch."""
        return self._product(x.view, self._fresh(x.view.shape[1]))


_Function = Callable[..., Any]
# name → (function with `out`, gradient from (gradient, input, output, into))
_ACTIVATIONS: dict[str, tuple[_Function, _Function]] = {
    "relu": (
        lambda x, out: torch.relu_(x),
        lambda d, x, y: _aten.threshold_backward.grad_input(d, y, 0.0, grad_input=d),
    ),
    "leaky_relu": (
        lambda x, out: _aten.leaky_relu.out(x, 0.01, out=out),
        lambda d, x, y: _aten.leaky_relu_backward.grad_input(d, x, 0.01, False, grad_input=d),
    ),
    "elu": (
        lambda x, out: _aten.elu.out(x, out=out),
        lambda d, x, y: _aten.elu_backward.grad_input(d, 1.0, 1.0, 1.0, False, x, grad_input=d),
    ),
    "gelu": (
        lambda x, out: _aten.gelu.out(x, out=out),
        lambda d, x, y: _aten.gelu_backward.grad_input(d, x, grad_input=d),
    ),
    "silu": (
        lambda x, out: _aten.silu.out(x, out=out),
        lambda d, x, y: _aten.silu_backward.grad_input(d, x, grad_input=d),
    ),
    "tanh": (
        lambda x, out: torch.tanh(x, out=out),
        lambda d, x, y: _aten.tanh_backward.grad_input(d, y, grad_input=d),
    ),
}
_IN_PLACE = ("relu", "tanh")  # their gradients need the output alone


class ActivationLayer:
    """An elementwise function; in place where its gradient can be told from its output."""

    def __init__(self, kind: str, width: int, workspace: Workspace) -> None:
        self._function, self._gradient = _ACTIVATIONS[kind]
        self._in_place = kind in _IN_PLACE
        self._out = Kept(workspace, width)
        self._x = self._y = torch.empty(0)

    def forward(self, x: Rows, masks: Masks) -> Rows:
        """Over whole vectors, the few numbers behind the last lane included."""
        out = x if self._in_place else self._out.at(x.view.shape[1])
        self._x, self._y = x.flat, out.flat
        self._function(x.flat, out.flat)
        return out

    def backward(self, gradient: Rows) -> Rows:
        """In place."""
        self._gradient(gradient.flat, self._x, self._y)
        return gradient

    def evaluate(self, x: Rows) -> Rows:
        """In place: nothing else reads the outputs of the layer before it."""
        self._function(x.flat, x.flat)
        return x


class MaskLayer:
    """The product with a dropout mask."""

    def __init__(self, index: int, width: int, workspace: Workspace) -> None:
        self._index = index
        self._out = Kept(workspace, width)
        self._mask: Tensor | None = None

    def forward(self, x: Rows, masks: Masks) -> Rows:
        """Into memory of its own: the layer before may need its output."""
        self._mask = masks[self._index] if masks else None
        if self._mask is None:
            return x
        out = self._out.at(x.view.shape[1])
        torch.mul(x.view, self._mask, out=out.view)
        return out

    def backward(self, gradient: Rows) -> Rows:
        """In place."""
        if self._mask is not None:
            gradient.view.mul_(self._mask)
        return gradient

    def evaluate(self, x: Rows) -> Rows:
        """Nothing is dropped in evaluation."""
        return x


class ResidualLayer:
    """x + inner(x)."""

    def __init__(self, inner: Sequence[Layer]) -> None:
        self._inner = tuple(inner)

    def forward(self, x: Rows, masks: Masks) -> Rows:
        """Into the memory of the last inner layer."""
        out = x
        for layer in self._inner:
            out = layer.forward(out, masks)
        out.view.add_(x.view)
        return out

    def backward(self, gradient: Rows) -> Rows:
        """The inner chain ends with a linear layer, which leaves `gradient` as it is."""
        back = gradient
        for layer in reversed(self._inner):
            back = layer.backward(back)
        back.view.add_(gradient.view)
        return back

    def evaluate(self, x: Rows) -> Rows:
        """As `forward`; the first inner layer leaves x as it is."""
        out = x
        for layer in self._inner:
            out = layer.evaluate(out)
        out.view.add_(x.view)
        return out


def trainable_by_hand(steps: Sequence[Step], module: nn.Module) -> bool:
    """True where `layers_of` knows all there is to these steps: linear layers, normalisations with weights
    (and running statistics), all of it trained."""
    if not isinstance(steps[0], Affine) or not all(p.requires_grad for p in module.parameters()):
        return False
    return _known_chain(steps, module)


def _known_chain(steps: Sequence[Step], module: nn.Module) -> bool:
    twice = any(isinstance(a, Activated) and isinstance(b, Activated) for a, b in pairwise(steps))
    return not twice and all(_known(step, module) for step in steps)  # an activation writes over what it is handed


def _known(step: Step, module: nn.Module) -> bool:
    match step:
        case Residual(inner=inner):
            starts = bool(inner) and isinstance(inner[0], Affine | BatchNormed | LayerNormed)
            return starts and isinstance(inner[-1], Affine) and _known_chain(inner, module)
        case Affine(name=name):
            return isinstance(module.get_submodule(name), nn.Linear)
        case BatchNormed(name=name):
            norm = module.get_submodule(name)
            known = isinstance(norm, nn.BatchNorm1d) and norm.affine and norm.track_running_stats
            return known and norm.momentum is not None
        case LayerNormed(name=name):
            layer = module.get_submodule(name)
            return isinstance(layer, nn.LayerNorm) and layer.bias is not None and len(layer.normalized_shape) == 1
        case Activated(kind=kind):
            return kind in _ACTIVATIONS
        case Masked():
            return True


def layers_of(steps: Sequence[Step], storage: LaneStorage, workspace: Workspace) -> tuple[Layer, ...]:
    """The layers of a chain of steps, which must begin with a linear one."""
    return tuple(_chain(steps, storage, workspace, width=0, whole=True)[0])


def _chain(
    steps: Sequence[Step], storage: LaneStorage, workspace: Workspace, *, width: int, whole: bool
) -> tuple[list[Layer], int]:
    found: list[Layer] = []
    for i, step in enumerate(steps):
        match step:
            case Affine(name=name):
                found.append(
                    AffineLayer(name, storage, workspace, first=whole and i == 0, last=whole and i == len(steps) - 1)
                )
                width = storage.parameters[f"{name}.weight"].shape[1]
            case Activated(kind=kind):
                found.append(ActivationLayer(kind, width, workspace))
            case BatchNormed(name=name):
                found.append(BatchNormLayer(name, storage, workspace))
            case LayerNormed(name=name):
                found.append(LayerNormLayer(name, storage, workspace))
            case Masked(index=index):
                found.append(MaskLayer(index, width, workspace))
            case Residual(inner=inner):
                layers, width = _chain(inner, storage, workspace, width=width, whole=False)
                found.append(ResidualLayer(layers))
    return found, width
