"""The schedule that population based training found, as the SDK says it."""

from __future__ import annotations

import httpx

from hpo_service.client import Client
from tests.unit.client.sdk_fake_server import FakeServer


def test_a_lineage_is_a_sequence_of_stages(client: Client, server: FakeServer) -> None:
    server.add_study("st_1", "a")
    server.add_trials("st_1", 1)
    stages = [
        {"trial": 3, "from_resource": 0.0, "to_resource": 2.0, "params": {"lr": 0.1}, "changed": [], "value": 0.5},
        {"trial": 0, "from_resource": 2.0, "to_resource": 4.0, "params": {"lr": 0.08}, "changed": ["lr"]},
    ]
    answer = {"study_id": "st_1", "trial": 0, "stages": stages}
    server.answers["GET /studies/st_1/trials/0/lineage"] = httpx.Response(200, json=answer)
    first, last = client.study("st_1").trial(0).lineage()
    assert (first.trial, first.to_resource, first.value) == (3, 2.0, 0.5)
    assert (last.from_resource, last.params["lr"], last.changed, last.value) == (2.0, 0.08, ("lr",), None)
