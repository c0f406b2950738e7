"""Every deterministic algorithm decides what it decided when its trace was written (see `traces`)."""

from __future__ import annotations

import json

import pytest

from hpo_service.algorithms import VERSIONS
from tests.golden.traces import STUDIES, path, text, trace


@pytest.mark.parametrize("name", STUDIES)
def test_the_trace_is_unchanged(name: str) -> None:
    assert text(trace(name)) == path(name).read_text(), "write the traces anew only with a raised version"


@pytest.mark.parametrize("name", STUDIES)
def test_the_trace_is_of_this_version(name: str) -> None:
    stored = json.loads(path(name).read_text())
    assert stored["version"] == VERSIONS[name]
    assert stored["decisions"]
