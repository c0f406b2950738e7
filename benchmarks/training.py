"""Training throughput: 256 random trials of 10 epochs through our service, Ray Tune (as documented; with reused
actors), two bare processes and Optuna (n_jobs 1 and 2).

Ours is the whole path: a server process on loopback, SQLite, a local Ray, the Python SDK; warm workers; timed by the
database from the stored submission to the end of the study, preflight and calibration included. The first study of its
kind measures how its structures are best trained, later ones find that in the database: both have a row. With `lanes:
off` nothing is fused. Contenders take turns (ours, a peer, ours, a peer …), and a ratio is the median over pairs that
ran next to each other: a busy minute slows both of a pair. While a peer runs, the server idles beside it.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import children, digits, measured, server
from benchmarks.harness import Figure, Options, Outcome, Table
from benchmarks.measured import Measured

DOCUMENTED = "Ray Tune, as documented"
REUSED = "Ray Tune, reuse_actors=True"
OPTUNA_1 = "Optuna in process, n_jobs=1"
OPTUNA_2 = "Optuna in process, n_jobs=2"
BARE = "two bare processes"
PLAIN = "hpo-service, lanes: off"
FIRST = "hpo-service, first of its kind"
OURS = "hpo-service"

WORKERS = 2
WIDTH_OF_WARMING = 64  # another structure than the measured one: its calibration is no use to what follows
PEERS: dict[str, tuple[str, dict[str, Any], float]] = {
    DOCUMENTED: ("benchmarks.ray_tune", {"how": "documented"}, 100.0),
    REUSED: ("benchmarks.ray_tune", {"how": "reused"}, 12.0),
    OPTUNA_1: ("benchmarks.bare", {"how": "optuna", "jobs": 1}, 5.0),
    OPTUNA_2: ("benchmarks.bare", {"how": "optuna", "jobs": 2}, 5.0),
    BARE: ("benchmarks.bare", {"how": "bare"}, 3.0),
}
"""Module, request and aim of each peer."""
ONCE = (DOCUMENTED, OPTUNA_1, OPTUNA_2)
STRETCH = 4.0
AGREE = 0.01
HEADINGS = (
    "contender", "trials", "runs", "trials/s", "after the start", "CPU ms/trial", "ours ÷ it", "mean accuracy",
    "ours on the same",
)  # fmt: skip
Run = dict[str, Any]
"""A peer's: "seconds", "accuracies", perhaps "cpu_s", "steady_per_s"."""


@dataclass
class Found:
    """What ran: each peer's runs with the run of ours just before, and ours alone."""

    pairs: dict[str, list[tuple[Measured, Run]]] = field(default_factory=dict)
    plain: list[tuple[Measured, Measured]] = field(default_factory=list)
    first: list[Measured] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)

    @property
    def ours(self) -> list[Measured]:
        """Every run on warm workers whose methods were known."""
        paired = [ours for some in self.pairs.values() for ours, _ in some]
        return paired + [ours for ours, _ in self.plain]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How many trials each contender trains: peers that are slow get the first few of ours."""

    ours: int
    reused: int
    documented: int
    optuna: int
    rounds: int

    def of(self, name: str) -> int:
        few = {DOCUMENTED: self.documented, REUSED: self.reused, OPTUNA_1: self.optuna, OPTUNA_2: self.optuna}
        return few.get(name, self.ours)


FULL = Sizes(ours=256, reused=64, documented=16, optuna=64, rounds=3)
QUICK = Sizes(ours=64, reused=24, documented=6, optuna=24, rounds=1)


def definition(trials: int, seed: int, *, hidden: int = digits.HIDDEN, lanes: int | str = "auto") -> dict[str, Any]:
    return {
        "name": f"benchmark-training-{trials}",
        "objective": {"metric": "val_accuracy", "direction": "maximize"},
        "space": space(),
        "algorithm": {"name": "random"},
        "trainer": {"recipe": "image_classifier", "params": {**trainer(hidden), "epochs": digits.EPOCHS}},
        "budget": {"trials": trials},
        "resources": {"cpu": 1, "lanes": lanes},
        "seed": seed,
    }


def space() -> dict[str, Any]:
    return {
        "lr": {"type": "loguniform", "low": 1e-3, "high": 0.3},
        "batch_size": {"type": "power_of_two", "low": 16, "high": 256},
        "momentum": {"type": "uniform", "low": 0.85, "high": 0.95},
    }


def trainer(hidden: int = digits.HIDDEN) -> dict[str, Any]:
    """What the perceptron's recipe is told of all trials alike."""
    return {
        "data": "digits", "model": "mlp", "hidden_units": hidden, "optimizer": "momentum", "lr_schedule": "constant",
    }  # fmt: skip


def warm(url: str) -> None:
    """Both workers up, with their imports and data, and idle again."""
    measured.train(url, definition(16, seed=99, hidden=WIDTH_OF_WARMING, lanes="off"))
    server.wait_for_workers(url, WORKERS)


def run(options: Options) -> Outcome:
    sizes = QUICK if options.quick else FULL
    data = options.scratch / "digits.npz"
    digits.export(data)
    found = Found()
    for number in range(sizes.rounds):
        with server.running(options.scratch / f"server-{number}", cpus=WORKERS) as url:
            warm(url)
            found.idle.append(measured.idle_share(url))
            _round(url, data, sizes, number, found)
    return _outcome(found, sizes)


