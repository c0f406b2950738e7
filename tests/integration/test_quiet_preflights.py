"""A preflight that says nothing in time: no fault where the code may report at its end alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpo_service.controller import orders
from hpo_service.core.states import StudyState
from tests.integration.test_controller_edges import Stage
from workers.contract import FailureKind, Outcome


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.db.close()


@pytest.mark.parametrize(
    ("changes", "state", "limit_s"),
    [
        ({"trainer": {"optuna": "train:objective"}}, StudyState.RUNNING, orders.QUIET_S),
        ({"trainer": {"ray_tune": "train:train"}}, StudyState.RUNNING, orders.QUIET_S),
        ({"trainer": {"function": "train:train"}}, StudyState.FAILED, orders.PREFLIGHT_S),
        ({"trainer": {"optuna": "train:objective"}, "stall_timeout_s": 7.0}, StudyState.FAILED, 7.0),
    ],
)
@pytest.mark.parametrize("failure", [FailureKind.TIMED_OUT, FailureKind.STALLED])
def test_silence(
    changes: dict[str, Any], state: StudyState, limit_s: float, failure: FailureKind, stage: Stage
) -> None:
    study = stage.study(StudyState.PREFLIGHT, **changes)
    controller = stage.controller()
    sent: list[float | None] = []
    controller.executor.before_launch = lambda launch: sent.append(launch.orders[0].stall_timeout_s)  # type: ignore[attr-defined]
    controller.step()
    while controller.collector.collect_once():
        pass
    take = controller.collector.take_preflight

    def silent(study_id: str) -> Any:
        found = take(study_id)
        ended = found and replace(found.ended, outcome=Outcome.FAILED, failure=failure, reason="nothing came")
        return found and replace(found, ended=ended)

    controller.collector.take_preflight = silent  # type: ignore[method-assign]
    controller.step()
    assert sent[0] == limit_s
    now = stage.now(study)
    assert now.state is state, now.reason
    assert ("no report within 120 s" in now.reason) == (state is StudyState.RUNNING)
