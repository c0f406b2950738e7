"""The arithmetic of the benchmarks of training: marginal costs, pairs on the same configurations, brackets, methods."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import hyperband, measured, overhead, server, training
from benchmarks.measured import Measured


def _study(values: list[float], *, seconds: float = 10.0, cpu_s: dict[str, float] | None = None) -> Measured:
    used = cpu_s or dict.fromkeys(server.PARTS, 0.1)
    return Measured(seconds=seconds, preflight_s=0.5, cpu_s=used, values=values, resources=[10.0] * len(values))


def test_a_study_counts_trials_and_cpu_by_part() -> None:
    one = _study([0.9, 0.8], seconds=4.0, cpu_s={"server": 0.0, "controller": 0.01, "workers": 0.19, "Ray": 0.0})
    assert (one.rate, one.cpu_ms("controller")) == pytest.approx((0.5, 5.0))
    assert one.cpu_ms() == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("/usr/bin/python -m hpo_service.controller", "controller"),
        ("ray::TrialWorker.run", "workers"),
        ("ray::IDLE", "workers"),
        ("/site-packages/ray/core/src/ray/raylet/raylet --raylet_socket_name=x", "Ray"),
        ("", "Ray"),
    ],
)
def test_a_process_belongs_to_one_part(command: str, part: str) -> None:
    assert server.part_of(command) == part


def test_methods_are_counted_by_how_and_where_from() -> None:
    fused = {"method": "fused", "width": 32, "source": "measured"}
    plain = {"method": "plain", "width": 1, "source": "measured"}
    found = measured.methods([{"choices": [fused, plain]}, {"choices": [fused]}])
    assert found == {"fused × 32, measured": 2, "plain, measured": 1}
    assert "fused × 32, measured (2 structures)" in measured.said(found)
    assert measured.said({}) == "no methods were chosen"


def test_accuracies_are_compared_on_the_configurations_that_both_trained() -> None:
    ours = _study([0.9, 0.8, 0.1, 0.1])
    theirs = {"seconds": 1.0, "accuracies": [0.88, 0.82]}
    assert training.alike([(ours, theirs)]) == pytest.approx((0.85, 0.85))


@given(trial=st.floats(0.01, 10), report=st.floats(0.0, 1.0), reports=st.integers(2, 100), rounds=st.integers(1, 5))
def test_marginal_costs_are_found_again(trial: float, report: float, reports: int, rounds: int) -> None:
    found = overhead.marginal([trial + report] * rounds, [trial + reports * report] * rounds, reports)
    assert found == pytest.approx((trial, report), abs=1e-9)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_every_trial_keeps_its_bracket_whichever_comes_first(brackets: list[int]) -> None:
    owners = [bracket for bracket, size in enumerate(brackets) for _ in range(size)]
    theirs = hyperband.as_ray_fills(owners, brackets)
    assert theirs == sorted(owners, reverse=True)


def test_the_brackets_of_r_81_are_the_papers() -> None:
    assert hyperband.sizes(81) == [81, 34, 15, 8, 5]
    assert hyperband.cost(81) == 297 + 276 + 279 + 324 + 405


def test_what_is_measured_is_a_study_that_the_service_accepts() -> None:
    from hpo_service.core.definition import parse

    documents = [
        training.definition(256, 0), training.definition(16, 0, hidden=64, lanes="off"),
        hyperband.definition(81, seed=0, block=16), overhead.definition(10, 51, 0),
    ]  # fmt: skip
    parsed = [parse(document) for document in documents]
    assert [one.resources.lanes for one in parsed] == ["auto", "off", "auto", "auto"]
    assert parsed[2].budget.trials == 143


def test_a_figure_without_its_peer_is_never_made_up() -> None:
    first, plain = _study([0.9] * 143, seconds=5.0), _study([0.9] * 143, seconds=20.0)
    peer = {"seconds": 100.0, "epochs": 1767, "resources": [81], "winner": None, "complete": False}
    contest = hyperband.Contest(block=1, first=first, ours=[first], plain=plain, peer=peer)
    outcome = hyperband._outcome(81, [contest])
    names = {figure.name: figure.value for figure in outcome.figures}
    assert names["Ray Tune's wall time ÷ ours"] == pytest.approx(20.0)
    assert names["the same, per trained epoch"] == pytest.approx((100 / 1767) / (5 / 1430))
    assert not any("winners" in name for name in names)
    assert any("lower bound" in note for note in outcome.notes)
    assert all(math.isfinite(value) for value in names.values())


def test_the_cpu_of_a_server_and_its_children_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = "import os, time\nwhile time.process_time() < 0.1: pass\n"
    child = f"{busy}print('done', flush=True); input()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}, 'hpo_service.controller'])"
    with subprocess.Popen(
        [sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        monkeypatch.setitem(server._servers, "http://there", process)
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        split = server.cpu_split("http://there")
        process.communicate("\n")
    assert split["controller"] >= 0.09
    assert split["server"] + split["controller"] == pytest.approx(sum(split.values()))
