"""DEHB's brackets: the first one is successive halving, later ones take new trials at every rung, and nobody waits."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.core.definition import parse
from hpo_service.core.proposals import Continue, Start, Stop
from hpo_service.core.states import TrialState
from tests.conformance.driver import Driver, Nature


def study(*, trials: int = 60, workers: int = 1, nature: Nature | None = None, **more: Any) -> Driver:
    document = {
        "objective": {"metric": "loss"},
        "space": {"x": {"type": "uniform", "low": 0, "high": 1}},
        "algorithm": {"name": "dehb", "max_resource": 9},
        "trainer": {"function": "training:train"},
        "budget": {"trials": trials},
        **more,
    }
    return Driver(parse(document), nature or Nature(seed=3, horizon=9), workers=workers, seed=1)


def test_one_worker_goes_through_the_papers_brackets_in_order() -> None:
    """R = 9: nine trials at 1, of which three go on to 3 and one to 9; then five new ones at 3 and one at 9; then three
    at 9; and from the second round on every rung's places are new trials."""
    driver = study(trials=9 + 6 + 3 + 13 + 6).run()
    first = [row for row in driver.rows.values() if row.bracket == 0]
    assert sorted(row.reached for row in first) == [1] * 6 + [3] * 2 + [9]
    starts = [(row.bracket, row.segments) for row in driver.rows.values() if row.bracket]
    assert starts == [
        *[(1, [3.0])] * 5, (1, [9.0]),
        *[(2, [9.0])] * 3,
        *[(3, [1.0])] * 9, *[(3, [3.0])] * 3, (3, [9.0]),
        *[(4, [3.0])] * 5, (4, [9.0]),
    ]  # fmt: skip
    assert all(row.horizon == 9 for row in driver.rows.values())


def test_a_trial_says_what_became_of_it() -> None:
    rows = study().run().rows.values()
    assert all(row.state is (TrialState.FINISHED if row.reached == 9 else TrialState.STOPPED) for row in rows)
    told = [row.reasons[-1] for row in rows if row.bracket]
    assert any("it takes slot" in reason and "from trial" in reason for reason in told)
    assert any("keeps slot" in reason for reason in told)
    assert any("the best 3 are promoted" in row.reasons[-1] for row in rows if row.bracket == 0)


def test_a_rung_waits_for_the_one_below_and_a_free_worker_for_nobody() -> None:
    driver = study(trials=300)
    starts = [p for p in driver.algorithm.propose(20) if isinstance(p, Start)]
    assert [(p.bracket, p.rung) for p in starts] == [(0, 0)] * 9 + [(1, 0)] * 5 + [(2, 0)] * 3 + [(3, 0)] * 3
    assert [p.target for p in starts[8:10]] == [1.0, 3.0]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([1, 3, 16]), st.sampled_from([0.0, 0.4]))
def test_rungs_have_their_sizes_and_populations_their_best(seed: int, workers: int, failing: float) -> None:
    nature = Nature(seed=seed, horizon=9, failing=failing, failing_by=9, early=0.2)
    driver = study(trials=80, workers=workers, nature=nature).run()
    algorithm: Any = driver.algorithm
    populations = algorithm._scheduler._populations
    for rung in algorithm.rungs():
        assert len(rung.entered) <= (rung.size or 0)
    for level, resource in enumerate(populations.resources):
        alive = [n for view in algorithm.rungs() if view.resource == resource for n, v in zip(view.entered, view.values,
                 strict=True) if v is not None]  # fmt: skip
        living = populations.best(level)
        assert set(living) <= set(alive)
        if alive:
            values = {n: v for view in algorithm.rungs() if view.resource == resource
                      for n, v in zip(view.entered, view.values, strict=True)}  # fmt: skip
            assert values[living[0]] == min(values[n] for n in alive)
        assert len(living) == len(set(living))


def test_who_is_stopped_by_hand_while_promoted_makes_no_rung_wait() -> None:
    driver = study(trials=40)
    driver.run(until=lambda d: any(isinstance(p, Continue) for p in d.algorithm.propose(1)))
    scheduler: Any = driver.algorithm._scheduler
    first = next(iter(scheduler._going_on))
    driver.commit([Stop(trial=first, reason="by hand")], len(driver.log))
    driver.run()
    views = {(view.bracket, view.rung): view for view in driver.algorithm.rungs()}
    assert len(views[0, 1].promoted) == 1
    assert first not in views[0, 1].promoted


def test_if_all_of_the_first_bracket_fail_the_others_go_on() -> None:
    nature = Nature(horizon=9, failures=lambda number: 0.5 if number < 9 else 99.0)
    driver = study(nature=nature).run()
    assert {row.bracket for row in driver.rows.values() if row.fence} >= {0, 1, 2, 3}
    assert driver.algorithm.ending()
