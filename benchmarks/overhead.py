"""What the service itself costs per trial and per report: trials that train nothing and report once, or many times.

The whole path, from the stored submission to the study's end on warm workers. Two kinds of studies take turns, and what
the one takes longer is what its additional reports cost. Beside it, from the same run: one awaited call of a bare Ray
actor, which is what a service that asks an actor for every report pays at least.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import children, measured, server
from benchmarks.harness import Figure, Options, Outcome, Table
from benchmarks.measured import Measured

WORKERS = 2
PARALLEL = 64
MANY = 51
"""Reports of a trial of the second kind."""


def definition(trials: int, reports: int, seed: int) -> dict[str, Any]:
    return {
        "name": f"benchmark-overhead-{reports}",
        "objective": {"metric": "val_loss", "direction": "minimize"},
        "space": {
            "x": {"type": "uniform", "low": 0.0, "high": 1.0},
            "reports": {"type": "constant", "value": reports},
        },
        "algorithm": {"name": "random"},
        "trainer": {"function": "benchmarks.trainables:report_many"},
        "budget": {"trials": trials},
        "parallel": PARALLEL,
        "seed": seed,
    }


def run(options: Options) -> Outcome:
    trials, rounds = (400, 1) if options.quick else (2000, 3)
    calls = children.ask("benchmarks.ray_tune", {"how": "calls"})
    once: list[Measured] = []
    many: list[Measured] = []
    with server.running(options.scratch / "server", cpus=WORKERS) as url:
        measured.train(url, definition(200, 1, seed=99))
        server.wait_for_workers(url, WORKERS)
        for number in range(rounds):
            once.append(measured.train(url, definition(trials, 1, seed=number)))
            many.append(measured.train(url, definition(trials, MANY, seed=number)))
    return _outcome(once, many, calls)


def marginal(once: Sequence[float], many: Sequence[float], reports: int) -> tuple[float, float]:
    """(a trial without its reports, a report), each as the median over rounds of what two kinds of trials take: with
    one report, and with `reports`."""
    each = [(b - a) / (reports - 1) for a, b in zip(once, many, strict=True)]
    report = statistics.median(each)
    return statistics.median(once) - report, report


def _outcome(once: Sequence[Measured], many: Sequence[Measured], calls: dict[str, Any]) -> Outcome:
    def costs(of: Callable[[Measured], float]) -> tuple[float, float]:
        return marginal([of(one) for one in once], [of(one) for one in many], MANY)

    wall = costs(lambda one: 1e3 * one.seconds / one.trials)
    parts = {part: costs(lambda one, part=part: one.cpu_ms(part)) for part in server.PARTS}  # type: ignore[misc]
    call = calls["call_ms"]
    rows = [
        ("wall time, ms", *wall, 1e3 * wall[1]),
        *((f"CPU of the {part}, ms" if part != server.RAY else "CPU of Ray's own, ms", *cost, 1e3 * cost[1])
          for part, cost in parts.items()),
        ("a bare actor call, one at a time, ms", call, call, 1e3 * call),
        ("bare actor calls, pipelined, ms", *[1e3 / calls["pipelined_per_s"]] * 2, 1e6 / calls["pipelined_per_s"]),
    ]  # fmt: skip
    return Outcome(
        tables=[Table(headings=("", "a trial", "a report", "1,000 reports"), rows=rows)],
        figures=[
            Figure(name="service time per empty trial", value=wall[0], unit="ms"),
            Figure(name="service time per report", value=wall[1], unit="ms", below=round(call, 3)),
            Figure(name="a bare actor call ÷ a report", value=call / wall[1], unit="×"),
            Figure(name="an empty trial ÷ a bare actor call", value=wall[0] / call, unit="×"),
            Figure(
                name="controller CPU per 1,000 reports", value=1e3 * parts[server.CONTROLLER][1], unit="ms",
                below=round(1e3 * call),
            ),
        ],
        notes=[
            f"Studies of {once[0].trials:,} trials with 1 and with {MANY} reports each, {len(once)} of either, "
            f"{WORKERS} workers, {PARALLEL} trials in parallel, on SQLite. The trial's own first report is left out of "
            "its figure.",
            "The target of a report is the bare actor call of the same run.",
        ],
    )  # fmt: skip
