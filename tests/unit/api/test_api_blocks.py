"""Blocks of draws over REST: refused with field, line and remedy; planned, stored and given back as written."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from tests.unit.api.conftest import DEFINITION

TEXT = """\
objective: {metric: loss}
space:
  lr: {type: loguniform, low: 1.0e-5, high: 0.1}
  batch_size: {type: power_of_two, low: 16, high: 256}
algorithm:
  name: hyperband
  max_resource: 27
  block: 8
  block_on: [WHAT]
trainer: {external: true}
budget: {trials: 10}
"""


def validated(client: TestClient, text: str) -> Any:
    return client.post("/api/v1/studies/validate", content=text, headers={"Content-Type": "application/yaml"})


def test_a_refusal_says_field_line_and_remedy(client: TestClient) -> None:
    answer = validated(client, TEXT.replace("WHAT", "batchsize"))
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["path"].startswith("algorithm.block_on")
    assert error["line"] == 9
    assert "did you mean 'batch_size'?" in str(error)


def test_a_definition_with_blocks_is_planned_and_stored(client: TestClient) -> None:
    found = validated(client, TEXT.replace("WHAT", "batch_size")).json()
    assert found["valid"] is True
    blocks = {"block": 8, "block_on": ["batch_size"]}
    assert blocks.items() <= found["definition"]["algorithm"].items()
    algorithm = {"name": "random", "max_resource": 3, "block": 4, "block_on": []}
    study = client.post("/api/v1/studies", json={**DEFINITION, "algorithm": algorithm}).json()["id"]
    again = client.get(f"/api/v1/studies/{study}").json()["definition"]["algorithm"]
    assert again == algorithm
    text = client.get(f"/api/v1/studies/{study}/definition.yaml").text
    assert "block: 4" in text
