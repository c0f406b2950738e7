"""A cluster of 1,000 GPUs, from measured costs: controller, database, memory, messages, streams.

First what a trial and a report cost, on SQLite and on PostgreSQL: two studies that differ in reports alone. Then one
controller with 1,000 simulated workers and a real store, at trial lengths that decide how many messages come together.
Then what Ray asks for waiting on 1,000 streams. From all of these the plan of `docs/scaling.md`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import children, databases, plan
from benchmarks.databases import POSTGRESQL, SQLITE
from benchmarks.harness import Figure, Options, Outcome, Table
from benchmarks.plan import Cluster, Cost, Costs

GPUS = 1000
TRIALS = 10_000_000
REPORTS = (10, 30)
BATCH = 256
COLLECT = "collecting.collect"
PERCEPTRON, RESNET = 80e3, 90e6  # bytes: 9,610 and 11.2 million parameters, each with one value of the optimiser
CLUSTERS = {
    "10 min, alone": Cluster(
        gpus=GPUS, trials=TRIALS, trial_s=600, reports=10, lanes=1, gain=1.0, checkpoint=RESNET
    ),
    "10 min, 32 lanes": Cluster(
        gpus=GPUS, trials=TRIALS, trial_s=600, reports=10, lanes=32, gain=15.0, checkpoint=PERCEPTRON
    ),
    "1 min, 32 lanes": Cluster(
        gpus=GPUS, trials=TRIALS, trial_s=60, reports=10, lanes=32, gain=15.0, checkpoint=PERCEPTRON
    ),
}  # fmt: skip


def run(options: Options) -> Outcome:
    trials = 500 if options.quick else 3000
    streams = children.ask(
        "benchmarks.ray_streams", {"streams": [2, 100, GPUS], "seconds": 1.0 if options.quick else 5.0}
    )
    absent = databases.missing()
    kinds = [SQLITE] if absent else [SQLITE, POSTGRESQL]
    found = {kind: _two(kind, options.scratch / "costs", trials) for kind in kinds}
    lengths = (60.0,) if options.quick else (600.0, 60.0, 4.0)
    ratio = [
        _at_ratio(kind, options.scratch / f"ratio-{trial_s:g}", trial_s, GPUS if trial_s > 10 else 3 * GPUS)
        for kind in kinds
        for trial_s in lengths
    ]
    costs = {
        kind: _costs(simulated, weighed, trials, streams, [one for one in ratio if one["kind"] == kind])
        for kind, (simulated, weighed) in found.items()
    }
    notes = [] if absent is None else [f"PostgreSQL was left out: {absent}"]
    return Outcome(
        tables=[
            _cost_table(costs),
            _size_table({kind: simulated for kind, (simulated, _) in found.items()}, trials),
            Table(headings=RATIO_HEADINGS, rows=[_ratio_row(one) for one in ratio]),
            Table(
                headings=("streams", "CPU of waiting, %"),
                rows=[(name, 100 * share) for name, share in streams["waiting"].items()],
            ),
            _plan_table(costs[kinds[-1]]),
            _limit_table(costs),
        ],
        figures=_figures(ratio),
        notes=[*notes, *NOTES, f"The plan is for {kinds[-1]}."],
    )


NOTES = (
    f"Costs: studies with {REPORTS[0]} and with {REPORTS[1]} reports a trial, random search, three parameters, two "
    f"metrics a report; {BATCH} messages to a transaction. CPU of the simulation itself is left out.",
    f"At the ratio: trials of 0.5 to 1.5 times that length; as many messages to a transaction as {GPUS:,} workers send "
    f"in {plan.COMMIT_S:g} s.",
    "The plan takes 15 × for 32 lanes, which is an aim and not measured here; checkpoints of 90 MB (ResNet-18) and "
    "80 kB (the digits perceptron), the newest two of each trial.",
)
RATIO_HEADINGS = (
    "database", "seconds a trial", "messages/s", "to a transaction", "controller CPU ms/trial",
    "of it deciding", "CPU % of the controller", "PostgreSQL CPU %", "GPU hours per CPU second",
    "GPUs per controller CPU",
)  # fmt: skip


def _simulate(url: str, folder: Path, **request: Any) -> dict[str, Any]:
    return children.ask("benchmarks.costs", {"how": "simulate", "url": url, "folder": str(folder), **request})


def _two(kind: str, folder: Path, trials: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What two studies cost that differ in reports alone, and what each weighs in memory."""
    simulated, weighed = [], []
    for reports in REPORTS:
        place = folder / f"{kind}-{reports}"
        with databases.fresh(kind, place) as url:
            one = _simulate(url, place, trials=trials, reports=reports, workers=GPUS, batch=BATCH, trial_s=60.0)
            simulated.append(one)
            weighed.append(children.ask("benchmarks.costs", {"how": "weigh", "url": url, "study": one["study"]}))
    return simulated, weighed


