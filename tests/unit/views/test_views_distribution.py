"""Quantiles and groups against counting."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.views.distribution import MAX_GROUPS, POINTS, distribution, quantiles
from tests.unit.views.columns_support import columns, definition


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), max_size=900))
def test_each_point_says_how_many_are_not_above_it(values: list[float]) -> None:
    points, share = quantiles(np.array(values))
    assert points.size == share.size == min(len(values), POINTS)
    if values:
        assert points[0] == min(values)
        assert points[-1] == max(values)
        assert share[-1] == 1.0
    for point, part in zip(points.tolist(), share.tolist(), strict=True):
        rank = round(part * len(values))
        assert sorted(values)[rank - 1] == point


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "value": st.sampled_from([None, 1.0, 2.0, 3.0, float("nan"), float("inf")]),
            "state": st.sampled_from(["finished", "failed", "stopped"]),
            "params": st.fixed_dictionaries(
                {"optimizer": st.sampled_from(["sgd", "adam"]), "lr": st.floats(1e-5, 1.0)}
            ),
        }
    ),
    max_size=60,
)


@settings(deadline=None)
@given(ROWS, st.sampled_from(["state", "param.optimizer", "param.lr", "bracket", "metric.loss", "param.momentum"]))
def test_groups_hold_every_trial_that_ranks_once(rows: list[dict[str, object]], by: str) -> None:
    found = columns(definition(), rows)
    mask = np.arange(len(rows)) % 2 == 0
    answer = distribution(found, mask, by)
    everything, *groups = answer["groups"]
    ranked = [r for r in rows if r["state"] != "failed" and r["value"] in (1.0, 2.0, 3.0)]
    assert everything["n"] == len(ranked)
    if groups and groups[0]["name"] == "matching":
        matching = groups.pop(0)
        assert matching["n"] == int((found.ranks & mask).sum())
    if by in ("state", "param.optimizer", "param.lr"):
        assert sum(group["n"] for group in groups) == len(ranked)
    assert len(groups) <= MAX_GROUPS + 1
    assert answer["not_finite"] == sum(r["value"] is not None and r["value"] not in (1.0, 2.0, 3.0) for r in rows)


def test_a_number_of_many_values_is_cut_in_four() -> None:
    rows = [{"value": float(i), "params": {"lr": 10 ** (-5 + i / 20)}} for i in range(100)]
    _, *groups = distribution(columns(definition(), rows), np.ones(100, dtype=bool), "param.lr")["groups"]
    assert [group["n"] for group in groups] == [25, 25, 25, 25]
    assert groups[0]["value"].max() < groups[1]["value"].min()


def test_labels_beyond_a_dozen_come_together() -> None:
    values = [f"v{i}" for i in range(20)]
    study = definition(space={"kind": {"type": "choice", "values": values}})
    rows = [{"value": 1.0, "params": {"kind": values[i % 20]}} for i in range(100)]
    _, *groups = distribution(columns(study, rows), np.ones(100, dtype=bool), "param.kind")["groups"]
    assert len(groups) == MAX_GROUPS + 1
    assert groups[-1]["name"] == "other"
    assert sum(group["n"] for group in groups) == 100


def test_negative_values_are_grouped_too() -> None:
    found = columns(definition(), [{"value": value, "bracket": None} for value in (-2.0, -1.0, 1.0)])
    groups = distribution(found, np.ones(3, dtype=np.bool_), "value")["groups"]
    assert [(group["name"], group["n"]) for group in groups] == [("all", 3), ("-2", 1), ("-1", 1), ("1", 1)]


def test_large_numbers_are_told_apart() -> None:
    rows = [{"value": 1.0, "params": {"size": size}} for size in (2**20, 2**20 + 1, 0.1)]
    groups = distribution(columns(definition(), rows), np.ones(3, dtype=np.bool_), "param.size")["groups"]
    assert [group["name"] for group in groups] == ["all", "0.1", "1048576", "1048577"]
