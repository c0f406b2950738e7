"""The layers that `dense_lanes` chains: each works forward, backward and in evaluation for all lanes at once.

Tensors are [lanes, rows, width]. A layer owns what it writes and may overwrite the gradient that it is handed unless
that is the gradient of a residual sum. No autograd anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from workers.loops.lane_storage import LINE, LaneStorage, whole_lines, whole_vectors
from workers.models.parts import Masks
from workers.models.steps import Activated, Affine, BatchNormed, LayerNormed, Masked, Residual, Step

_aten = torch.ops.aten
_NARROW = 16  # outputs: fewer than a CPU's vector holds


class Rows:
    """[lanes, rows, width] and, where it lies in memory of ours, that memory as one vector of whole CPU vectors: the
    last few numbers of a loop are computed by other code, which rounds otherwise, and those would be a lane's."""

    __slots__ = ("flat", "view")

    def __init__(self, view: Tensor, flat: Tensor | None = None) -> None:
        self.view = view
        self.flat = view if flat is None else flat


class Workspace:
    """Makes memory for `lanes` lanes."""

    def __init__(self, lanes: int, device: torch.device) -> None:
        self._lanes, self._device = lanes, device

    def rows(self, rows: int, width: int, *, across: bool = False) -> Rows:
        """Memory for [lanes, rows, width], feature by feature where it lies `across`; holds anything."""
        apart = whole_lines(rows * width)
        numbers = whole_vectors(self._lanes * apart)
        flat = (
            torch.empty(numbers, device=self._device)
            if apart == rows * width
            else torch.zeros(numbers, device=self._device)
        )
        if across:
            return Rows(flat.as_strided((self._lanes, width, rows), (apart, rows, 1)).mT, flat)
        return Rows(flat.as_strided((self._lanes, rows, width), (apart, width, 1)), flat)

    def aligned(self, values: Tensor) -> Rows:
        """[lanes, rows, width] that came from elsewhere, copied where its lanes do not lie alike."""
        if values.stride(0) % LINE == 0:
            return Rows(values)
        kept = self.rows(values.shape[1], values.shape[2], across=values.stride(2) != 1)
        kept.view.copy_(values)
        return kept


class Kept:
    """Memory of one width, made at the first batch of a size and used again for every other of it."""

    def __init__(self, workspace: Workspace, width: int, *, across: bool = False) -> None:
        self._make = partial(workspace.rows, width=width, across=across)
        self._held: dict[int, Rows] = {}

    def at(self, rows: int) -> Rows:
        """The memory for batches of `rows` rows."""
        if rows not in self._held:
            self._held[rows] = self._make(rows)
        return self._held[rows]


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
    """x · weightᵀ + bias, lane by lane. The few outputs of a network lie output by output in memory rather than row by
    row: products are faster so, and what the loss does over classes then runs along rows."""

    def __init__(self, name: str, storage: LaneStorage, workspace: Workspace, *, first: bool, last: bool) -> None:
        values, grads = storage.parameters, storage.gradients
        self._weight, self._weight_grad = values[f"{name}.weight"], grads[f"{name}.weight"]
        self._transposed = self._weight.transpose(1, 2)
        self._bias, self._bias_grad = values[f"{name}.bias"], grads[f"{name}.bias"].unsqueeze(1)
        self._first = first
        _, outputs, inputs = self._weight.shape
        self._narrow = last and outputs < _NARROW
        self._out = Kept(workspace, outputs, across=self._narrow)
        self._fresh = partial(workspace.rows, width=outputs, across=self._narrow)
        self._back = Kept(workspace, inputs)
        self._x = self._weight

    def forward(self, x: Rows, masks: Masks) -> Rows:
        """One batched product."""
        self._x = x.view
        return self._product(x.view, self._out.at(x.view.shape[1]))

    def _product(self, x: Tensor, out: Rows) -> Rows:
        if self._narrow:
            torch.baddbmm(self._bias.unsqueeze(2), self._weight, x.mT, out=out.view.mT)
        else:
            torch.baddbmm(self._bias.unsqueeze(1), x, self._transposed, out=out.view)
        return out

    def backward(self, gradient: Rows) -> Rows:
        """Two batched products; one in the first layer of all, whose inputs need no gradient."""
        d = gradient.view
        torch.bmm(d.transpose(1, 2), self._x, out=self._weight_grad)
        torch.sum(d, 1, keepdim=True, out=self._bias_grad)
        if self._first:
            return gradient
        back = self._back.at(d.shape[1])
        torch.bmm(d, self._weight, out=back.view)
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


