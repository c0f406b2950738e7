"""Training trials oneself: ask, report, tell, and the heartbeats in between."""

from __future__ import annotations

import httpx
import pytest

from hpo_service.client import Client
from hpo_service.client.asking import beat
from hpo_service.client.pulse import Pulse, ThreadKeeper
from hpo_service.errors import FenceRefused, InvalidInput
from tests.unit.client.sdk_fake_server import FakeServer, problem


@pytest.fixture(autouse=True)
def _external(server: FakeServer) -> None:
    server.add_study("st_1", "a", external=True)


def test_one_trial_from_ask_to_tell(client: Client, server: FakeServer) -> None:
    study = client.study("st_1")
    trial = study.ask(client_id="lab-3")
    assert trial is not None
    assert server.body() == {"client_id": "lab-3", "n": 1, "lease_s": 60.0}
    assert (trial.params, trial.seed, trial.from_resource, trial.target) == ({"lr": 0.1}, 5, 0.0, 9.0)
    trial.report(1, val_accuracy=0.5)
    one = server.body()["reports"][0]
    assert one == {"trial": 0, "fence": 1, "step": 1, "metrics": {"val_accuracy": 0.5}}
    study.tell(trial, 0.9)
    assert server.body() == {"trial": 0, "fence": 1, "state": "completed", "value": 0.9}
    assert trial.state == "paused"
    assert trial.value == 0.9


def test_several_trials_are_a_list(client: Client) -> None:
    trials = client.study("st_1").ask(3)
    assert [trial.number for trial in trials] == [0, 1, 2]
    with pytest.raises(InvalidInput, match="at least 1"):
        client.study("st_1").ask(-1)


def test_an_ended_study_gives_none(client: Client, server: FakeServer) -> None:
    study = client.study("st_1")
    server.studies["st_1"]["state"] = "finished"
    assert study.ask() is None
    assert study.ended
    assert study.ask(2) == []


def test_ask_waits_until_something_can_be_started(client: Client, server: FakeServer, pauses: list[float]) -> None:
    study = client.study("st_1")
    server.faults = [httpx.Response(200, json={"trials": [], "ended": None})] * 3
    assert study.ask() is not None
    assert len(pauses) == 3
    assert pauses == sorted(pauses)
    server.faults = [httpx.Response(200, json={"trials": [], "ended": None})]
    assert study.ask(wait_s=0) is None


def test_a_trial_may_be_told_by_number(client: Client, server: FakeServer) -> None:
    study = client.study("st_1")
    study.ask(2)
    study.tell(1, values=[0.1, 0.2])
    assert server.body() == {"trial": 1, "fence": 1, "state": "completed", "values": [0.1, 0.2]}
    with pytest.raises(InvalidInput, match="trial 1 is not open here"):
        study.tell(1, 0.5)


def test_a_with_block_tells_how_it_ended(client: Client, server: FakeServer) -> None:
    study = client.study("st_1")
    with study.ask() as trial:  # type: ignore[union-attr]
        trial.report(1, val_accuracy=0.5)
    assert server.body() == {"trial": 0, "fence": 1, "state": "completed"}
    with pytest.raises(ZeroDivisionError), study.ask():  # type: ignore[union-attr]
        _ = 1 / 0
    assert server.body()["state"] == "failed"
    assert server.body()["reason"] == "ZeroDivisionError: division by zero"


def test_a_with_block_does_not_tell_twice_or_when_interrupted(client: Client, server: FakeServer) -> None:
    study = client.study("st_1")
    with study.ask() as trial:  # type: ignore[union-attr]
        study.tell(trial, 0.4)
    told = [request for request in server.requests if request.url.path.endswith("/tell")]
    assert len(told) == 1
    with pytest.raises(KeyboardInterrupt), study.ask():  # type: ignore[union-attr]
        raise KeyboardInterrupt
    assert len([request for request in server.requests if request.url.path.endswith("/tell")]) == 1


def test_a_refused_report_says_stop(client: Client, server: FakeServer) -> None:
    trial = client.study("st_1").ask()
    assert trial is not None
    assert not trial.should_stop
    server.faults = [problem("fence-refused", 409, "a newer attempt exists")]
    with pytest.raises(FenceRefused):
        trial.report(2, val_accuracy=0.1)
    assert trial.should_stop
    with pytest.raises(InvalidInput, match="at least one metric"):
        trial.report(3)


def test_a_thread_beats_while_trials_are_open(client: Client, server: FakeServer) -> None:
    study = client.study("st_1")
    first, second = study.ask(2, lease_s=0.03)
    assert server.beaten.wait(5)
    assert server.beats[0] == {
        "client_id": client._core.client_id,
        "trials": [{"trial": 0, "fence": 1}, {"trial": 1, "fence": 1}],
        "lease_s": 0.03,
    }
    assert first.pulse is not None
    thread = first.pulse.keeper._thread
    study.tell(first, 0.1)
    study.tell(second, 0.2)
    thread.join(5)
    assert not thread.is_alive()


def test_a_heartbeat_brings_the_wish_to_stop(client: Client, server: FakeServer) -> None:
    first, second = client.study("st_1").ask(2)
    assert first.pulse is not None
    server.stop_trials = {1}
    client._do(beat(client._core, first.pulse))
    assert (first.should_stop, second.should_stop) == (False, True)
    server.faults = [problem("unavailable", 503, "later")] * 9
    client._do(beat(client._core, first.pulse))
    assert not first.should_stop
    server.faults = [problem("conflict", 409, "the study was stopped")]
    client._do(beat(client._core, first.pulse))
    assert first.should_stop


def test_closing_the_client_ends_the_heartbeats(server: FakeServer) -> None:
    client = Client("http://server", transport=server.transport())
    trial = client.study("st_1").ask()
    assert trial is not None
    assert trial.pulse is not None
    thread = trial.pulse.keeper._thread
    assert thread.is_alive()
    client.close()
    assert not thread.is_alive()


def test_a_trial_that_the_server_no_longer_holds_should_stop() -> None:
    pulse = Pulse(study_id="s", client_id="c", lease_s=60)
    pulse.heard({"trials": [{"trial": 1, "fence": 2, "status": "fenced"}, {"trial": 2, "fence": 1, "status": "held"}]})
    assert pulse.stopped == {(1, 2)}
    pulse.heard(None)


def test_a_keeper_starts_one_thread_and_none_after_close() -> None:
    pulse = Pulse(study_id="s", client_id="c", lease_s=60)
    pulse.hold(0, 1)
    keeper = ThreadKeeper(pulse, lambda: None)
    keeper.ensure()
    thread = keeper._thread
    keeper.ensure()
    assert keeper._thread is thread
    keeper.close()
    keeper.ensure()
    assert keeper._thread is thread
