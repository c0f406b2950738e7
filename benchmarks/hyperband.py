"""Hyperband to its end (R = 81, eta = 3) on the digits perceptron: ours against Ray Tune's HyperBandScheduler.

The same brackets with the same configurations in them, both on two CPUs, both with checkpoints between rungs. Ours is
timed by the database from the stored submission to the end of the study on warm workers, Ray Tune over `fit()` with
reused actors. Ray Tune rounds up what a rung keeps, so that it trains some more epochs: the ratio is given as it is,
and per trained epoch. The winner's accuracy is that of the best trial among those that were trained for R epochs. Once
with configurations drawn one by one, once in blocks of 16 that share their batch size, so that small rungs
fill launches too.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
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
BLOCKS = (1, 16)
AGREE = 0.02
"""How far apart the winners' accuracies may lie: 359 images are validated on, so one image is 0.003."""


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Studies of ours and Ray Tune's run on the configurations that the first of them drew."""

    block: int
    first: Measured
    ours: Sequence[Measured]
    plain: Measured
    peer: dict[str, Any]

    @property
    def seconds(self) -> float:
        """The median over our later studies."""
        return statistics.median(one.seconds for one in self.ours)

    @property
    def middle(self) -> Measured:
        """The study that took about the median."""
        return min(self.ours, key=lambda one: abs(one.seconds - self.seconds))

    @property
    def ratio(self) -> float:
        return float(self.peer["seconds"]) / self.seconds

    @property
    def per_epoch(self) -> float:
        """The ratio of what a trained epoch takes."""
        return self.ratio * sum(self.middle.resources) / float(self.peer["epochs"])


def definition(max_resource: int, *, seed: int, lanes: int | str = "auto", block: int = 1) -> dict[str, Any]:
    return {
        "name": f"benchmark-hyperband-{max_resource}",
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
        "space": training.space(),
        "algorithm": {"name": "hyperband", "max_resource": max_resource, "eta": ETA, "block": block},
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
    max_resource, later, blocks = (27, 2, BLOCKS[:1]) if options.quick else (81, 4, BLOCKS)
    data = options.scratch / "digits.npz"
    digits.export(data)
    contests = []
    for block in blocks:
        with server.running(options.scratch / f"server-{block}", cpus=training.WORKERS) as url:
            training.warm(url)
            contests.append(_contest(url, data, max_resource, block, later))
    return _outcome(max_resource, contests)


def _contest(url: str, data: Path, max_resource: int, block: int, later: int) -> Contest:
    """Our first study, half of the later ones, Ray Tune, the other half, and one without lanes."""

    def train(lanes: str = "auto") -> Measured:
        return measured.train(url, definition(max_resource, seed=0, lanes=lanes, block=block))

    first = train()
    ours = [train() for _ in range(later // 2)]
    configs = as_ray_fills(first.params, sizes(max_resource))
    request = {"data": str(data), "configs": configs, "max_resource": max_resource, "eta": ETA, "limit_s": LIMIT_S}
    peer = children.ask("benchmarks.ray_hyperband", request)
    ours += [train() for _ in range(later - later // 2)]
    return Contest(block=block, first=first, ours=ours, plain=train("off"), peer=peer)


def _outcome(max_resource: int, contests: Sequence[Contest]) -> Outcome:
    rows = [row for contest in contests for row in _rows(contest)]
    cpu = [
        (f"{name}{_drawn(contest)}", *(one.cpu_ms(part) for part in server.PARTS))
        for contest in contests
        for name, one in (
            (training.PLAIN, contest.plain), (training.FIRST, contest.first), (training.OURS, contest.middle),
        )
    ]  # fmt: skip
    headings = ("contender", "runs", "trials", "seconds", "epochs", "its time ÷ ours", "winner's accuracy")
    return Outcome(
        tables=[Table(headings=headings, rows=rows), Table(headings=("CPU ms/trial", *server.PARTS), rows=cpu)],
        figures=[figure for contest in contests for figure in _figures(contest)],
        notes=_notes(max_resource, contests),
    )


def _drawn(contest: Contest) -> str:
    return "" if contest.block == 1 else f", in blocks of {contest.block}"


def _figures(contest: Contest) -> list[Figure]:
    drawn, winners = _drawn(contest), (contest.middle.best, contest.peer["winner"])
    found = [
        Figure(name=f"Ray Tune's wall time ÷ ours{drawn}", value=contest.ratio, unit="×", at_least=AIM),
        Figure(name=f"the same, per trained epoch{drawn}", value=contest.per_epoch, unit="×", at_least=AIM),
        Figure(name=f"lanes: off ÷ ours{drawn}", value=contest.plain.seconds / contest.seconds, unit="×"),
    ]
    if None not in winners:
        apart = abs(winners[0] - winners[1])
        found.append(Figure(name=f"the winners' accuracies, apart{drawn}", value=apart, unit="", below=AGREE))
    return found


def _rows(contest: Contest) -> list[tuple[Any, ...]]:
    peer, drawn = contest.peer, _drawn(contest)
    ours = ((training.PLAIN, [contest.plain]), (training.FIRST, [contest.first]), (training.OURS, contest.ours))
    return [
        (RAY + drawn, 1, len(peer["resources"]), peer["seconds"], peer["epochs"], contest.ratio, peer["winner"]),
        *(_row(name + drawn, runs, contest.seconds) for name, runs in ours),
    ]


def _row(name: str, runs: Sequence[Measured], ours_s: float) -> tuple[Any, ...]:
    seconds = statistics.median(one.seconds for one in runs)
    epochs = statistics.median(sum(one.resources) for one in runs)
    return name, len(runs), runs[0].trials, seconds, round(epochs), seconds / ours_s, runs[0].best


def _notes(max_resource: int, contests: Sequence[Contest]) -> list[str]:
    found = [
        f"R = {max_resource}, eta = {ETA}: brackets of {sizes(max_resource)} trials, {cost(max_resource):,.0f} epochs "
        "by the paper.",
        "Ray Tune's trials draw other numbers for the same configurations, so that rungs may promote others.",
    ]
    for contest in contests:
        drawn = _drawn(contest).removeprefix(", ") or "drawn one by one"
        first, later = measured.said(contest.first.methods), measured.said(contest.middle.methods)
        found.append(f"Configurations {drawn}. The first study of its kind: {first}. A later one: {later}.")
        if not contest.peer["complete"]:
            found.append(f"Ray Tune did not come to its end within {LIMIT_S:g} s: its time is a lower bound.")
    return found
