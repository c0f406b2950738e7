"""The ready definitions whose data are bundled run as they are: here with two trials, and few epochs, each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from hpo_service.documents import load_yaml

BUNDLED = ["image-classifier", "tabular", "one-parameter", "bayesian", "hyperband"]


@pytest.mark.parametrize("name", BUNDLED)
def test_a_template_with_bundled_data_runs(rest: httpx.Client, until: Callable[..., Any], name: str) -> None:
    items = rest.get("/templates").json()["items"]
    document = load_yaml(next(item["yaml"] for item in items if item["name"] == name))
    document["budget"] = {"trials": 2}
    document["parallel"] = 2
    if "max_resource" in document["algorithm"]:
        document["algorithm"]["max_resource"] = 3
    if "epochs" in document["trainer"]["params"]:
        document["trainer"]["params"]["epochs"] = 2
    answer = rest.post("/studies", json=document)
    assert answer.status_code == 201, answer.text
    path = f"/studies/{answer.json()['id']}"
    until(lambda: rest.get(path).json()["state"] in ("finished", "failed"), 120)
    study = rest.get(path).json()
    assert study["state"] == "finished", study["reason"]
    assert study["counts"]["failed"] == 0
    assert study["best"]["value"] is not None


def test_the_bundled_ones_are_all_here(rest: httpx.Client) -> None:
    documents = {item["name"]: load_yaml(item["yaml"]) for item in rest.get("/templates").json()["items"]}
    params = {name: document["trainer"].get("params", {}) for name, document in documents.items()}
    bundled = [name for name, given in params.items() if given.get("data") and not given["data"].startswith("/")]
    assert sorted(bundled) == sorted(BUNDLED)
