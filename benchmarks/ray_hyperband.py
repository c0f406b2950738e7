"""Ray Tune's HyperBandScheduler on the digits, as a child process: a class trainable with checkpoints, reused actors.

Its brackets have as many trials as the paper's, filled from the longest trainings to the shortest; of a rung it keeps
a third rounded up, where the paper (and ours) rounds down.
"""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune
from ray.tune.schedulers import HyperBandScheduler

from benchmarks import children, digits

CPUS = 2
STATE = "state.pt"


def answer(*, data: str, configs: list[dict[str, Any]], max_resource: int, eta: int, limit_s: float) -> dict[str, Any]:
    """`{"seconds", "epochs", "resources", "winner", "complete"}` of one Hyperband over the configurations, in this
    order; cut off after `limit_s`. The winner is the best last accuracy among trials that came to `max_resource`."""
    ray.init(address="local", num_cpus=CPUS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        watch = Watch()
        seconds = _fit(watch, data, configs, max_resource, eta, limit_s)
    finally:
        ray.shutdown()
    ends = list(watch.last.values())
    whole = [accuracy for resource, accuracy in ends if resource >= max_resource]
    return {
        "seconds": seconds,
        "epochs": watch.epochs,
        "resources": [resource for resource, _ in ends],
        "winner": max(whole, default=None),
        "complete": seconds < limit_s and len(ends) == len(configs),
    }


class Resumable(tune.Trainable):
    """Trains on from a checkpoint, and can take up the next configuration: actor, imports and data stay."""

    def setup(self, config: dict[str, Any]) -> None:
        torch.set_num_threads(1)
        self._rows = digits.load(config["data"])
        self.reset_config(config)

    def reset_config(self, config: dict[str, Any]) -> bool:
        self._training = digits.Training(self._rows, config["configs"][config["index"]], config["index"])
        return True

    def step(self) -> dict[str, float]:
        return self._training.epoch()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        torch.save(self._training.state_dict(), Path(checkpoint_dir) / STATE)

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        self._training.load_state_dict(torch.load(Path(checkpoint_dir) / STATE))


class Watch(tune.Callback):
    """Every epoch that was trained, and what each trial came to."""

    def __init__(self) -> None:
        self.epochs = 0
        self.last: dict[str, tuple[int, float]] = {}

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        self.epochs += 1
        self.last[trial.trial_id] = (result["training_iteration"], result["val_accuracy"])


def _fit(watch: Watch, data: str, configs: list[dict[str, Any]], max_resource: int, eta: int, limit_s: float) -> float:
    """Seconds of `fit()`."""
    scheduler = HyperBandScheduler(time_attr="training_iteration", max_t=max_resource, reduction_factor=eta)
    space = {"data": data, "configs": configs, "index": tune.grid_search(list(range(len(configs))))}
    with tempfile.TemporaryDirectory(prefix="bench-hyperband-") as storage:
        tuner = tune.Tuner(
            tune.with_resources(Resumable, {"cpu": 1}),
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="val_accuracy", mode="max", scheduler=scheduler, reuse_actors=True, time_budget_s=limit_s
            ),
            run_config=tune.RunConfig(
                storage_path=storage, verbose=0, callbacks=[watch], stop={"training_iteration": max_resource}
            ),
        )
        began = time.perf_counter()
        results = tuner.fit()
        seconds = time.perf_counter() - began
    if results.num_errors:
        raise RuntimeError(f"{results.num_errors} trials failed: {results.errors[0]}")
    return seconds


if __name__ == "__main__":
    children.serve(answer)