def _costs(
    simulated: Sequence[dict[str, Any]],
    weighed: Sequence[dict[str, Any]],
    trials: int,
    streams: dict[str, Any],
    ratio: Sequence[dict[str, Any]],
) -> Costs:
    def solved(few: float, many: float) -> Cost:
        return plan.solve(few, many, trials=trials, reports=(REPORTS[0], REPORTS[1]))

    def of(name: str, scale: float = 1.0) -> Cost:
        return solved(scale * simulated[0][name], scale * simulated[1][name])

    def memory(name: str, what: str, scale: float = 1.0) -> Cost:
        return solved(scale * weighed[0][name][what], scale * weighed[1][name][what])

    cpu = [1e3 * (one["deciding_s"] + one["collecting_s"]) for one in simulated]
    return Costs(
        controller=solved(*cpu),
        server=of("server_s", 1e3),
        stored=solved(*(float(sum(one["bytes"].values())) for one in simulated)),
        logged=of("logged"),
        fold=memory("fold", "bytes"),
        columns=memory("columns", "bytes"),
        refold=memory("fold", "cpu_s", 1e3),
        sent=sent(simulated[0]["message_bytes"]),
        commit_ms=_per_commit(simulated[0], ratio, trials, lambda one: one["deciding_s"] + one["collecting_s"]),
        server_commit_ms=_per_commit(simulated[0], ratio, trials, lambda one: float(one["server_s"])),
        item_ms=streams["item_ms"],
        waiting=streams["waiting"][str(GPUS)],
        idle_pass_ms=1e3 * statistics.fmean(one["idle_pass_s"] for one in simulated),
    )


def _per_commit(
    large: dict[str, Any], ratio: Sequence[dict[str, Any]], trials: int, cpu_s: Callable[[dict[str, Any]], float]
) -> float:
    """What a transaction costs in itself, with its share of the decisions that follow: the runs with few messages to a
    transaction, less what as many trials cost in large ones; the median."""

    def one_of(one: dict[str, Any]) -> float:
        share = one["trials"] / trials
        extra = cpu_s(one) - share * cpu_s(large)
        more = one["transactions"][COLLECT] - share * large["transactions"][COLLECT]
        return plan.per_commit(1e3 * extra, commits=more)

    return statistics.median(one_of(one) for one in ratio)


def sent(each: dict[str, float]) -> Cost:
    """Bytes between controller and worker: an order, a beginning, a checkpoint and an end; each report."""
    return Cost(trial=sum(each[name] for name in ("Launch", "Started", "Saved", "Ended")), report=each["Reported"])


def _at_ratio(kind: str, folder: Path, trial_s: float, trials: int) -> dict[str, Any]:
    """One controller with 1,000 workers that train so many trials between them."""
    per_s = GPUS * (REPORTS[0] + plan.MESSAGES) / trial_s
    batch = plan.together(per_s)
    with databases.fresh(kind, folder / kind) as url:
        request = {"trials": trials, "reports": REPORTS[0], "workers": GPUS, "batch": batch, "trial_s": trial_s}
        found = _simulate(url, folder / kind, **request)
    cpu_s = found["deciding_s"] + found["collecting_s"]
    return {**found, **request, "kind": kind, "per_s": per_s, "cpu_s": cpu_s, "share": GPUS * cpu_s / trials / trial_s}


