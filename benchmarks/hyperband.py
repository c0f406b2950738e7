"""Hyperband to its end (R = 81, eta = 3) on the digits perceptron: ours against Ray Tune's HyperBandScheduler.

The same brackets with the same configurations in them, both on two CPUs, both with checkpoints between rungs. Ours is
timed by the database from the stored submission to the end of the study on warm workers, Ray Tune over `fit()` with
reused actors. Ray Tune rounds up what a rung keeps, so that it trains some more epochs: the ratio is given as it is,
and per trained epoch. The winner's accuracy is that of the best trial among those that were trained for R epochs.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, TypeVar

from benchmarks import children, digits, measured, server, training
from benchmarks.harness import Figure, Options, Outcome, Table
from benchmarks.measured import Measured
from hpo_service.core.tables import hyperband_round

T = TypeVar("T")
ETA = 3
RAY = "Ray Tune, HyperBandScheduler, reuse_actors=True"
LIMIT_S = 480.0
AIM = 20.0
AGREE = 0.02
"""How far apart the winners' accuracies may lie: 359 images are validated on, so one image is 0.003."""


def definition(max_resource: int, *, seed: int, lanes: int | str = "auto") -> dict[str, Any]:
    return {
        "name": f"benchmark-hyperband-{max_resource}",
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
        "space": training.space(),
        "algorithm": {"name": "hyperband", "max_resource": max_resource, "eta": ETA},
        "trainer": {"recipe": "image_classifier", "params": training.trainer()},
        "budget": {"trials": sum(sizes(max_resource))},
        "resources": {"cpu": 1, "lanes": lanes},
        "seed": seed,
    }


def sizes(max_resource: int) -> list[int]:
    """Trials per bracket, in our order: from the shortest first rung to whole trainings."""
    return [plan.trials for plan in hyperband_round(1, max_resource, ETA)]


def cost(max_resource: int) -> float:
    """Epochs of one round of all brackets, as the paper has it."""
    return sum(plan.cost() for plan in hyperband_round(1, max_resource, ETA))


def as_ray_fills(items: Sequence[T], brackets: Sequence[int]) -> list[T]:
    """Our trials, bracket by bracket, in the order in which Ray Tune fills its own: the last bracket first."""
    starts = [sum(brackets[:index]) for index in range(len(brackets))]
    cut = [list(items[start : start + size]) for start, size in zip(starts, brackets, strict=True)]
    return [item for part in reversed(cut) for item in part]


def run(options: Options) -> Outcome:
    max_resource, later = (27, 2) if options.quick else (81, 4)
    data = options.scratch / "digits.npz"
    digits.export(data)
    with server.running(options.scratch / "server", cpus=training.WORKERS) as url:
        training.warm(url)
        first = measured.train(url, definition(max_resource, seed=0))
        ours = [measured.train(url, definition(max_resource, seed=0)) for _ in range(later // 2)]
        configs = as_ray_fills(first.params, sizes(max_resource))
        request = {
            "data": str(data), "configs": configs, "max_resource": max_resource, "eta": ETA, "limit_s": LIMIT_S,
        }  # fmt: skip
        peer = children.ask("benchmarks.ray_hyperband", request)
        ours += [measured.train(url, definition(max_resource, seed=0)) for _ in range(later - later // 2)]
        plain = measured.train(url, definition(max_resource, seed=0, lanes="off"))
    return _outcome(max_resource, first=first, ours=ours, plain=plain, peer=peer)


def _outcome(
    max_resource: int, *, first: Measured, ours: Sequence[Measured], plain: Measured, peer: dict[str, Any]
) -> Outcome:
    seconds = statistics.median(one.seconds for one in ours)
    middle = min(ours, key=lambda one: abs(one.seconds - seconds))
    per_epoch = (peer["seconds"] / peer["epochs"]) / (seconds / sum(middle.resources))
    rows = [
        (RAY, 1, len(peer["resources"]), peer["seconds"], peer["epochs"], peer["seconds"] / seconds, peer["winner"]),
        _row(training.PLAIN, [plain], seconds),
        _row(training.FIRST, [first], seconds),
        _row(training.OURS, ours, seconds),
    ]
    winner = peer["winner"]
    figures = [
        Figure(name="Ray Tune's wall time ÷ ours", value=peer["seconds"] / seconds, unit="×", at_least=AIM),
        Figure(name="the same, per trained epoch", value=per_epoch, unit="×", at_least=AIM),
        Figure(name="ours ÷ ours with lanes: off", value=plain.seconds / seconds, unit="×"),
    ]
    if winner is not None and middle.best is not None:
        figures.append(
            Figure(name="the winners' accuracies, apart", value=abs(middle.best - winner), unit="", below=AGREE)
        )
    headings = ("contender", "runs", "trials", "seconds", "epochs", "its time ÷ ours", "winner's accuracy")
    split = Table(
        headings=("CPU ms/trial", *server.PARTS),
        rows=[
            (name, *(one.cpu_ms(part) for part in server.PARTS))
            for name, one in ((training.PLAIN, plain), (training.FIRST, first), (training.OURS, middle))
        ],
    )
    return Outcome(
        tables=[Table(headings=headings, rows=rows), split],
        figures=figures,
        notes=_notes(max_resource, first=first, later=middle, peer=peer),
    )


def _notes(max_resource: int, *, first: Measured, later: Measured, peer: dict[str, Any]) -> list[str]:
    cut = "" if peer["complete"] else f" It did not come to its end within {LIMIT_S:g} s: its time is a lower bound."
    return [
        f"R = {max_resource}, eta = {ETA}: brackets of {sizes(max_resource)} trials, {cost(max_resource):,.0f} epochs "
        f"by the paper; Ray Tune trained {peer['epochs']:,}.{cut}",
        f"The first study of its kind: {measured.said(first.methods)}. A later one: {measured.said(later.methods)}.",
        "Ray Tune's trials draw other numbers for the same configurations, so that rungs may promote others.",
    ]


def _row(name: str, runs: Sequence[Measured], ours_s: float) -> tuple[Any, ...]:
    seconds = statistics.median(one.seconds for one in runs)
    epochs = statistics.median(sum(one.resources) for one in runs)
    return name, len(runs), runs[0].trials, seconds, round(epochs), seconds / ours_s, runs[0].best