def _round(url: str, data: Path, sizes: Sizes, number: int, found: Found) -> None:
    """Every contender beside ours; those that are slow or vary little, in the first round alone."""
    found.first.append(measured.train(url, definition(sizes.ours, seed=number)))
    for name, (module, request, _) in PEERS.items():
        if number and name in ONCE:
            continue
        ours = measured.train(url, definition(sizes.ours, seed=number))
        configs = ours.params[: sizes.of(name)]
        found.pairs.setdefault(name, []).append(
            (ours, children.ask(module, {**request, "data": str(data), "configs": configs}))
        )
    ours = measured.train(url, definition(sizes.ours, seed=number))
    found.plain.append((ours, measured.train(url, definition(sizes.ours, seed=number, lanes="off"))))


def rate(run: Run) -> float:
    """Trials per second of a peer."""
    return len(run["accuracies"]) / float(run["seconds"])


def cpu_ms(runs: Sequence[Run]) -> float | None:
    """CPU milliseconds per trial, where they are known: they hardly depend on what else the machine does."""
    each = [1e3 * run["cpu_s"] / len(run["accuracies"]) for run in runs if "cpu_s" in run]
    return statistics.median(each) if each else None


def alike(pairs: Sequence[tuple[Measured, Run]]) -> tuple[float, float]:
    """Mean accuracies of the peer and of ours on the configurations that both trained, over all pairs."""
    theirs = [value for _, run in pairs for value in run["accuracies"]]
    ours = [value for one, run in pairs for value in one.values[: len(run["accuracies"])]]
    return statistics.fmean(theirs), statistics.fmean(ours)


def _outcome(found: Found, sizes: Sizes) -> Outcome:
    ratios = {name: statistics.median(a.rate / rate(b) for a, b in some) for name, some in found.pairs.items()}
    gain = statistics.median(ours.rate / plain.rate for ours, plain in found.plain)
    rows = [_peer_row(name, found.pairs[name], ratios[name]) for name in PEERS]
    plain = [one for _, one in found.plain]
    rows += [_own_row(PLAIN, plain, gain), _own_row(FIRST, found.first, None), _own_row(OURS, found.ours, 1.0)]
    apart = [abs(a - b) for a, b in (alike(some) for some in found.pairs.values())]
    steady = statistics.median(a.rate / b["steady_per_s"] for a, b in found.pairs[REUSED])
    aims = [
        Figure(name=f"ours ÷ {name}", value=ratios[name], unit="×", at_least=aim) for name, (_, _, aim) in PEERS.items()
    ]
    more = [
        Figure(name=f"ours ÷ {BARE}, as a stretch", value=ratios[BARE], unit="×", at_least=STRETCH),
        Figure(name="ours ÷ ours with lanes: off", value=gain, unit="×"),
        Figure(name=f"CPU per trial of {BARE} ÷ ours", value=_cpu_ratio(found), unit="×"),
        Figure(name=f"ours ÷ {REUSED}, after their start", value=steady, unit="×"),
        Figure(name="mean accuracy, at most apart from a bare loop's", value=_apart(found), unit="", below=AGREE),
    ]
    return Outcome(
        tables=[Table(headings=HEADINGS, rows=rows), _split({PLAIN: plain, FIRST: found.first, OURS: found.ours})],
        figures=[*aims, *more],
        notes=_notes(found, sizes, max(apart)),
    )


def _apart(found: Found) -> float:
    theirs, ours = alike(found.pairs[BARE])
    return abs(theirs - ours)


def _cpu_ratio(found: Found) -> float:
    """How much more CPU the bare loop takes per trial than all of ours, which a busy machine changes least."""
    each = [(cpu_ms([run]), ours.cpu_ms()) for ours, run in found.pairs[BARE]]
    return statistics.median(theirs / mine for theirs, mine in each if theirs is not None)


def _notes(found: Found, sizes: Sizes, apart: float) -> list[str]:
    first, later = found.first[0], found.ours[0]
    begin = [statistics.median(one.preflight_s for one in some) for some in (found.first, found.ours)]
    return [
        f"The first study of its kind: {measured.said(first.methods)}. A later one: {measured.said(later.methods)}.",
        f"Until it ran (preflight, calibration of the first structure) the first took {begin[0]:.2f} s, a later one "
        f"{begin[1]:.2f} s; both are in the rates.",
        f"{sizes.rounds} rounds, each with a server of its own; {', '.join(ONCE)} ran once.",
        "Ray Tune is timed over the whole of fit(); `after the start` leaves the start of its first actors out.",
        "The peers save no checkpoints and compute no training metrics; ours does both. For the same configuration "
        f"they draw other numbers: accuracies agree on average, and over few trials were up to {apart:.3f} apart.",
        f"The idle server took {statistics.median(found.idle):.1%} of one CPU while the peers ran.",
    ]


def _peer_row(name: str, pairs: Sequence[tuple[Measured, Run]], ratio: float) -> tuple[Any, ...]:
    runs = [run for _, run in pairs]
    steady = [run["steady_per_s"] for run in runs if run.get("steady_per_s")]
    return (
        name,
        len(runs[0]["accuracies"]),
        len(runs),
        statistics.median(map(rate, runs)),
        statistics.median(steady) if steady else None,
        cpu_ms(runs),
        ratio,
        *alike(pairs),
    )


def _own_row(name: str, runs: Sequence[Measured], ratio: float | None) -> tuple[Any, ...]:
    accuracy = statistics.fmean(value for one in runs for value in one.values)
    speed, cpu = (statistics.median(some) for some in ([one.rate for one in runs], [one.cpu_ms() for one in runs]))
    return (name, runs[0].trials, len(runs), speed, None, cpu, ratio, accuracy, accuracy)


def _split(ours: Mapping[str, Sequence[Measured]]) -> Table:
    """CPU milliseconds per trial by part."""
    rows = [
        (name, *(statistics.median(one.cpu_ms(part) for one in runs) for part in server.PARTS))
        for name, runs in ours.items()
    ]
    return Table(headings=("CPU ms/trial", *server.PARTS), rows=rows)
