"""The benchmarks' own arithmetic: percentiles, ratios of rounds, verdicts, tables, JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import harness, run
from benchmarks.harness import Figure, Outcome, Table


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200))
def test_a_percentile_is_one_of_the_values_and_ordered(values: list[float]) -> None:
    shares = [harness.percentile(values, share) for share in (0.0, 0.5, 0.95, 1.0)]
    assert set(shares) <= set(values)
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (min(values), max(values))


def test_the_95th_percentile_leaves_five_of_a_hundred_above() -> None:
    assert harness.percentile([float(i) for i in range(100)], 0.95) == 95.0


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (Figure(name="rate", value=400.0, unit="/s", at_least=400.0), "met"),
        (Figure(name="rate", value=399.9, unit="/s", at_least=400.0), "missed"),
        (Figure(name="p95", value=29.9, unit="ms", below=30.0), "met"),
        (Figure(name="p95", value=30.0, unit="ms", below=30.0), "missed"),
        (Figure(name="free", value=1.0, unit="×"), ""),
    ],
)
def test_a_target_is_met_or_missed(figure: Figure, verdict: str) -> None:
    assert figure.verdict == verdict


def test_an_outcome_reads_as_tables_and_is_stored_whole(tmp_path: Path) -> None:
    outcome = Outcome(
        tables=[Table(headings=("who", "ms"), rows=[("ours", 1.25), ("peer", None)])],
        figures=[Figure(name="p95", value=31.0, unit="ms", below=30.0)],
        notes=["measured"],
    )
    assert "| ours | 1.25 |" in harness.text(outcome)
    assert "missed" in harness.text(outcome)
    path = harness.write("listing", outcome, quick=True, facts=harness.machine(), folder=tmp_path)
    stored = json.loads(path.read_text())
    assert stored["figures"][0]["verdict"] == "missed"
    assert stored["tables"][0]["rows"] == [["ours", 1.25], ["peer", None]]
    assert {"date", "cpu", "cpus", "python", "versions"} <= set(stored)


def test_an_unknown_benchmark_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run.main(["trainign"])
    assert "training" in capsys.readouterr().err
