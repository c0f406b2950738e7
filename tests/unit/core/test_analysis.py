"""Readers' questions about finished work."""

from __future__ import annotations

from hpo_service.core import analysis


def test_differences_name_their_paths() -> None:
    found = analysis.differences(
        [{"seed": 0, "budget": {"trials": 5}}, {"seed": 0, "budget": {"trials": 6, "hours": 1}}]
    )
    assert found == [
        analysis.Difference(path="budget.hours", values=(None, 1)),
        analysis.Difference(path="budget.trials", values=(5, 6)),
    ]
    assert analysis.differences([]) == []
