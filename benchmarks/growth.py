"""Growth: how training scales with the lanes that share a program, 1 to 256 of them, for a perceptron and a small
convolutional network at batches of 32 and 128; on a GPU also for a ResNet, and beside as many processes.

Every point is a process of its own, which trains the plain loop and the lanes in turns; the least of each counts. The
limit is arithmetic alone: the operations of an epoch, at the rate that a large square matrix product reaches in the
same process. No Ray, no server: the loops themselves. On a GPU, where lanes may replay recorded steps (CUDA graphs),
the same lanes are trained call by call as well.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import children
from benchmarks.harness import Figure, Options, Outcome, Table

LANES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
QUICK_LANES = (1, 8, 32)
BATCHES = (32, 128)
PROCESSES = (2, 4, 8, 16)
ROWS = {"cpu": 1024, "cuda": 8192}
_SQUARE = 1024

Point = dict[str, Any]


def run(options: Options) -> Outcome:
    device = _device()
    networks = ("mlp", "cnn") if device == "cpu" else ("mlp", "cnn", "resnet")
    lanes = QUICK_LANES if options.quick else LANES
    tables, figures, notes = [], [], []
    for network in networks:
        for batch in BATCHES[:1] if options.quick else BATCHES:
            points = [_point(network, batch, n, device, options) for n in lanes if _bearable(network, n, device)]
            tables.append(_table(network, batch, points))
            best = max(points, key=lambda point: point["ratio"])
            name = f"{network}, batch {batch}: plain ÷ best lanes ({best['lanes']})"
            figures.append(Figure(name=name, value=best["ratio"], unit="×"))
            if device != "cpu":
                most = max(points, key=lambda point: point["calls_ratio"])
                name = f"{network}, batch {batch}: call by call ÷ CUDA graphs ({most['lanes']} lanes)"
                figures.append(Figure(name=name, value=most["calls_ratio"], unit="×"))
                notes += [
                    f"{network}, batch {batch}, {p['lanes']} lanes: {p['graphs']}." for p in points if p["graphs"]
                ]
                tables.append(_crowd_table(network, batch, points, options))
    if device == "cpu":
        notes.append("No GPU here: of one nothing was measured.")
    notes.append("Memory is what a program takes at most beyond a process that has imported all and holds the data.")
    return Outcome(tables=tables, figures=figures, notes=notes)


def _device() -> str:
    import torch  # lazy: the list of benchmarks needs no torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _bearable(network: str, lanes: int, device: str) -> bool:
    """256 lanes of convolutions take minutes on a CPU, and say nothing that 64 do not."""
    return device != "cpu" or network == "mlp" or lanes <= 64


def _point(network: str, batch: int, lanes: int, device: str, options: Options) -> Point:
    request = {
        "network": network,
        "batch": batch,
        "lanes": lanes,
        "device": device,
        "rounds": 2 if options.quick else 4,
    }
    return children.ask("benchmarks.growth", request)


def _table(network: str, batch: int, points: list[Point]) -> Table:
    headings = (f"{network}, batch {batch}", "ms/trial-epoch", "plain", "plain ÷ lanes", "limit ms", "of limit", "MB")
    replayed = all("calls_ratio" in point for point in points)
    headings += ("calls ÷ graphs",) if replayed else ()
    rows = [
        (
            f"{p['lanes']} lanes",
            p["lanes_ms"],
            p["plain_ms"],
            p["ratio"],
            p["limit_ms"],
            p["limit_ms"] / p["lanes_ms"],
            p["megabytes"],
            *((p["calls_ratio"],) if replayed else ()),
        )
        for p in points
    ]
    return Table(headings=headings, rows=rows)


def _crowd_table(network: str, batch: int, points: list[Point], options: Options) -> Table:
    """As many processes, each training plainly, at the same time."""
    rows: list[tuple[Any, ...]] = []
    for processes in PROCESSES[:1] if options.quick else PROCESSES:
        with ThreadPoolExecutor(processes) as pool:
            found = list(pool.map(lambda _: _point(network, batch, 0, "cuda", options), range(processes)))
        each = max(point["plain_ms"] for point in found) / processes
        least = min(point["lanes_ms"] for point in points)
        rows.append((f"{processes} processes", each, each / least))
    return Table(headings=(f"{network}, batch {batch}", "ms/trial-epoch", "÷ best lanes"), rows=rows)


# In the child


def measure(*, network: str, batch: int, lanes: int, device: str, rounds: int) -> Point:
    """One point; with 0 lanes the plain loop alone."""
    import torch  # lazy: the parent only asks

    from workers.loops.lanes import LaneLearner
    from workers.loops.single import Learner

    torch.set_num_threads(1)
    task = made_up_task(network, batch, device)
    plain = Learner(task, fold=0, seed=0, horizon=100.0)
    plain.epoch(1)
    plain_ms = [_timed(lambda: plain.epoch(2), device)]
    if not lanes:
        return {"plain_ms": min([*plain_ms, *(_timed(lambda: plain.epoch(2), device) for _ in range(rounds))])}
    before = _held(device)
    together = LaneLearner([task] * lanes, fold=0, seeds=range(lanes), horizons=[100.0] * lanes)
    together.epoch([1] * lanes, ahead=99)
    taken = _peak(device) - before
    called = None if device == "cpu" else _called(task, lanes)
    lanes_ms, calls_ms = [], []
    for _ in range(rounds):
        lanes_ms.append(_timed(lambda: together.epoch([2] * lanes, ahead=98), device) / lanes)
        if called is not None:
            calls_ms.append(_timed(lambda: called.epoch([2] * lanes), device) / lanes)
        plain_ms.append(_timed(lambda: plain.epoch(2), device))
        if sum(lanes_ms) * lanes > 20_000:
            break  # what takes seconds needs no repeating
    replayed = {"calls_ratio": min(calls_ms) / min(lanes_ms), "graphs": together.graphs} if calls_ms else {}
    return {
        "lanes": lanes,
        "lanes_ms": min(lanes_ms),
        "plain_ms": min(plain_ms),
        "ratio": min(plain_ms) / min(lanes_ms),
        "limit_ms": 1e3 * _operations(task) / _rate(device),
        "megabytes": taken / 1e6,
        **replayed,
    }


def _called(task: Any, lanes: int) -> Any:
    """The same lanes, which replay nothing."""
    from workers.loops.lanes import LaneLearner

    learner = LaneLearner([task] * lanes, fold=0, seeds=range(lanes), horizons=[100.0] * lanes, replaying=False)
    learner.epoch([1] * lanes)
    return learner


def made_up_task(network: str, batch: int, device: str) -> Any:
    """Random rows: of 64 features on a CPU and 8 × 8 pixels, MNIST-shaped on a GPU."""
    import torch

    from search_spaces import catalog
    from workers.data import Fold, TaskData
    from workers.recipes import image_classifier

    side, rows = (8, ROWS["cpu"]) if device == "cpu" else (28, ROWS["cuda"])
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows + rows // 8, 1, side, side, generator=generator).to(device)
    y = torch.randint(10, (len(x),), generator=generator).to(device)
    fold = Fold(x_train=x[:rows], y_train=y[:rows], x_val=x[rows:], y_val=y[rows:])
    data = TaskData(folds=(fold,), classes=10, target_scale=(1.0,), identity={})
    params = {
        "model": network,
        "batch_size": batch,
        "hidden_units": 128,
        "width": 8 if device == "cpu" else 16,
        "optimizer": "momentum",
        "normalization": "batch" if network == "resnet" else "none",
        "lr": 0.01,
        "dropout": 0.0,
    }
    return image_classifier.task(catalog.complete("image_classifier", params), data, device=device)


def _timed(work: Callable[[], Any], device: str) -> float:
    """Milliseconds: of this process's CPU, or of the wall where a GPU works."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    began = clock()
    work()  # ends with a transfer, so the device is done too
    return 1e3 * (clock() - began)


