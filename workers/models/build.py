"""From a model's name and parameters to a network with its first weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from workers.models.convolutional import Cnn, ResNet
from workers.models.dense import LinearModel, Mlp, ResidualMlp
from workers.models.parts import Network, initialise

_Params = Mapping[str, Any]


def _dense(params: _Params) -> dict[str, Any]:
    return {
        "hidden_units": int(params["hidden_units"]),
        "activation": params["activation"],
        "norm": params["normalization"],
    }


def _linear(params: _Params, shape: tuple[int, ...], outputs: int) -> Network:
    return LinearModel(inputs=math.prod(shape), outputs=outputs)


def _mlp(params: _Params, shape: tuple[int, ...], outputs: int) -> Network:
    layers = int(params["hidden_layers"])
    return Mlp(inputs=math.prod(shape), outputs=outputs, hidden_layers=layers, **_dense(params))


def _residual(params: _Params, shape: tuple[int, ...], outputs: int) -> Network:
    blocks = int(params["hidden_layers"])
    return ResidualMlp(inputs=math.prod(shape), outputs=outputs, blocks=blocks, **_dense(params))


def _convolutional(network: Callable[..., Network]) -> Callable[[_Params, tuple[int, ...], int], Network]:
    def build(params: _Params, shape: tuple[int, ...], outputs: int) -> Network:
        return network(
            channels=shape[0],
            outputs=outputs,
            width=int(params["width"]),
            activation=params["activation"],
            norm=params["normalization"],
        )

    return build


_MODELS: dict[str, Callable[[_Params, tuple[int, ...], int], Network]] = {
    "softmax": _linear,
    "linear": _linear,
    "mlp": _mlp,
    "resmlp": _residual,
    "cnn": _convolutional(Cnn),
    "resnet": _convolutional(ResNet),
}


def build_model(
    params: Mapping[str, Any], *, shape: tuple[int, ...], outputs: int, generator: torch.Generator
) -> Network:
    """The network that `params["model"]` names, on the CPU, its weights drawn from `generator`.

    `shape` is that of one row. Raises KeyError for an unknown name: the catalog refuses those before.
    """
    network = _MODELS[params["model"]](params, shape, outputs)
    initialise(network, generator, activation=str(params["activation"]))
    return network
