"""What a cluster needs of each part, from measured costs per trial and per report. Pure arithmetic.

Costs are those of one controller and one database; a plan is for a cluster that is kept busy, so that trials come as
fast as its GPUs train them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DAY_S = 86_400.0
COMMIT_S = 0.01
"""What is stored together is what came while the transaction before was written: about so long, with its wait for the
disk."""
MESSAGES = 3
"""Of a trial beside its reports: started, saved, ended."""
STUDY = 100_000
"""Trials of one study: a campaign of more is many studies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What a trial takes without its reports, and what each report adds, of whatever is measured."""

    trial: float
    report: float

    def of(self, reports: float) -> float:
        """A trial with that many reports."""
        return self.trial + reports * self.report


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """One controller with one database. CPU in milliseconds; sizes in bytes.

    `controller` decides, collects and stores in large transactions, and each transaction costs `commit_ms` more;
    `server` and `server_commit_ms` are PostgreSQL's own CPU. `stored` and `logged` are bytes of tables with their
    indexes and of the write-ahead log; `fold` and `columns` memory of controller and API process, `refold` CPU of
    folding a study again; `sent` bytes from and to workers. `item_ms` is reading one item of a worker's stream,
    `waiting` the share of a CPU that waiting for 1,000 streams takes, `idle_pass_ms` a pass with nothing to do.
    """

    controller: Cost
    server: Cost
    stored: Cost
    logged: Cost
    fold: Cost
    columns: Cost
    refold: Cost
    sent: Cost
    commit_ms: float
    server_commit_ms: float
    item_ms: float
    waiting: float
    idle_pass_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """Work for `gpus` GPUs: `trials` trials of `trial_s` GPU seconds each when trained alone, with `reports` reports.

    `lanes` trials share a launch, and together they train `gain` times as fast as one after another. A checkpoint has
    `checkpoint` bytes.
    """

    gpus: int
    trials: int
    trial_s: float
    reports: int
    lanes: int
    gain: float
    checkpoint: float

    @property
    def per_s(self) -> float:
        """Trials that end in a second."""
        return self.gpus * self.gain / self.trial_s

    @property
    def days(self) -> float:
        return self.trials / self.per_s / DAY_S


def solve(few: float, many: float, *, trials: int, reports: tuple[int, int]) -> Cost:
    """The cost of a trial and of a report from two studies of `trials` trials, with few and with many reports each."""
    report = (many - few) / trials / (reports[1] - reports[0])
    return Cost(trial=few / trials - reports[0] * report, report=report)


def per_commit(extra_ms: float, *, commits: float) -> float:
    """CPU milliseconds of a transaction, from what so many more transactions for the same messages took."""
    return max(0.0, extra_ms / commits) if commits > 0 else 0.0


def together(per_s: float, *, lanes: int = 1) -> int:
    """Messages to a transaction, where `per_s` come: what comes during one, and at least a launch's lanes at once."""
    return max(lanes, round(per_s * COMMIT_S))


def commits(cluster: Cluster) -> float:
    """Transactions of the collector per trial."""
    messages = cluster.reports + MESSAGES
    return messages / together(cluster.per_s * messages, lanes=cluster.lanes)


def items(cluster: Cluster) -> float:
    """Items of workers' streams per trial: a report each, a beginning and an end, which the lanes of a launch share."""
    return (cluster.reports + 2) / cluster.lanes


def controller_ms(costs: Costs, cluster: Cluster) -> float:
    """CPU milliseconds of the controller's process per trial."""
    stored = costs.controller.of(cluster.reports) + commits(cluster) * costs.commit_ms
    return stored + items(cluster) * costs.item_ms


def server_ms(costs: Costs, cluster: Cluster) -> float:
    """CPU milliseconds of the database server per trial; 0 where the database has none."""
    return costs.server.of(cluster.reports) + commits(cluster) * costs.server_commit_ms


def standing(costs: Costs) -> float:
    """The share of a CPU that a controller takes whatever happens: ten passes a second, and waiting."""
    return costs.waiting + 10 * costs.idle_pass_ms / 1e3


def needs(costs: Costs, cluster: Cluster) -> Mapping[str, Any]:
    """What each part must give for as long as the cluster is busy, and what is there at the end."""
    per_s, reports = cluster.per_s, cluster.reports
    return {
        "trials/s": per_s,
        "reports/s": per_s * reports,
        "days": cluster.days,
        "controllers, CPUs": standing(costs) + per_s * controller_ms(costs, cluster) / 1e3,
        "of it reading streams": costs.waiting + per_s * items(cluster) * costs.item_ms / 1e3,
        "transactions/s": per_s * commits(cluster),
        "PostgreSQL, CPUs": per_s * server_ms(costs, cluster) / 1e3,
        "write-ahead log, MB/s": per_s * costs.logged.of(reports) / 1e6,
        "database at the end, GB": cluster.trials * costs.stored.of(reports) / 1e9,
        "rows of reports, millions": cluster.trials * reports / 1e6,
        "messages, MB/s": per_s * costs.sent.of(reports) / 1e6,
        "checkpoints written, MB/s": per_s * cluster.checkpoint / 1e6,
        "checkpoints at the end, TB": 2 * cluster.trials * cluster.checkpoint / 1e12,
        f"fold of a study of {STUDY:,}, MB": STUDY * costs.fold.of(reports) / 1e6,
        f"columns of a study of {STUDY:,}, MB": STUDY * costs.columns.of(reports) / 1e6,
        f"folding a study of {STUDY:,} again, s": STUDY * costs.refold.of(reports) / 1e3,
    }


def limits(costs: Costs, cluster: Cluster) -> Mapping[str, float]:
    """GPUs that one of each part serves with such trials: one controller process (one CPU: its threads take turns), one
    CPU of PostgreSQL."""
    per_gpu = cluster.gain / cluster.trial_s
    found = {"one controller process": (1.0 - standing(costs)) * 1e3 / controller_ms(costs, cluster) / per_gpu}
    if server_ms(costs, cluster) > 0:
        found["one CPU of PostgreSQL"] = 1e3 / server_ms(costs, cluster) / per_gpu
    return found


def gpu_hours_per_cpu_second(*, trials: int, trial_s: float, cpu_s: float) -> float:
    """GPU hours that a controller leads in one second of its CPU time, which so many trials took it `cpu_s` of."""
    return trials * trial_s / 3600.0 / cpu_s
