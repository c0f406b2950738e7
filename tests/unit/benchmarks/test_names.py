"""`make bench` runs every benchmark that there is."""

from __future__ import annotations

import re

from benchmarks import harness, run


def test_every_benchmark_is_run() -> None:
    modules = (harness.ROOT / "benchmarks").glob("*.py")
    found = {path.stem for path in modules if re.search(r"^def run\(options", path.read_text(), re.MULTILINE)}
    assert found == set(run.NAMES)
    assert len(set(run.NAMES)) == len(run.NAMES)
