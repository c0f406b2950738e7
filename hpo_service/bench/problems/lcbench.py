"""LCBench's learning curves by the surrogate of YAHPO Gym (Zimmer et al. 2021; Pfisterer et al. 2022): seven parameters
of a multilayer perceptron on tabular data, 52 epochs, validation accuracy in per cent.

The folder holds the surrogate (`model.onnx`), its encoding of tasks and `reference.json`, whose tasks are those that
searches may be developed on. All others are held out: they are refused. Needs onnxruntime, the extra `bench`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hpo_service.bench.problems.base import Floats, Problem
from hpo_service.errors import InvalidInput, Unavailable

EPOCHS = 52
SPACE: Mapping[str, Any] = {
    "batch_size": {"type": "log_integer", "low": 16, "high": 512},
    "learning_rate": {"type": "loguniform", "low": 1e-4, "high": 1e-1},
    "momentum": {"type": "uniform", "low": 0.1, "high": 0.99},
    "weight_decay": {"type": "uniform", "low": 1e-5, "high": 1e-1},
    "num_layers": {"type": "integer", "low": 1, "high": 5},
    "max_units": {"type": "log_integer", "low": 64, "high": 1024},
    "max_dropout": {"type": "uniform", "low": 0.0, "high": 1.0},
}
COLUMNS = tuple(SPACE)
"""The surrogate's inputs after the epoch, in its order."""
TIME, ACCURACY = 0, 1
"""Of its outputs: seconds of training up to the epoch, and validation accuracy."""

REMEMBERED = 256
"""Configurations whose outputs a surrogate remembers at most."""


class Surrogate:
    """The surrogate of one task."""

    def __init__(self, session: Any, code: int) -> None:
        self._session = session
        self._known: dict[tuple[float, ...], Floats] = {}
        self._task = np.full((EPOCHS, 1), code, dtype=np.int32)

    def outputs(self, params: Mapping[str, Any]) -> Floats:
        """All outputs after each epoch, shape (EPOCHS, 6); of the newest configurations they are remembered, for speed
        and curve are asked for apart."""
        key = tuple(float(params[name]) for name in COLUMNS)
        if key not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key] = self._computed(key)
        return self._known[key]

    def _computed(self, values: tuple[float, ...]) -> Floats:
        inputs = np.empty((EPOCHS, 1 + len(COLUMNS)), dtype=np.float32)
        inputs[:, 0] = np.arange(1, EPOCHS + 1)
        inputs[:, 1:] = values
        found: Floats = self._session.run(None, {"x_cat": self._task, "x_cont": inputs})[0].astype(np.float64)
        return found


def load(folder: Path, tasks: tuple[str, ...] = ()) -> list[Problem]:
    """The development tasks, or those of `tasks`; raises InvalidInput for any other, Unavailable without
    onnxruntime."""
    reference = json.loads((folder / "reference.json").read_text())
    codes = json.loads((folder / "encoding.json").read_text())["OpenML_task_id"]
    held_out = sorted(set(tasks) - set(reference))
    if held_out:
        raise InvalidInput(
            f"LCBench's tasks for development are {', '.join(reference)}, but got {', '.join(held_out)}; "
            "all others are held out: nothing is run on them"
        )
    session = _session(folder / "model.onnx")
    return [_problem(name, Surrogate(session, codes[name]), reference[name]) for name in tasks or reference]


def _problem(name: str, surrogate: Surrogate, scale: Mapping[str, float]) -> Problem:
    return Problem(
        collection="lcbench",
        name=name,
        space=SPACE,
        max_resource=EPOCHS,
        maximize=True,
        best=scale["best"],
        median=scale["ref0"],
        curves=lambda params: surrogate.outputs(params)[:, ACCURACY],
        speed=lambda params: max(1e-3, float(surrogate.outputs(params)[-1, TIME]) / scale["tmean"]),
    )


def _session(path: Path) -> Any:
    try:
        import onnxruntime  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        raise Unavailable(
            "LCBench's surrogate needs onnxruntime; install it with `pip install 'hpo-service[bench]'`"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)
