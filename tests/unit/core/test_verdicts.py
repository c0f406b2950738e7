"""The sentences that say whether a difference could be luck."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from hpo_service.core.comparison import Outcome
from hpo_service.core.verdicts import Side, of_groups, of_studies


def side(name: str, value: float | None, **more: Any) -> Side:
    plain: dict[str, Any] = {"n": 40, "resource": 27.0, "metric": "acc", "maximize": True, "going": False}
    return Side(name=name, value=value, **{**plain, **more})


def outcome(difference: float, p: float) -> Outcome:
    return Outcome(difference, difference - 0.01, difference + 0.01, p)


def said(a: Side, b: Side, p: float = 0.3, *, corrected: float | None = None, replicates: bool = False) -> str:
    found = outcome((a.value or 0) - (b.value or 0), p)
    return of_studies(a, b, found, p if corrected is None else corrected, replicates=replicates)


def test_luck_and_hardly_luck() -> None:
    luck = said(side("wide", 0.97), side("deep", 0.96), 0.31)
    assert luck.startswith("wide is better by 0.01 (0.97 against 0.96); that could well be luck (p = 0.31,")
    assert "40 and 40 trials at resource 27" in luck
    assert "hardly luck (p = 0.004" in said(side("wide", 0.97), side("deep", 0.90), 0.004)


def test_the_correction_decides_and_is_told() -> None:
    text = said(side("a", 0.97), side("b", 0.9), 0.02, corrected=0.12)
    assert "could well be luck (p = 0.02, 0.12 after correction" in text


@pytest.mark.parametrize(("maximize", "better"), [(True, "a"), (False, "b")])
def test_the_better_one_is_named_first(maximize: bool, better: str) -> None:
    a, b = side("a", 0.97, maximize=maximize, n=5), side("b", 0.9, maximize=maximize, n=7)
    for one, two in itertools.permutations((a, b)):
        text = said(one, two)
        assert text.startswith(f"{better} is better by 0.07")
        assert ("5 and 7" if better == "a" else "7 and 5") in text


def test_what_does_not_compare_says_why() -> None:
    assert "different things (most acc and least loss)" in said(
        side("a", 1.0), side("b", 2.0, metric="loss", maximize=False)
    )
    assert said(side("a", 1.0), side("b", None)).startswith("b has no finite value yet")
    assert "to 81, b to 27" in said(side("a", 1.0, resource=81.0), side("b", 2.0))
    apart = of_studies(side("a", 1.0, resource=81.0), side("b", 2.0), None, None, replicates=False)
    assert "a trained its furthest trials to 81, b to 27" in apart
    assert said(side("a", 0.5), side("b", 0.5)) == "both came to 0.5; no difference."


def test_replicates_differ_by_luck_alone() -> None:
    assert "differ only in their seed: that much is luck" in said(side("a", 0.9), side("b", 0.8), 0.01, replicates=True)


def test_a_study_that_goes_on_is_judged_so_far() -> None:
    assert said(side("a", 0.9, going=True), side("b", 0.8)).startswith("So far: a is better")


def test_groups() -> None:
    few = of_groups(side("tpe", 0.9, n=3), side("random", 0.8, n=3), outcome(0.1, 0.1), 0.1)
    assert "tpe averages 0.9 over 3 studies, random 0.8 over 3: tpe is better by 0.1" in few
    assert "p is at least 0.1" in few
    many = of_groups(side("tpe", 0.9, n=5), side("random", 0.8, n=5), outcome(0.1, 0.008), 0.008)
    assert "hardly luck (p = 0.008" in many
    assert "could well be luck" in of_groups(side("x", 0.9, n=5), side("y", 0.8, n=5), outcome(0.1, 0.4), 0.4)
    assert "no difference" in of_groups(side("x", 0.9, n=5), side("y", 0.9, n=5), outcome(0.0, 1.0), 1.0)
