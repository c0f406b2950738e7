"""The plan for a cluster is arithmetic on measured costs: it gives back what it was told, and grows the right way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import plan, scaling
from benchmarks.plan import Cluster, Cost, Costs

COSTS = Costs(
    controller=Cost(trial=1.0, report=0.1), server=Cost(trial=0.5, report=0.1), stored=Cost(trial=2000, report=200),
    logged=Cost(trial=8000, report=2000), fold=Cost(trial=1000, report=0), columns=Cost(trial=400, report=0),
    refold=Cost(trial=0.05, report=0.005), sent=Cost(trial=1500, report=230), commit_ms=2.0, server_commit_ms=1.0,
    item_ms=0.08, waiting=0.04, idle_pass_ms=0.2,
)  # fmt: skip
CLUSTER = Cluster(gpus=1000, trials=10_000_000, trial_s=600, reports=10, lanes=1, gain=1.0, checkpoint=80e3)


@given(trial=st.floats(0, 1e4), report=st.floats(0, 1e3), trials=st.integers(1, 10_000))
def test_two_studies_tell_a_trial_from_a_report(trial: float, report: float, trials: int) -> None:
    few, many = (trials * (trial + reports * report) for reports in (10, 30))
    found = plan.solve(few, many, trials=trials, reports=(10, 30))
    assert found.trial == pytest.approx(trial, abs=1e-6 * (1 + trial + 30 * report))
    assert found.report == pytest.approx(report, abs=1e-6 * (1 + trial + 30 * report))


def test_a_cluster_trains_as_fast_as_its_gpus() -> None:
    assert CLUSTER.per_s == pytest.approx(1000 / 600)
    assert CLUSTER.days == pytest.approx(10_000_000 * 600 / 1000 / 86_400)
    fused = replace(CLUSTER, lanes=32, gain=15.0)
    assert (fused.per_s, fused.days) == pytest.approx((25.0, CLUSTER.days / 15))


def test_messages_come_together_by_rate_and_by_launch() -> None:
    assert plan.together(20.0) == 1
    assert plan.together(3250.0) == 32
    assert plan.together(20.0, lanes=32) == 32
    assert plan.commits(CLUSTER) == pytest.approx(13.0)
    assert plan.commits(replace(CLUSTER, lanes=32)) == pytest.approx(13 / 32)


@given(gain=st.floats(1, 30), more=st.floats(1.1, 10))
def test_more_trials_a_second_need_more_of_everything(gain: float, more: float) -> None:
    slow = plan.needs(COSTS, replace(CLUSTER, lanes=32, gain=gain))
    fast = plan.needs(COSTS, replace(CLUSTER, lanes=32, gain=gain * more))
    for name in ("trials/s", "controllers, CPUs", "write-ahead log, MB/s", "messages, MB/s"):
        assert fast[name] > slow[name], name
    assert fast["database at the end, GB"] == slow["database at the end, GB"] == pytest.approx(40.0)


def test_a_part_is_full_where_it_serves_as_many_gpus_as_it_can() -> None:
    found = plan.limits(COSTS, CLUSTER)
    full = replace(CLUSTER, gpus=round(found["one controller process"]))
    # one message to a transaction at any rate: only then are costs per trial the same for few and many GPUs
    per_trial_ms = plan.controller_ms(COSTS, CLUSTER)
    assert full.per_s * per_trial_ms / 1e3 + plan.standing(COSTS) == pytest.approx(1.0, rel=1e-3)
    assert found["one CPU of PostgreSQL"] == pytest.approx(1e3 / plan.server_ms(COSTS, CLUSTER) * 600)


def test_a_database_without_a_server_has_no_limit_of_its_own() -> None:
    alone = replace(COSTS, server=Cost(trial=0, report=0), server_commit_ms=0.0)
    assert set(plan.limits(alone, CLUSTER)) == {"one controller process"}


def test_a_small_transaction_costs_what_more_of_them_took() -> None:
    assert plan.per_commit(300.0, commits=100) == pytest.approx(3.0)
    assert plan.per_commit(-1.0, commits=100) == 0.0
    assert plan.per_commit(5.0, commits=0) == 0.0


def test_gpu_hours_are_those_of_all_trials() -> None:
    assert plan.gpu_hours_per_cpu_second(trials=6000, trial_s=600, cpu_s=100) == pytest.approx(10.0)


def test_every_plan_of_the_benchmark_has_all_needs() -> None:
    table = scaling._plan_table(COSTS)
    assert len(table.headings) == 1 + len(scaling.CLUSTERS)
    assert {row[0] for row in table.rows} == set(plan.needs(COSTS, CLUSTER))
