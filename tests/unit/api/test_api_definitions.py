"""Ready definitions are valid; a study's own comes back as YAML that means the same."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service import algorithms
from hpo_service.api.definition_text import Template, as_yaml, templates
from hpo_service.core.definition import parse
from hpo_service.documents import load_yaml
from tests.unit.api.support import DEFINITION, check

SPACE = {
    "lr": {"type": "loguniform", "low": 1e-6, "high": 0.1, "default": 0.003},
    "kind": {"type": "choice", "values": ["1e-3", "on", "no: t", 1, 2.0, None, True]},
    "momentum": {"type": "uniform", "low": 0.8, "high": 0.99, "when": {"kind": {"!=": "on"}}, "notes": "a\n# b"},
}
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(min_size=1, max_size=40),
        "objective": st.sampled_from(
            [
                {"metric": "loss", "direction": "minimize"},
                {"metric": "a: b", "direction": "maximize", "at": "best"},
                [{"metric": "loss"}, {"metric": "size", "direction": "maximize"}],
            ]
        ),
        "forbid": st.sampled_from([[], [{"lr": 0.01}, {"kind": "on"}]]),
        "algorithm": st.sampled_from([{"name": "random"}, {"name": "grid", "points": 3, "max_resource": 9}]),
        "budget": st.sampled_from([{"trials": 3}, {"trials": 3, "hours": 1e-05, "target": 0.0}]),
        "resources": st.sampled_from([{"cpu": 1}, {"cpu": 0, "gpu": 0.5}]),
        "parallel": st.integers(1, 9),
        "retries": st.integers(0, 3),
        "stall_timeout_s": st.none() | st.floats(0.1, 1e9),
        "seed": st.integers(0, 2**63 - 1),
        "priority": st.floats(0.1, 1000),
        "baseline": st.booleans(),
        "repeats": st.booleans(),
        "tags": st.lists(st.text(min_size=1, max_size=20), max_size=3),
        "notes": st.text(max_size=60),
    },
)


@pytest.mark.parametrize("template", templates(), ids=lambda one: one.name)
def test_a_template_is_valid_and_explains_itself(template: Template) -> None:
    definition = parse(load_yaml(template.yaml))
    algorithms.check(definition)
    assert algorithms.plan(definition).trials is not None
    assert template.title
    assert template.description.endswith(".")
    assert template.yaml.count("#") >= 3
    assert all(len(line) <= 88 for line in template.yaml.splitlines())


def test_templates_are_served_and_accepted(client: TestClient) -> None:
    items = client.get("/api/v1/templates").json()["items"]
    names = [item["name"] for item in items]
    assert names[0] == "image-classifier"
    assert {"image-folder", "tabular", "own-function", "external-workers", "bayesian", "hyperband"} < set(names)
    for item in items:
        answer = client.post(
            "/api/v1/studies/validate", content=item["yaml"], headers={"Content-Type": "application/yaml"}
        )
        assert answer.status_code == 200, answer.text


@given(changes=CHANGES)
@settings(deadline=None, max_examples=100)
def test_a_definition_as_yaml_means_the_same(changes: dict[str, Any]) -> None:
    definition = parse({**DEFINITION, "space": SPACE, **changes})
    text = as_yaml(definition.to_document(), comment="any\ncomment: at all")
    assert parse(load_yaml(text)) == definition


@pytest.mark.parametrize(("algorithm", "parallel", "written"), [
    ({"name": "random"}, 256, False), ({"name": "random"}, 4, True), ({"name": "bayesian"}, 4, False),
    ({"name": "bayesian"}, 256, True), ({"name": "asha", "max_resource": 9, "sampler": "tpe"}, 4, False),
])  # fmt: skip
def test_parallel_is_written_where_it_is_not_what_the_algorithm_takes(
    algorithm: dict[str, Any], parallel: int, written: bool
) -> None:
    definition = parse({**DEFINITION, "algorithm": algorithm, "parallel": parallel})
    text = as_yaml(definition.to_document())
    assert ("parallel" in text) is written
    assert parse(load_yaml(text)).parallel == parallel


def test_a_definition_is_as_a_person_would_write_it(client: TestClient, study: str) -> None:
    answer = client.get(f"/api/v1/studies/{study}/definition.yaml")
    assert answer.headers["content-type"].startswith("application/yaml")
    assert answer.text == (
        f"# The definition of the study {study}.\n"
        "name: external\n"
        "objective: {metric: loss, direction: minimize}\n"
        "space:\n"
        "  lr: {type: loguniform, low: 0.0001, high: 0.1}\n"
        "  kind: {type: choice, values: [a, b]}\n"
        "algorithm: {name: random}\n"
        "trainer: {external: true}\n"
        "budget: {trials: 6}\n"
        "parallel: 4\n"
        "tags: [demo]\n"
    )
    check(client.get("/api/v1/studies/nothing/definition.yaml"), 404)
    copy = client.post("/api/v1/studies", content=answer.text, headers={"Content-Type": "application/yaml"})
    assert copy.status_code == 201


def test_the_schema_tells_editors_about_recipes(client: TestClient) -> None:
    recipes = client.get("/api/v1/schema").json()["x-recipes"]
    assert set(recipes) == {"image_classifier", "tabular"}
    optimizer = recipes["image_classifier"]["parameters"]["optimizer"]
    assert (optimizer["default"], "nesterov" in optimizer["enum"]) == ("adam", True)
    lr = recipes["tabular"]["parameters"]["lr"]
    assert (lr["type"], lr["minimum"], lr["maximum"]) == ("number", 1e-8, 100.0)
    assert recipes["tabular"]["metrics"]["val_loss"]["direction"] == "minimize"
