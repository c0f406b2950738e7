"""The normalisations among the layers of `dense_layers`, forward and backward by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workers.loops.lane_memory import Kept, Rows, Workspace
from workers.loops.lane_storage import LaneStorage
from workers.models.parts import Masks


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