class BatchNormLayer:
    """Over the rows of a batch in training, by running statistics in evaluation (Ioffe & Szegedy 2015)."""

    def __init__(self, name: str, storage: LaneStorage, workspace: Workspace) -> None:
        module = storage.template.get_submodule(name)
        assert isinstance(module, nn.BatchNorm1d)
        self._eps, self._momentum = module.eps, module.momentum or 0.0
        self._affine = _Scaling(name, storage, workspace)
        self._mean, self._var = (storage.buffers[f"{name}.running_{part}"].unsqueeze(1) for part in ("mean", "var"))
        self._seen = storage.buffers[f"{name}.num_batches_tracked"]
        self._normal = Kept(workspace, self._affine.width)
        self._squares = Kept(workspace, self._affine.width)
        self._root = self._mean

    def forward(self, x: Rows, masks: Masks) -> Rows:
        """(x - mean) / √(variance + ε), scaled and moved; the running statistics take a tenth of the batch's."""
        count = x.view.shape[1]
        if count == 1:
            raise ValueError("batch normalisation needs batches of two rows or more, but got 1; raise batch_size")
        normal, squares = self._normal.at(count).view, self._squares.at(count).view
        mean = x.view.mean(1, keepdim=True)
        torch.sub(x.view, mean, out=normal)
        variance = torch.mul(normal, normal, out=squares).mean(1, keepdim=True)
        self._mean.lerp_(mean, self._momentum)
        self._var.lerp_(variance * (count / (count - 1)), self._momentum)
        self._seen.add_(1)
        self._root = variance.add_(self._eps).rsqrt_()
        normal.mul_(self._root)
        return self._affine.forward(normal)

    def backward(self, gradient: Rows) -> Rows:
        """Into memory of its own."""
        d, count = gradient.view, gradient.view.shape[1]
        normal, back = self._normal.at(count).view, self._squares.at(count)
        along, across = self._affine.backward(d, normal, scratch=back.view)
        torch.addcmul(d, normal, along.div(-count), out=back.view)
        back.view.sub_(across.div(count)).mul_(self._root * self._affine.weight)
        return back

    def evaluate(self, x: Rows) -> Rows:
        """One multiplication and one addition."""
        scale = (self._var + self._eps).rsqrt_().mul_(self._affine.weight)
        shift = self._affine.bias - self._mean * scale
        out = self._affine.fresh(x.view.shape[1])
        torch.addcmul(shift, x.view, scale, out=out.view)
        return out


class LayerNormLayer:
    """Over the features of each row (Ba et al. 2016)."""

    def __init__(self, name: str, storage: LaneStorage, workspace: Workspace) -> None:
        module = storage.template.get_submodule(name)
        assert isinstance(module, nn.LayerNorm)
        self._eps = module.eps
        self._affine = _Scaling(name, storage, workspace)
        self._workspace = workspace
        self._scaled = Kept(workspace, self._affine.width)
        self._x = self._normal = self._mean = self._root = torch.empty(0)

    def forward(self, x: Rows, masks: Masks) -> Rows:
        """(x - mean) / √(variance + ε), scaled and moved."""
        self._x = x.view
        self._normal, self._mean, self._root = self._normalised(x.view)
        return self._affine.forward(self._normal)

    def backward(self, gradient: Rows) -> Rows:
        """Into memory of its own."""
        d = gradient.view
        scaled = self._scaled.at(d.shape[1]).view
        self._affine.backward(d, self._normal, scratch=scaled)
        torch.mul(d, self._affine.weight, out=scaled)
        back, _, _ = torch.ops.aten.native_layer_norm_backward(
            scaled, self._x, [self._affine.width], self._mean, self._root, None, None, [True, False, False]
        )
        return self._workspace.aligned(back)

    def evaluate(self, x: Rows) -> Rows:
        """As `forward`."""
        out = self._affine.fresh(x.view.shape[1])
        torch.addcmul(self._affine.bias, self._normalised(x.view)[0], self._affine.weight, out=out.view)
        return out

    def _normalised(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found: tuple[Tensor, Tensor, Tensor] = torch.native_layer_norm(x, [self._affine.width], None, None, self._eps)
        return found


class _Scaling:
    """weight · x + bias, feature by feature: what both normalisations end with."""

    def __init__(self, name: str, storage: LaneStorage, workspace: Workspace) -> None:
        values, grads = storage.parameters, storage.gradients
        self.weight, self.bias = (values[f"{name}.{part}"].unsqueeze(1) for part in ("weight", "bias"))
        self._weight_grad, self._bias_grad = (grads[f"{name}.{part}"].unsqueeze(1) for part in ("weight", "bias"))
        self.width = self.weight.shape[2]
        self._workspace = workspace
        self._out = Kept(workspace, self.width)

    def fresh(self, rows: int) -> Rows:
        """Memory for the outputs of an evaluation."""
        return self._workspace.rows(rows, self.width)

    def forward(self, normal: Tensor) -> Rows:
        """Into memory that is used again."""
        out = self._out.at(normal.shape[1])
        torch.addcmul(self.bias, normal, self.weight, out=out.view)
        return out

    def backward(self, d: Tensor, normal: Tensor, *, scratch: Tensor) -> tuple[Tensor, Tensor]:
        """Writes its gradients, and returns them, [lanes, 1, width]; overwrites `scratch`."""
        torch.sum(torch.mul(d, normal, out=scratch), 1, keepdim=True, out=self._weight_grad)
        torch.sum(d, 1, keepdim=True, out=self._bias_grad)
        return self._weight_grad, self._bias_grad


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
