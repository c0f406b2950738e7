"""`hpo send … --follow` as a process of its own: the server is killed and started again under it; nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

import hpo_service as hpo
from tests.acceptance.conftest import Hpo
from tests.acceptance.processes import Server
from tests.unit.integrations.conftest import DEFINITION, train

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]  # the server has a real Ray beside it
STATE = optuna.trial.TrialState


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server to kill."""
    found = Server(tmp_path / "data", environment={"HPO_RAY_CPUS": "1"}).start()
    try:
        yield found
    finally:
        found.stop()


def test_following_goes_on_when_the_server_is_killed(own: Server, tmp_path: Path, until: Callable[..., Any]) -> None:
    url = f"sqlite:///{tmp_path}/out.db"

    def copied() -> list[optuna.trial.FrozenTrial]:
        try:
            return optuna.load_study(study_name="moons", storage=url).trials
        except KeyError:  # not made yet
            return []

    with hpo.Client(own.url, client_id="me") as client:
        study = client.create_study(DEFINITION | {"budget": {"trials": 2}})
        train(study, 0)
        trial = study.ask()
        assert trial is not None
        trial.report(1, loss=9.0)
        sender = Hpo(own, tmp_path).start("send", "moons", "optuna", url, "--follow")
        try:
            until(lambda: [one.state for one in copied()] == [STATE.COMPLETE, STATE.RUNNING], 90.0)
            own.kill()
            own.start()
            trial.report(2, loss=8.0)
            trial.tell()
            out, err = sender.communicate(timeout=120)
        finally:
            sender.kill()
    assert sender.returncode == 0, f"{out}\n{err}"
    assert "of moons to sqlite:" in out
    assert [(one.value, len(one.intermediate_values)) for one in copied()] == [(pytest.approx(1 / 3), 3), (8.0, 2)]
