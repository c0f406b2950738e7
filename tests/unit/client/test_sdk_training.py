"""How trials are trained, as the SDK says it."""

from __future__ import annotations

import httpx

from hpo_service.client import Client
from tests.unit.client.sdk_fake_server import FakeServer


def test_methods_and_launches(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    server.add_trials("st_1", 1)
    study = client.study("st_1")
    assert study.methods().items == ()
    server.methods = {
        "lanes": ["lr"],
        "items": [
            {"structure": {"batch_size": 32}, "method": "fused", "width": 16, "measured": {"plain_s": 0.001}},
            {"structure": {"batch_size": 64}, "method": "plain", "width": 1},
        ],
    }
    found = study.methods()
    assert found.lanes == ("lr",)
    assert [one.width for one in found.fused] == [16]
    lanes = [{"trial": 0, "fence": 1, "lane": 0, "state": "closed", "outcome": "reached"}]
    launch = {"launch": "x", "method": "fused", "width": 4, "seconds": 2.0, "lanes": lanes}
    server.answers["GET /studies/st_1/trials/0/launch"] = httpx.Response(200, json=launch)
    told = study.trial(0).launch(fence=1)
    assert (told.width, told.lanes[0].trial, told.seconds) == (4, 0, 2.0)
    assert server.last("GET").url.params["fence"] == "1"