def _ratio_row(one: dict[str, Any]) -> tuple[Any, ...]:
    return (
        one["kind"],
        one["trial_s"],
        one["per_s"],
        one["batch"],
        1e3 * one["cpu_s"] / one["trials"],
        1e3 * one["deciding_s"] / one["trials"],
        100 * one["share"],
        100 * one["share"] * one["server_s"] / one["cpu_s"] if one["server_s"] else None,
        plan.gpu_hours_per_cpu_second(trials=one["trials"], trial_s=one["trial_s"], cpu_s=one["cpu_s"]),
        round(GPUS / one["share"]),
    )


def _figures(ratio: Sequence[dict[str, Any]]) -> list[Figure]:
    return [
        Figure(
            name=f"{one['kind']}, {one['trial_s']:g} s a trial: the controller's share of a CPU for {GPUS:,} GPUs",
            value=100 * one["share"], unit="%",
        )
        for one in ratio
    ]  # fmt: skip


def _cost_table(costs: dict[str, Costs]) -> Table:
    names = {
        "controller": "controller CPU, ms", "server": "database server CPU, ms", "stored": "stored, bytes",
        "logged": "write-ahead log, bytes", "fold": "fold in memory, bytes", "refold": "folding again, ms",
        "columns": "columns in memory, bytes", "sent": "messages, bytes",
    }  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for kind, one in costs.items():
        for name, words in names.items():
            cost: Cost = getattr(one, name)
            if cost.trial or cost.report:
                rows.append((f"{kind}: {words}", cost.trial, cost.report, cost.of(REPORTS[0])))
        rows.append((f"{kind}: a small transaction, with what is decided after it, ms", None, None, one.commit_ms))
        if one.server_commit_ms:
            rows.append((f"{kind}: the same, of the database server, ms", None, None, one.server_commit_ms))
        rows.append((f"{kind}: a pass with nothing to do, ms", None, None, one.idle_pass_ms))
    rows.append(("an item of a worker's stream, ms", None, None, next(iter(costs.values())).item_ms))
    return Table(headings=("", "a trial", "a report", f"a trial with {REPORTS[0]}"), rows=rows)


def _size_table(simulated: dict[str, list[dict[str, Any]]], trials: int) -> Table:
    """Bytes and rows by table, of the study with fewer reports, per trial."""
    first = {kind: some[0] for kind, some in simulated.items()}
    names = sorted({name for one in first.values() for name, rows in one["rows"].items() if rows >= trials / 100})
    rows = [
        (
            name,
            *(value for one in first.values() for value in (one["rows"][name] / trials, one["bytes"][name] / trials)),
        )
        for name in names
    ]
    headings = ("table", *(f"{kind}: {what} a trial" for kind in first for what in ("rows", "bytes")))
    return Table(headings=headings, rows=rows)


def _plan_table(costs: Costs) -> Table:
    each = {name: plan.needs(costs, cluster) for name, cluster in CLUSTERS.items()}
    needs = next(iter(each.values()))
    rows = [(need, *(float(found[need]) for found in each.values())) for need in needs]
    return Table(headings=(f"{GPUS:,} GPUs, {TRIALS:,} trials", *each), rows=rows)


def _limit_table(costs: dict[str, Costs]) -> Table:
    """GPUs that one of each part serves."""
    rows = []
    for kind, one in costs.items():
        each = [plan.limits(one, cluster) for cluster in CLUSTERS.values()]
        rows += [(f"{part} ({kind})", *(round(found[part]) for found in each)) for part in each[0]]
    return Table(headings=("GPUs served by", *CLUSTERS), rows=rows)
