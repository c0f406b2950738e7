"""The SDK and the command line load nothing heavy, and every public method is documented."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hpo_service
from hpo_service.client import Client, Study, Trial

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("torch", "ray", "fastapi", "sqlalchemy", "optuna", "pandas", "sklearn", "uvicorn")
CODE = """
import sys, time
began = time.perf_counter()
import {module}
took = time.perf_counter() - began
heavy = [name for name in {heavy!r} if name in sys.modules]
assert not heavy, heavy
print(took)
"""


@pytest.mark.parametrize("module", ["hpo_service", "hpo_service.client", "hpo_service.cli", "hpo_service.documents"])
def test_importing_loads_nothing_heavy(module: str) -> None:
    code = CODE.format(module=module, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_importing_the_package_is_fast() -> None:
    code = CODE.format(module="hpo_service", heavy=HEAVY)
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout)
        for _ in range(3)
    ]
    assert min(runs) < 0.3


def test_the_names_of_the_sdk_are_loaded_when_used() -> None:
    assert hpo_service.Client is Client
    for name in hpo_service.__all__:
        assert getattr(hpo_service, name).__name__ == name
    assert set(hpo_service.__all__) <= set(dir(hpo_service))
    with pytest.raises(AttributeError, match="no attribute 'Clinet'"):
        _ = hpo_service.Clinet


@pytest.mark.parametrize("kind", [Client, Study, Trial])
def test_every_public_method_is_documented(kind: type) -> None:
    page = (ROOT / "docs" / "sdk.md").read_text(encoding="utf-8")
    word = {"Client": "client", "Study": "study", "Trial": "trial"}[kind.__name__]
    for name, member in inspect.getmembers(kind):
        if name.startswith("_") or not (callable(member) or isinstance(inspect.getattr_static(kind, name), property)):
            continue
        assert re.search(rf"`{word}\.{name}\b", page), f"docs/sdk.md does not name {word}.{name}"
        assert inspect.getdoc(member) or isinstance(member, property), name
