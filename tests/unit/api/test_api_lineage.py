"""The schedule of a trial that went on from another one's weights, over REST."""

from __future__ import annotations

import httpx

from hpo_service.store.database import Database
from tests.storelib import World, start

API = "/api/v1/studies"


def test_a_lineage_tells_stages_and_what_changed(client: httpx.Client, db: Database) -> None:
    world = World(db)
    (parent,) = world.start()
    world.collect(world.report(parent, 8, 0.5), world.saved(parent, 8), world.ended(parent))
    known = client.get(f"{API}/{world.id}/trials/{parent}").json()["params"]
    params = {**known, "lr": known["lr"] / 2}
    world.commit([start(1, target=18.0, parent=parent, parent_resource=9.0, params=params)])
    world.collect(world.report(1, 11, 0.25))
    found = client.get(f"{API}/{world.id}/trials/1/lineage").json()
    assert found["trial"] == 1
    assert [(s["trial"], s["from_resource"], s["to_resource"], s["value"]) for s in found["stages"]] == [
        (0, 0.0, 9.0, 0.5),
        (1, 9.0, 12.0, 0.25),
    ]
    assert [s["changed"] for s in found["stages"]] == [[], ["lr"]]
    assert found["stages"][1]["params"] == params
    assert len(client.get(f"{API}/{world.id}/trials/0/lineage").json()["stages"]) == 1
    assert client.get(f"{API}/{world.id}/trials/7/lineage").status_code == 404
    refused = client.post(f"{API}/{world.id}/confirmations", json={"trials": [1], "seeds": 2})
    assert refused.status_code == 409
    assert "trial 1 went on from another one's weights" in refused.json()["detail"]
