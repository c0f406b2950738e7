"""`POST /studies/{id}/trials/{n}/stop`."""

from __future__ import annotations

import httpx

from tests.unit.api.support import check


def test_a_client_hears_that_its_trial_is_wanted_no_more(client: httpx.Client, study: str, changed: list[str]) -> None:
    (asked,) = client.post(f"/api/v1/studies/{study}/ask", json={"client_id": "me", "n": 1}).json()["trials"]
    path = f"/api/v1/studies/{study}/trials/{asked['trial']}"
    changed.clear()
    answer = client.post(f"{path}/stop", json={"reason": "too slow"})
    assert answer.json()["state"] == "running"
    assert changed == [study]
    key = {"trial": asked["trial"], "fence": asked["fence"]}
    beats = client.post(f"/api/v1/studies/{study}/heartbeat", json={"client_id": "me"}).json()["trials"]
    assert beats == [{**key, "status": "held", "stop": True}]
    client.post(f"/api/v1/studies/{study}/tell", json={**key, "value": 0.5})
    ended = client.get(path).json()
    assert (ended["state"], ended["reason"]) == ("stopped", "stopped by a user: too slow")
    check(client.post(f"{path}/stop"), 409)


def test_an_unknown_trial_is_not_stopped(client: httpx.Client, study: str) -> None:
    check(client.post(f"/api/v1/studies/{study}/trials/9/stop"), 404)