def _operations(task: Any) -> float:
    """Floating-point operations of an epoch of one trial, validation included; by torch's own counter."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    fold, batch = task.data.folds[0], task.params["batch_size"]
    model = task.build(fold, torch.Generator()).to(task.device)
    with FlopCounterMode(display=False) as step:
        model(fold.x_train[:batch]).sum().backward()
    with FlopCounterMode(display=False) as checking, torch.no_grad():
        model(fold.x_val)
    return float(step.get_total_flops() * len(fold.x_train) / batch + checking.get_total_flops())


def _rate(device: str) -> float:
    """Operations per second of a large square matrix product: the best of several."""
    import torch

    a = torch.randn(_SQUARE, _SQUARE, device=device)
    repeats = 4 if device == "cpu" else 200

    def products() -> None:
        for _ in range(repeats):
            torch.mm(a, a)
        if device != "cpu":
            torch.cuda.synchronize()

    products()
    return 2e3 * repeats * _SQUARE**3 / min(_timed(products, device) for _ in range(5))


def _held(device: str) -> int:
    """Bytes in use now."""
    import torch

    gc.collect()
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * resource.getpagesize() if statm.exists() else 0


def _peak(device: str) -> int:
    """Bytes in use at most since; of the process's whole life on a CPU."""
    import torch

    if device != "cpu":
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    children.serve(measure)
