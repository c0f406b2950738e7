"""Peers on Ray: Ray Tune as documented, Ray Tune with reused actors, and the bare call of an actor.

A local Ray of two CPUs, started before the clock. What is timed is `Tuner.fit()`, as its user sees it; beside it stands
the rate once the first trials are through, which leaves the start of the reused actors out.
"""

from __future__ import annotations

import logging
import tempfile
import time
from typing import Any

import ray
import torch
from ray import tune

from benchmarks import children, digits

CPUS = 2
CALLS = 2000


def answer(*, how: str, data: str = "", configs: list[dict[str, Any]] | None = None, trials: int = 0) -> dict[str, Any]:
    """`{"seconds", "steady_per_s", "accuracies"}` of a Tune run, or the figures of a bare actor."""
    ray.init(address="local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        if how == "calls":
            return _calls()
        if how.startswith("empty"):
            return _fit(
                EmptyTrainable if how == "empty_reused" else empty_function,
                {"index": tune.grid_search(list(range(trials)))},
                reuse=how == "empty_reused",
                steps=1,
            )
        space = {"data": data, "configs": configs, "index": tune.grid_search(list(range(len(configs or []))))}
        reuse = how == "reused"
        return _fit(DigitsTrainable if reuse else train_function, space, reuse=reuse, steps=digits.EPOCHS)
    finally:
        ray.shutdown()


def train_function(config: dict[str, Any]) -> None:
    """A function trainable: one call per trial, one report per epoch."""
    torch.set_num_threads(1)
    rows = digits.load(config["data"])
    for metrics in digits.epochs(rows, config["configs"][config["index"]], config["index"]):
        tune.report(metrics)


class DigitsTrainable(tune.Trainable):
    """A class trainable that can take up the next configuration: the actor, its imports and its data stay."""

    def setup(self, config: dict[str, Any]) -> None:
        torch.set_num_threads(1)
        self._rows = digits.load(config["data"])
        self.reset_config(config)

    def reset_config(self, config: dict[str, Any]) -> bool:
        self._epochs = digits.epochs(self._rows, config["configs"][config["index"]], config["index"])
        return True

    def step(self) -> dict[str, float]:
        return next(self._epochs)


def empty_function(config: dict[str, Any]) -> None:
    tune.report({"val_accuracy": 0.5})


class EmptyTrainable(tune.Trainable):
    """Reports once."""

    def reset_config(self, config: dict[str, Any]) -> bool:
        return True

    def step(self) -> dict[str, float]:
        return {"val_accuracy": 0.5}


class Clock(tune.Callback):
    """When each trial completed."""

    def __init__(self) -> None:
        self.completed: list[float] = []

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.completed.append(time.perf_counter())


def _fit(trainable: Any, space: dict[str, Any], *, reuse: bool, steps: int) -> dict[str, Any]:
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="bench-tune-") as storage:
        tuner = tune.Tuner(
            tune.with_resources(trainable, {"cpu": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(metric="val_accuracy", mode="max", reuse_actors=reuse),
            run_config=tune.RunConfig(
                storage_path=storage,
                verbose=0,
                callbacks=[clock],
                stop={"training_iteration": steps} if reuse else None,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False if reuse else None),
            ),
        )
        began = time.perf_counter()
        results = tuner.fit()
        seconds = time.perf_counter() - began
    if results.num_errors:
        raise RuntimeError(f"{results.num_errors} trials failed: {results.errors[0]}")
    found = {}
    for result in (results[i] for i in range(len(results))):
        if result.config is None or result.metrics is None:
            raise RuntimeError(f"a trial ended without a report: {result.path}")
        found[result.config["index"]] = result.metrics["val_accuracy"]
    return {
        "seconds": seconds,
        "steady_per_s": _steady(clock.completed),
        "accuracies": [found[i] for i in sorted(found)],
    }


def _steady(completed: list[float]) -> float:
    """Trials per second after the first `CPUS` were through."""
    rest = completed[CPUS - 1 :]
    return (len(rest) - 1) / (rest[-1] - rest[0]) if len(rest) > 1 else 0.0


class Bare:
    """An actor that does nothing."""

    def nothing(self) -> None:
        """Returns."""


def _calls() -> dict[str, Any]:
    """Milliseconds of one awaited call of a warm actor, and calls per second when many are under way."""
    remote: Any = ray.remote(Bare)
    actor = remote.remote()
    for _ in range(100):
        ray.get(actor.nothing.remote())
    began = time.perf_counter()
    for _ in range(CALLS):
        ray.get(actor.nothing.remote())
    one = (time.perf_counter() - began) / CALLS
    began = time.perf_counter()
    ray.get([actor.nothing.remote() for _ in range(CALLS)])
    return {"call_ms": one * 1e3, "pipelined_per_s": CALLS / (time.perf_counter() - began)}


if __name__ == "__main__":
    children.serve(answer)
