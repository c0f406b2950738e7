"""Where proposals are made, numeric libraries use one thread; children are told nothing of that."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

CODE = """
import json, os, sys
threads = lambda environment: {name: value for name, value in environment.items() if name.endswith("_NUM_THREADS")}
before = threads(os.environ)
from hpo_service.samplers.threads import imported
modules = sys.argv[1:]
assert [imported(name).__name__ for name in modules] == [f"hpo_service.samplers.{name}" for name in modules]
import threadpoolctl
print(json.dumps({
    "libraries": {o["filepath"]: o["num_threads"] for o in threadpoolctl.threadpool_info() if o["user_api"] == "blas"},
    "same environment": threads(os.environ) == before,
}))
"""


@pytest.mark.parametrize("modules", [("freeze_thaw.planner",), ("parzen", "process")])
def test_the_process_computes_on_one_thread_and_its_children_as_they_please(modules: tuple[str, ...]) -> None:
    free = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    more = {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    told = subprocess.run(
        [sys.executable, "-c", CODE, *modules], env=free | more, capture_output=True, text=True, check=True, timeout=120
    )
    found = json.loads(told.stdout)
    assert found["libraries"], "some numeric library was found"
    assert set(found["libraries"].values()) == {1}
    assert found["same environment"]
