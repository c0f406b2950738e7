"""YAML for people is read back as it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.documents import load_yaml
from hpo_service.writing import dump_yaml

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30) | st.sampled_from(
    ["1e-6", "on", "yes", "0o17", "12:30", "2026-01-02", ".5", "null", "", "~", "true", "=", "<<", "- a", "a: b", "#"]
)
NUMBER = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda one: st.lists(one, max_size=4) | st.dictionaries(TEXT, one, max_size=4),
    max_leaves=15,
)


@given(document=st.dictionaries(TEXT.filter(lambda key: len(key) < 100), PLAIN, max_size=4))
@settings(deadline=None, max_examples=200)
def test_what_is_written_is_read_back(document: dict[str, Any]) -> None:
    found = load_yaml(dump_yaml(document))
    assert found == document
    assert repr(found) == repr(document)  # 1 is not 1.0, nor true


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"space": {"lr": {"type": "loguniform", "low": 1e-6}}}, "space:\n  lr: {type: loguniform, low: 1.0e-06}\n"),
        ({"tags": ["a", "1"]}, "tags: [a, '1']\n"),
        ({"notes": "one\ntwo\n"}, "notes: |\n  one\n  two\n"),
        ({"forbid": [{"a": 1}, {"b": 2}]}, "forbid:\n  - {a: 1}\n  - {b: 2}\n"),
    ],
)
def test_it_looks_as_a_person_would_write_it(value: dict[str, Any], text: str) -> None:
    assert dump_yaml(value) == text
