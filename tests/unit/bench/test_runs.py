"""Runs: what they hold, what they are read back as, and how regret is counted."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.bench.problems import synthetic
from hpo_service.bench.runs import Decisions, Method, Recorder, Run, Scale, own_seed
from hpo_service.errors import InvalidInput

RUN = Run(
    method="m",
    collection="c",
    problem="p",
    seed=3,
    workers=4,
    budget=8.0,
    scale=Scale(best=0.1, median=0.5, maximize=False),
    trace=((0.5, 0.6), (1.0, 0.3), (4.0, 0.1)),
    decisions=Decisions(count=2, mean_ms=1.5, worst_ms=2.0),
    trials=7,
    epochs=31.0,
)


def test_a_run_comes_back_from_its_json() -> None:
    assert Run.from_json(json.loads(json.dumps(RUN.to_json()))) == RUN


def test_a_run_that_was_recorded_without_an_identity_is_that_of_a_problem_without() -> None:
    old = {key: value for key, value in RUN.to_json().items() if key != "identity"}
    assert Run.from_json(old) == RUN


@pytest.mark.parametrize("broken", [{"version": 0}, {"trace": [[1]]}, {"scale": {"best": 1}}, {"unheard_of": 1}])
def test_what_is_no_run_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        Run.from_json({**RUN.to_json(), **broken})


def test_regret_is_read_at_the_last_report_that_is_not_later() -> None:
    assert [RUN.regret_at(fte) for fte in (0.4, 0.5, 1.0, 3.9, 4.0, 99.0)] == pytest.approx([1, 1, 0.5, 0.5, 0, 0])


def test_the_key_tells_apart_what_is_run_separately() -> None:
    others = [replace(RUN, **change) for change in ({"seed": 4}, {"workers": 1}, {"variant": "noisy"}, {"budget": 4.0})]
    others.append(replace(RUN, identity="another"))
    assert len({RUN.key, *(other.key for other in others)}) == 6
    assert replace(RUN, trials=8).key == RUN.key


@given(st.lists(st.tuples(st.floats(0, 10), st.one_of(st.floats(-1e6, 1e6), st.just(math.nan)))), st.booleans())
def test_a_trace_is_the_best_so_far_in_order_of_time(reports: list[tuple[float, float]], maximize: bool) -> None:
    recorder = Recorder(maximize)
    for fte, value in reports:
        recorder.tell(fte, value)
    trace = recorder.trace(5.0)
    run = replace(RUN, trace=trace)
    for now in (0.0, 1.0, 2.5, 5.0):
        seen = [value for fte, value in reports if fte <= now + 1e-9 and math.isfinite(value)]
        assert run.best_at(now) == ((max if maximize else min)(seen) if seen else None)
    assert all(fte <= 5.0 + 1e-9 for fte, _ in trace)


def test_decisions_are_summed_up() -> None:
    recorder = Recorder(maximize=True)
    assert recorder.decisions() == Decisions()
    recorder.decided(1.0)
    recorder.decided(3.0)
    assert recorder.decisions() == Decisions(count=2, mean_ms=2.0, worst_ms=3.0)
    with recorder.deciding():
        sum(range(1000))
    assert recorder.decisions().count == 3


def test_a_task_has_its_own_seeds_and_variants_share_them() -> None:
    smooth, noisy = synthetic.load(("smooth", "noisy"))
    assert own_seed(smooth, 0) != own_seed(noisy, 0) != own_seed(noisy, 1)
    assert own_seed(replace(smooth, variant="failing"), 0) == own_seed(smooth, 0)


def test_a_method_names_what_is_not_installed() -> None:
    method = Method(name="m", search=lambda *_: RUN, summary="", requires=("json", "no_such_library_anywhere"))
    assert method.missing() == ("no_such_library_anywhere",)
