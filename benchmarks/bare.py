"""Peers without a service: bare processes that loop over the trials, and Optuna in one process."""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

import torch

from benchmarks import children, digits


def answer(*, how: str, data: str, configs: list[dict[str, Any]], jobs: int = 2) -> dict[str, Any]:
    """`{"seconds", "accuracies", "cpu_s"}` of training every configuration: by bare loops in `jobs` processes that are
    warm by then, or by Optuna in one process with `n_jobs=jobs`."""
    return _optuna(data, configs, jobs) if how == "optuna" else _bare(data, configs, jobs)


def _bare(data: str, configs: list[dict[str, Any]], processes: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    ready, go = context.Barrier(processes + 1), context.Barrier(processes + 1)
    following, results = context.Value("i", 0), context.Queue()
    workers = [
        context.Process(target=_loop, args=(data, configs, ready, go, following, results)) for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    ready.wait()
    began = time.perf_counter()
    go.wait()
    found = {index: (accuracy, cpu_s) for index, accuracy, cpu_s in (results.get() for _ in configs)}
    seconds = time.perf_counter() - began
    for worker in workers:
        worker.join()
    accuracies, cpu = zip(*(found[i] for i in range(len(configs))), strict=True)
    return {"seconds": seconds, "accuracies": accuracies, "cpu_s": sum(cpu)}


def _loop(data: str, configs: list[dict[str, Any]], ready: Any, go: Any, following: Any, results: Any) -> None:
    """Take the next configuration until none is left."""
    torch.set_num_threads(1)
    rows = digits.load(data)
    digits.train(rows, configs[0], 0)  # warm
    ready.wait()
    go.wait()
    while True:
        with following.get_lock():
            index = following.value
            following.value += 1
        if index >= len(configs):
            return
        began = time.process_time()
        accuracy = digits.train(rows, configs[index], index)
        results.put((index, accuracy, time.process_time() - began))


def _optuna(data: str, configs: list[dict[str, Any]], jobs: int) -> dict[str, Any]:
    """`study.optimize` in one process, in memory; the configurations are enqueued, so that the work is the same."""
    import optuna  # lazy: the bare processes do without

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    rows = digits.load(data)
    digits.train(rows, configs[0], 0)  # warm

    def objective(trial: optuna.Trial) -> float:
        config = {
            "lr": trial.suggest_float("lr", 1e-4, 1.0, log=True),
            "momentum": trial.suggest_float("momentum", 0.0, 1.0),
            "batch_size": trial.suggest_int("batch_size", 16, 256),
        }
        return digits.train(rows, config, trial.number)

    study = optuna.create_study(direction="maximize")
    for config in configs:
        study.enqueue_trial(config)
    began, cpu = time.perf_counter(), time.process_time()
    study.optimize(objective, n_trials=len(configs), n_jobs=jobs)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    return {"seconds": seconds, "accuracies": [trial.value for trial in study.trials], "cpu_s": cpu_s}


if __name__ == "__main__":
    children.serve(answer)
